// SPDX-License-Identifier: Apache-2.0
// Requests and responses laid out by hand, and what every reading of a head must hold to.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "../codec.h"
#include "websocket/handshake.h"

namespace limpet::websocket::test {

using codec::Buffer;
using codec::text;

// RFC 6455 1.3
inline constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";
inline constexpr std::string_view sample_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request of which every part can be replaced; as it stands it is valid.
struct Sketch {
    std::string line = "GET /mqtt HTTP/1.1";
    std::vector<std::string> headers{
        "Host: broker.example.com",  "Upgrade: websocket",
        "Connection: Upgrade",       "Sec-WebSocket-Key: " + std::string(sample_key),
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: mqtt"};

    /// Puts another line in the place of the header of this name; an empty one removes it.
    Sketch& with(std::string_view name, const std::string& header) {
        std::erase_if(headers,
                      [&](const std::string& have) { return have.starts_with(std::string(name) + ":"); });
        if (!header.empty()) headers.push_back(header);
        return *this;
    }
    Sketch& plus(const std::string& header) {
        headers.push_back(header);
        return *this;
    }
    [[nodiscard]] std::string written() const {
        std::string bytes = line + "\r\n";
        for (const std::string& header : headers) bytes += header + "\r\n";
        return bytes + "\r\n";
    }
};

template <bool is_request>
std::string fields_of(const http::header<is_request, http::fields>& head) {
    std::string all = std::to_string(head.version());
    for (const auto& field : head)
        all += "|" + std::string(field.name_string()) + ":" + std::string(field.value());
    return all;
}

/// Reads a head given in ever longer prefixes. However it is cut, the judgement must be the same, and made at
/// the same byte or at the end of the piece that this byte is in. `decided`: that byte.
template <class Reader>
Reader read_head(const std::string& bytes, std::size_t maximum, std::optional<std::size_t> decided = {}) {
    const Buffer all = text(bytes);
    Reader whole(maximum);
    whole.read(all);
    Reader single(maximum);
    std::size_t length = 0;
    while (length < all.size() && single.read(Bytes(all).first(length + 1)) == Status::incomplete) ++length;
    if (decided) {
        EXPECT_EQ(length + 1, *decided) << bytes;
    }
    for (const auto& way : codec::ways_to_cut(all.size())) {
        Reader reader(maximum);
        std::size_t at = 0;
        for (const std::size_t size : way) reader.read(Bytes(all).first(at += size));
        const bool same = reader.status() == whole.status() && reader.fault() == whole.fault() &&
                          reader.detail() == whole.detail() && reader.consumed() == whole.consumed() &&
                          fields_of(reader.head()) == fields_of(whole.head());
        EXPECT_TRUE(same) << bytes << ": first piece of " << way.front() << " bytes";
        if (!same) break;
    }
    return whole;
}

inline RequestHead request_head(const std::string& bytes) {
    const auto reader = read_head<RequestReader>(bytes, 8192, bytes.size());
    EXPECT_EQ(reader.status(), Status::complete) << bytes << reader.detail();
    EXPECT_EQ(reader.consumed(), bytes.size());
    return reader.head();
}

inline ResponseHead response_head(const std::string& bytes) {
    const auto reader = read_head<ResponseReader>(bytes, 8192);
    EXPECT_EQ(reader.status(), Status::complete) << bytes << reader.detail();
    return reader.head();
}

}  // namespace limpet::websocket::test
