// SPDX-License-Identifier: Apache-2.0
// ClientHellos laid out by hand, and what every reading of one must hold to.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "../codec.h"
#include "tls_hello/client_hello.h"

namespace limpet::tls_hello::test {

using codec::Buffer;
using codec::from_hex;
using codec::hex;
using codec::number16;
using codec::operator+;
using codec::text;

inline constexpr std::size_t usual_maximum = 16'384;

inline Buffer vector8(const Buffer& content) {
    return Buffer{static_cast<std::uint8_t>(content.size())} + content;
}
inline Buffer vector16(const Buffer& content) {
    return number16(content.size()) + content;
}
inline Buffer extension(std::size_t type, const Buffer& data) {
    return number16(type) + vector16(data);
}
inline Buffer sni(const Buffer& names) {
    return extension(0, vector16(names));
}
inline Buffer host_name(std::string_view name) {
    return Buffer{0} + vector16(text(name));
}
inline Buffer alpn(const Buffer& names) {
    return extension(16, vector16(names));
}

/// A message of which every part can be replaced; as it stands it is valid.
struct Sketch {
    std::uint8_t type = 1;
    Buffer version{0x03, 0x03};
    Buffer random = Buffer(32, 0xAA);
    Buffer session_id = vector8(Buffer(32, 0x55));
    Buffer cipher_suites = vector16({0x13, 0x01, 0x0A, 0x0A});
    Buffer compression_methods = vector8({0});
    Buffer extensions;  ///< without the length of all
    bool with_extensions = true;
    Buffer behind;

    [[nodiscard]] Buffer body() const {
        return version + random + session_id + cipher_suites + compression_methods +
               (with_extensions ? vector16(extensions) : Buffer{}) + behind;
    }
    [[nodiscard]] Buffer message() const { return Buffer{type, 0} + vector16(body()); }
};

/// The bytes as one record, or as several of `piece` bytes.
inline Buffer records(const Buffer& message, std::size_t piece = 16'384, std::uint8_t minor = 1) {
    Buffer bytes;
    for (std::size_t at = 0; at < message.size(); at += piece) {
        const std::size_t size = std::min(piece, message.size() - at);
        const auto begin = message.begin() + static_cast<std::ptrdiff_t>(at);
        bytes =
            bytes + Buffer{22, 3, minor} + vector16(Buffer(begin, begin + static_cast<std::ptrdiff_t>(size)));
    }
    return bytes;
}

inline Buffer with_extensions(const Buffer& extensions) {
    Sketch sketch;
    sketch.extensions = extensions;
    return records(sketch.message());
}

/// After how many bytes the reader has judged, given one by one; one more than there are if it has not.
inline std::size_t decided_after(const Buffer& bytes, std::size_t maximum) {
    ClientHelloReader reader(maximum);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        EXPECT_EQ(reader.consumed(), 0U);
        EXPECT_TRUE(reader.hello() == ClientHello{}) << "nothing gets out before the end";
        if (reader.read(Bytes(bytes).subspan(length, 1)) != Status::incomplete) return length + 1;
    }
    return bytes.size() + 1;
}

/// Reads the bytes cut in every way. All must say the same as the whole, whatever comes behind.
inline ClientHelloReader expect_same_in_all_pieces(const Buffer& bytes, std::size_t maximum) {
    ClientHelloReader whole(maximum);
    whole.read(bytes);
    for (const auto& way : codec::ways_to_cut(bytes.size())) {
        ClientHelloReader reader(maximum);
        std::size_t at = 0;
        for (const std::size_t size : way) {
            reader.read(Bytes(bytes).subspan(at, size));
            at += size;
        }
        if (whole.status() != Status::incomplete) reader.read(Buffer{22, 3, 1, 0, 5, 1, 0xFF});
        const bool same = reader.status() == whole.status() && reader.fault() == whole.fault() &&
                          reader.consumed() == whole.consumed() && reader.hello() == whole.hello();
        EXPECT_TRUE(same) << "first piece of " << way.front() << " bytes";
        if (!same) break;
    }
    return whole;
}

inline ClientHello expect_valid(const Buffer& bytes, std::size_t maximum = usual_maximum) {
    SCOPED_TRACE(hex(bytes));
    EXPECT_EQ(decided_after(bytes, maximum), bytes.size());
    const ClientHelloReader reader = expect_same_in_all_pieces(bytes, maximum);
    EXPECT_EQ(reader.status(), Status::complete) << fault_sentence(reader.fault());
    EXPECT_EQ(reader.consumed(), bytes.size());
    return reader.hello();
}

inline void expect_invalid(const Buffer& bytes, Fault fault, std::optional<std::size_t> decided = {},
                           std::size_t maximum = usual_maximum) {
    SCOPED_TRACE(hex(bytes));
    EXPECT_EQ(decided_after(bytes, maximum), decided.value_or(bytes.size()));
    const ClientHelloReader reader = expect_same_in_all_pieces(bytes, maximum);
    EXPECT_EQ(reader.status(), Status::invalid);
    EXPECT_EQ(fault_sentence(reader.fault()), fault_sentence(fault));
    EXPECT_EQ(reader.consumed(), 0U);
    EXPECT_TRUE(reader.hello() == ClientHello{});
}

}  // namespace limpet::tls_hello::test
