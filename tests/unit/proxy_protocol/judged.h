// SPDX-License-Identifier: Apache-2.0
// What every header must hold to, whole or broken, however it comes.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "../codec.h"
#include "proxy_protocol/header.h"

namespace limpet::proxy_protocol::test {

using codec::Buffer;
using codec::from_hex;
using codec::hex;
using codec::number16;
using codec::operator+;

inline Buffer text(std::string_view characters) {
    return codec::text(characters);
}

inline Endpoint endpoint(std::string_view written) {
    return Endpoint::parse(written).value();
}

inline void expect_same(const Parsed& have, const Parsed& want, std::size_t length) {
    EXPECT_EQ(have.status, want.status) << length;
    EXPECT_EQ(have.fault, want.fault) << length;
    EXPECT_EQ(have.consumed, want.consumed) << length;
    EXPECT_TRUE(have.header == want.header) << length;
}

/// Feeds the bytes one by one. They must be incomplete up to some length, and from there on, with more bytes
/// behind them too, judged just as in one piece. Returns that length, or one more than there are bytes.
inline std::size_t decided_after(const Buffer& bytes, const Accept& accept) {
    const Buffer longer = bytes + Buffer{0x10, 0x0D, 0x0A, 0xFF, 0x00, 0x0A};
    std::size_t decided = bytes.size() + 1;
    for (std::size_t length = 0; length <= bytes.size() && decided > bytes.size(); ++length) {
        const Parsed part = parse_header(Bytes(bytes).first(length), accept);
        if (part.status != Status::incomplete)
            decided = length;
        else
            EXPECT_TRUE(part.header == Header{} && part.consumed == 0 && part.fault == Fault::none) << length;
    }
    if (decided > bytes.size()) return decided;
    const Parsed whole = parse_header(bytes, accept);
    for (std::size_t length = decided; length <= longer.size(); ++length)
        expect_same(parse_header(Bytes(longer).first(length), accept), whole, length);
    return decided;
}

/// A whole header, known when its last byte is there and not before. Returns what it says.
inline Header expect_valid(const Buffer& bytes, const Accept& accept = {}) {
    SCOPED_TRACE(hex(bytes));
    EXPECT_EQ(decided_after(bytes, accept), bytes.size());
    const Parsed parsed = parse_header(bytes, accept);
    EXPECT_EQ(parsed.status, Status::complete) << fault_sentence(parsed.fault);
    EXPECT_EQ(parsed.consumed, bytes.size());
    EXPECT_EQ(parsed.fault, Fault::none);
    return parsed.header;
}

inline void expect_invalid(const Buffer& bytes, Fault fault, std::optional<std::size_t> decided = {},
                           const Accept& accept = {}) {
    SCOPED_TRACE(hex(bytes));
    EXPECT_EQ(decided_after(bytes, accept), decided.value_or(bytes.size()))
        << "judged as soon as it can never become valid, and not before";
    const Parsed parsed = parse_header(bytes, accept);
    EXPECT_EQ(parsed.status, Status::invalid);
    EXPECT_EQ(fault_sentence(parsed.fault), fault_sentence(fault));
    EXPECT_EQ(parsed.consumed, 0U);
    EXPECT_TRUE(parsed.header == Header{}) << "nothing of an invalid header gets out";
}

/// A version 2 header with a right length.
inline Buffer v2(std::uint8_t version_command, std::uint8_t family, const Buffer& block) {
    return from_hex("0d0a0d0a000d0a515549540a") + Buffer{version_command, family} + number16(block.size()) +
           block;
}

inline Buffer tlv(std::uint8_t type, const Buffer& value) {
    return Buffer{type} + number16(value.size()) + value;
}

/// 192.0.2.1:50000 to 198.51.100.7:1883
inline const Buffer ends4 = from_hex("c0000201c6336407c350075b");
/// [2001:db8::1]:50000 to [2001:db8::2]:1883
inline const Buffer ends6 =
    from_hex("20010db800000000000000000000000120010db8000000000000000000000002c350075b");

}  // namespace limpet::proxy_protocol::test
