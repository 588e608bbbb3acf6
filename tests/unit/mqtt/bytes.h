// SPDX-License-Identifier: Apache-2.0
// Packets laid out by hand, so that the tests do not believe the writer that they test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mqtt/packet.h"

namespace limpet::mqtt::test {

using Buffer = std::vector<std::uint8_t>;

inline constexpr std::size_t any_size = 268'435'460;

inline Buffer operator+(Buffer left, const Buffer& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

inline Buffer text(std::string_view characters) {
    return {characters.begin(), characters.end()};
}

inline Buffer number16(std::size_t value) {
    return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

/// A string or binary field: two bytes of length, then the bytes.
inline Buffer field(std::string_view characters) {
    return number16(characters.size()) + text(characters);
}

inline Buffer variable(std::size_t value) {
    Buffer bytes;
    while (value > 127) {
        bytes.push_back(static_cast<std::uint8_t>(value | 0x80));
        value >>= 7;
    }
    bytes.push_back(static_cast<std::uint8_t>(value));
    return bytes;
}

/// A packet with a right remaining length.
inline Buffer packet(std::uint8_t first_byte, const Buffer& body) {
    return Buffer{first_byte} + variable(body.size()) + body;
}

/// Properties with their length in front.
inline Buffer section(const Buffer& properties) {
    return variable(properties.size()) + properties;
}

/// A CONNECT of which every part can be replaced; as it stands it is valid.
struct Sketch {
    std::uint8_t first_byte = 0x10;
    Buffer name = field("MQTT");
    std::uint8_t level = 4;
    std::uint8_t flags = 0x02;
    Buffer properties;        ///< with their length; empty in 3.x
    Buffer id = field("id");  ///< with its length
    Buffer rest;              ///< will, user name, password

    [[nodiscard]] Buffer body() const {
        return name + Buffer{level, flags, 0x00, 0x3C} + properties + id + rest;
    }
    [[nodiscard]] Buffer bytes() const { return packet(first_byte, body()); }
};

inline Sketch sketch(Version version) {
    Sketch drawn;
    drawn.level = static_cast<std::uint8_t>(version);
    if (version == Version::v31) drawn.name = field("MQIsdp");
    if (version == Version::v5) drawn.properties = {0};
    return drawn;
}

/// How many bytes of the sketch come before the byte behind the level and the flags.
inline std::size_t bytes_up_to_level(const Sketch& drawn) {
    return 1 + variable(drawn.body().size()).size() + drawn.name.size() + 1;
}

inline constexpr Version versions[] = {Version::v31, Version::v311, Version::v5};

inline std::string version_name(Version version) {
    return version == Version::v31 ? "3.1" : version == Version::v311 ? "3.1.1" : "5";
}

template <class Packet>
void expect_same(const Parsed<Packet>& have, const Parsed<Packet>& want, std::string_view why) {
    EXPECT_EQ(have.status, want.status) << why;
    EXPECT_EQ(reason_name(have.reason), reason_name(want.reason)) << why;
    EXPECT_EQ(have.detail, want.detail) << why;
    EXPECT_EQ(have.consumed, want.consumed) << why;
    EXPECT_EQ(have.version, want.version) << why;
    EXPECT_TRUE(have.packet == want.packet) << why;
}

/// Feeds the bytes one by one. They must be incomplete up to some length, and from there on, with more bytes
/// behind them too, judged just as in one piece. Returns that length, or one more than there are bytes.
template <class Parse>
std::size_t decided_after(const Buffer& bytes, const Parse& parse) {
    const Buffer longer = bytes + Buffer{0xC0, 0x00, 0x30, 0x02};
    std::size_t decided = bytes.size() + 1;
    for (std::size_t length = 0; length <= bytes.size() && decided > bytes.size(); ++length) {
        const auto part = parse(Bytes(bytes).first(length));
        if (part.status != Status::incomplete) {
            decided = length;
        } else {
            EXPECT_TRUE(part.consumed == 0 && part.packet == decltype(part.packet){} && part.detail.empty())
                << "nothing of an incomplete packet gets out (" << length << " bytes)";
        }
    }
    if (decided > bytes.size()) return decided;
    const auto whole = parse(Bytes(bytes));
    for (std::size_t length = decided; length <= longer.size(); ++length)
        expect_same(parse(Bytes(longer).first(length)), whole,
                    "a judgement, once made, must not change when more bytes come (" +
                        std::to_string(length) + " bytes)");
    return decided;
}

inline Parsed<Connect> read_connect(Bytes bytes) {
    return parse_connect(bytes, any_size);
}

inline std::string hex(Bytes bytes) {
    std::string out;
    for (const std::uint8_t byte : bytes.first(std::min<std::size_t>(bytes.size(), 80))) {
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 15];
    }
    return out;
}

/// A CONNECT that is valid: incomplete until its last byte has come. Returns what it says.
inline Connect expect_valid(const Buffer& bytes, std::string_view sentence) {
    SCOPED_TRACE(std::string(sentence) + ": " + hex(bytes));
    EXPECT_EQ(decided_after(bytes, read_connect), bytes.size()) << "a prefix of a valid packet is incomplete";
    const auto parsed = read_connect(bytes);
    EXPECT_EQ(parsed.status, Status::complete) << parsed.detail;
    EXPECT_EQ(parsed.consumed, bytes.size()) << "exactly the packet is consumed";
    EXPECT_EQ(parsed.version, parsed.packet.version);
    EXPECT_EQ(parsed.reason, LIMPET_REASON_NONE);
    const Buffer again = write_connect(parsed.packet);
    EXPECT_TRUE(read_connect(again).packet == parsed.packet) << "what is written back reads the same";
    return parsed.packet;
}

inline constexpr std::size_t at_the_end = 0;

/// A CONNECT that is invalid, and known to be so after `decided` bytes (at_the_end: only as a whole).
inline void expect_invalid(const Buffer& bytes, Reason reason, std::string_view sentence,
                           std::optional<std::size_t> decided = {}) {
    SCOPED_TRACE(std::string(sentence) + ": " + hex(bytes));
    const std::size_t when = decided_after(bytes, read_connect);
    const auto parsed = read_connect(bytes);
    EXPECT_EQ(parsed.status, Status::invalid);
    EXPECT_EQ(reason_name(parsed.reason), reason_name(reason)) << parsed.detail;
    EXPECT_FALSE(parsed.detail.empty()) << "a person wants to know what was wrong";
    EXPECT_EQ(parsed.consumed, 0u);
    EXPECT_TRUE(parsed.packet == Connect{}) << "nothing of an invalid packet gets out";
    if (decided) {
        EXPECT_EQ(when, *decided == at_the_end ? bytes.size() : *decided)
            << "judged as soon as it can never become valid, and not before";
    }
}

}  // namespace limpet::mqtt::test
