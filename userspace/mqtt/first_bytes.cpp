// SPDX-License-Identifier: Apache-2.0
#include "mqtt/first_bytes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "mqtt/wire.h"

namespace limpet::mqtt {
namespace {

constexpr std::uint8_t type_connect = 1;
constexpr std::uint8_t type_publish = 3;

struct Signature {
    std::string_view bytes;
    Reason reason;
    std::string_view detail;
    bool any_case = false;
};

using namespace std::string_view_literals;

// None is the beginning of another, none is longer than eight bytes, and none begins with a byte 0x1X, so
// that a name, once given, stays right however the stream goes on. Of the PROXY v2 signature (twelve bytes)
// eight are enough.
constexpr std::array signatures{
    Signature{"GET"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP GET"sv},
    Signature{"POST"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP POST"sv},
    Signature{"PUT"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP PUT"sv},
    Signature{"HEAD"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP HEAD"sv},
    Signature{"OPTIONS"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP OPTIONS"sv},
    Signature{"DELETE"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP DELETE"sv},
    Signature{"CONNECT"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP CONNECT"sv},
    Signature{"PATCH"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP PATCH"sv},
    Signature{"TRACE"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP TRACE"sv},
    Signature{"PRI"sv, LIMPET_REASON_CLOSE_HTTP, "HTTP/2 preface"sv},
    Signature{"PROXY"sv, LIMPET_REASON_CLOSE_PROXY_V1, "PROXY v1 header"sv},
    Signature{"\r\n\r\n\0\r\nQ"sv, LIMPET_REASON_CLOSE_PROXY_V2, "PROXY v2 signature"sv},
    Signature{"SSH-"sv, LIMPET_REASON_CLOSE_SSH, "SSH greeting"sv},
    Signature{"EHLO"sv, LIMPET_REASON_CLOSE_SMTP, "SMTP EHLO"sv, true},
    Signature{"HELO"sv, LIMPET_REASON_CLOSE_SMTP, "SMTP HELO"sv, true},
};
static_assert(std::ranges::all_of(signatures, [](const Signature& one) { return one.bytes.size() <= 8; }));

constexpr char upper(char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
}

/// Whether the bytes there are agree with the signature as far as both reach.
bool agrees(const Signature& signature, std::string_view text) {
    const std::size_t length = std::min(signature.bytes.size(), text.size());
    return std::ranges::equal(
        text.substr(0, length), signature.bytes.substr(0, length),
        [&](char have, char want) { return (signature.any_case ? upper(have) : have) == want; });
}

/// 2.1.3: each packet type has its own fixed flags, only those of PUBLISH vary (and never say QoS 3).
bool looks_like_packet(std::uint8_t first_byte) {
    const int type = first_byte >> 4;
    const int flags = first_byte & 0x0F;
    if (type == type_publish) return (flags & 0x06) != 0x06;
    const bool acknowledged = type == 6 || type == 8 || type == 10;  // PUBREL, SUBSCRIBE, UNSUBSCRIBE
    return type != 0 && flags == (acknowledged ? 2 : 0);
}

std::string unnamed(std::uint8_t first_byte) {
    if (looks_like_packet(first_byte))
        return std::string(packet_type_name(first_byte >> 4)) + " before CONNECT (MQTT-3.1.0-1)";
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "first byte 0x..: no MQTT packet";
    text[13] = digits[first_byte >> 4];
    text[14] = digits[first_byte & 0x0F];
    return text;
}

}  // namespace

std::string_view packet_type_name(std::uint8_t type) {
    constexpr std::array names{"reserved"sv,  "CONNECT"sv,  "CONNACK"sv,     "PUBLISH"sv,
                               "PUBACK"sv,    "PUBREC"sv,   "PUBREL"sv,      "PUBCOMP"sv,
                               "SUBSCRIBE"sv, "SUBACK"sv,   "UNSUBSCRIBE"sv, "UNSUBACK"sv,
                               "PINGREQ"sv,   "PINGRESP"sv, "DISCONNECT"sv,  "AUTH"sv};
    return names[type & 0x0F];
}

FirstBytes judge_first_bytes(Bytes bytes) {
    if (bytes.empty()) return {};
    if (bytes[0] >> 4 == type_connect) {
        // A TLS record of a handshake, version 3.x. Read as MQTT it would be a CONNECT of 3.1 with odd flags
        // and a remaining length of 3, which no CONNECT has.
        if (bytes[0] != 0x16) return {Status::complete, LIMPET_REASON_NONE, {}};
        if (bytes.size() < 2) return {};
        if (bytes[1] != 0x03) return {Status::complete, LIMPET_REASON_NONE, {}};
        return {Status::invalid, LIMPET_REASON_CLOSE_TLS, "TLS handshake record"};
    }
    const std::string_view text = as_text(bytes.first(std::min<std::size_t>(bytes.size(), 8)));
    for (const Signature& signature : signatures) {
        if (!agrees(signature, text)) continue;
        if (text.size() < signature.bytes.size()) return {};
        return {Status::invalid, signature.reason, std::string(signature.detail)};
    }
    return {Status::invalid, LIMPET_REASON_CLOSE_NOT_MQTT, unnamed(bytes[0])};
}

}  // namespace limpet::mqtt
