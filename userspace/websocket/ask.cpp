// SPDX-License-Identifier: Apache-2.0
// The client's side of the handshake, and the key that both sides compute with.
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>

#include "websocket/fields.h"
#include "websocket/handshake.h"

namespace limpet::websocket {
namespace {

constexpr std::string_view accept_suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // 4.2.2

std::string to_base64(Bytes bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');  // it writes a zero behind
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                     static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

/// A value of a header: no control characters, or it could end its line and begin another.
bool is_field_value(std::string_view text) {
    return std::ranges::none_of(text, [](char character) {
        return (static_cast<unsigned char>(character) < 0x20 && character != '\t') || character == 0x7F;
    });
}

bool is_field_name(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char character) {
        return character > 0x20 && character < 0x7F && character != ':';
    });
}

bool is_target(std::string_view text) {
    return text.starts_with('/') &&
           std::ranges::all_of(text, [](char character) { return character > 0x20 && character < 0x7F; });
}

}  // namespace

std::string make_key(const std::array<std::uint8_t, 16>& random) {
    return to_base64(random);
}

std::string accept_of(std::string_view key) {
    const std::string text = std::string(key) + std::string(accept_suffix);
    std::array<std::uint8_t, SHA_DIGEST_LENGTH> digest{};
    SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    return to_base64(digest);
}

Result<std::string> write_request(const UpgradeRequest& asked) {
    const std::string doing = "asking a broker for a WebSocket: ";
    if (!is_target(asked.path)) return fail(doing + "the path is none", "write it as /mqtt");
    if (asked.host.empty()) return fail(doing + "the host is missing");
    for (const std::string* value : {&asked.host, &asked.subprotocol, &asked.key})
        if (!is_field_value(*value)) return fail(doing + "a control character in a header");
    http::request<http::empty_body> request(http::verb::get, asked.path, 11);
    request.set(http::field::host, asked.host);
    request.set(http::field::upgrade, "websocket");
    request.set(http::field::connection, "Upgrade");
    request.set(http::field::sec_websocket_key, asked.key);
    request.set(http::field::sec_websocket_version, std::string(websocket_version));
    request.set(http::field::sec_websocket_protocol, asked.subprotocol);
    for (const auto& [name, value] : asked.headers) {
        if (!is_field_name(name) || !is_field_value(value))
            return fail(doing + "a header that cannot be written");
        request.insert(name, value);
    }
    return to_bytes(request);
}

ResponseFault judge_response(const ResponseHead& response, const UpgradeRequest& request) {
    if (response.result() != http::status::switching_protocols) return ResponseFault::status;
    if (response.version() < 11 || !has_token(response, http::field::connection, "upgrade") ||
        !has_token(response, http::field::upgrade, "websocket"))
        return ResponseFault::upgrade;
    const auto accept = values(response, http::field::sec_websocket_accept);
    if (accept.size() != 1 || accept.front() != accept_of(request.key)) return ResponseFault::accept;
    // We asked for no extension, so that none may be in use (4.1).
    if (response.count(http::field::sec_websocket_extensions) > 0) return ResponseFault::extensions;
    // A server of MQTT must say the subprotocol (MQTT-6.0.0-4).
    const auto subprotocol = values(response, http::field::sec_websocket_protocol);
    if (subprotocol.size() != 1 || subprotocol.front() != request.subprotocol)
        return ResponseFault::subprotocol;
    return ResponseFault::none;
}

std::string_view fault_sentence(ResponseFault fault) {
    switch (fault) {
        case ResponseFault::none:
            return "nothing is wrong";
        case ResponseFault::status:
            return "the broker's answer to the WebSocket handshake is not 101";
        case ResponseFault::upgrade:
            return "the broker answers 101 but does not upgrade to WebSocket";
        case ResponseFault::accept:
            return "the broker's Sec-WebSocket-Accept does not fit the key";
        case ResponseFault::extensions:
            return "the broker uses a WebSocket extension that was not asked for";
        case ResponseFault::subprotocol:
            return "the broker does not confirm the subprotocol that was asked for";
    }
    return "unknown";
}

}  // namespace limpet::websocket
