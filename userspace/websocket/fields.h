// SPDX-License-Identifier: Apache-2.0
// Header fields as both sides of the handshake ask for them, and messages as bytes; inside this room only.
#pragma once

#include <algorithm>
#include <array>
#include <boost/beast/core/buffer_traits.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/serializer.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "websocket/head.h"

namespace limpet::websocket {

inline constexpr std::string_view websocket_version = "13";
inline constexpr std::array<std::string_view, 2> subprotocols{"mqtt", "mqttv3.1"};

[[nodiscard]] inline std::string_view to_std(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

[[nodiscard]] inline bool equal_in_any_case(std::string_view left, std::string_view right) {
    return boost::beast::iequals({left.data(), left.size()}, {right.data(), right.size()});
}

/// Every value of a field, in order.
[[nodiscard]] inline std::vector<std::string_view> values(const http::fields& fields, http::field name) {
    std::vector<std::string_view> found;
    const auto range = fields.equal_range(name);
    for (auto field = range.first; field != range.second; ++field) found.push_back(to_std(field->value()));
    return found;
}

/// Every token of a list, over all fields of the name (RFC 9110 5.3).
[[nodiscard]] inline std::vector<std::string_view> tokens(const http::fields& fields, http::field name) {
    std::vector<std::string_view> found;
    for (const std::string_view value : values(fields, name))
        for (const auto& token : http::token_list({value.data(), value.size()}))
            found.push_back(to_std(token));
    return found;
}

[[nodiscard]] inline bool has_token(const http::fields& fields, http::field name, std::string_view token) {
    return std::ranges::any_of(tokens(fields, name),
                               [&](std::string_view have) { return equal_in_any_case(have, token); });
}

template <bool is_request, class Body>
[[nodiscard]] std::string to_bytes(http::message<is_request, Body>& message) {
    std::string bytes;
    http::serializer<is_request, Body> serializer(message);
    boost::system::error_code error;
    while (!serializer.is_done() && !error) {
        serializer.next(error, [&](boost::system::error_code&, const auto& buffers) {
            for (const auto buffer : boost::beast::buffers_range_ref(buffers))
                bytes.append(static_cast<const char*>(buffer.data()), buffer.size());
            serializer.consume(boost::beast::buffer_bytes(buffers));
        });
    }
    return bytes;
}

}  // namespace limpet::websocket
