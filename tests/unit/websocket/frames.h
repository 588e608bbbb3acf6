// SPDX-License-Identifier: Apache-2.0
// Frames laid out by hand, and what every reading of them must hold to.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "../codec.h"
#include "websocket/frame.h"

namespace limpet::websocket::test {

using codec::Buffer;
using codec::from_hex;
using codec::hex;
using codec::number16;
using codec::operator+;
using codec::text;

inline constexpr MaskKey key{0x37, 0xFA, 0x21, 0x3D};  // of the examples in RFC 6455 5.7
inline constexpr std::uint64_t no_cap = std::uint64_t{1} << 62;

inline Buffer masked(Buffer payload, MaskKey with = key) {
    for (std::size_t at = 0; at < payload.size(); ++at) payload[at] ^= with[at % 4];
    return payload;
}

inline Buffer key_bytes(MaskKey of = key) {
    return {of.begin(), of.end()};
}

/// A client's frame of up to 65535 bytes.
inline Buffer client_frame(std::uint8_t first_byte, const Buffer& payload) {
    const std::size_t size = payload.size();
    const Buffer length =
        size <= 125 ? Buffer{static_cast<std::uint8_t>(0x80 | size)} : Buffer{0x80 | 126} + number16(size);
    return Buffer{first_byte} + length + key_bytes() + masked(payload);
}

/// A server's frame of up to 125 bytes.
inline Buffer server_frame(std::uint8_t first_byte, const Buffer& payload) {
    return Buffer{first_byte, static_cast<std::uint8_t>(payload.size())} + payload;
}

/// An event that is no data, and how many bytes of data came before it.
struct Control {
    Event::Kind kind{};
    Buffer payload;
    std::uint16_t code = 0;
    std::size_t after = 0;

    bool operator==(const Control&) const = default;
};

/// All that came out of a stream.
struct Story {
    Buffer data;
    std::vector<Control> controls;
    Fault fault = Fault::none;
    bool between_frames = false;
    bool between_messages = false;
    bool closed = false;

    bool operator==(const Story&) const = default;
};

/// Gives the bytes to the reader until it wants more; it may overwrite its copy.
inline void feed(Unwrapper& reader, Bytes bytes, Story& story) {
    Buffer copy(bytes.begin(), bytes.end());
    std::span<std::uint8_t> left(copy);
    for (;;) {
        const Event event = reader.read(left);
        const Buffer payload(event.payload.begin(), event.payload.end());
        if (event.kind == Event::Kind::data) {
            EXPECT_FALSE(payload.empty()) << "nothing is no event";
            EXPECT_TRUE(event.payload.data() >= copy.data() &&
                        event.payload.data() + payload.size() <= copy.data() + copy.size())
                << "data is given in place";
            story.data = story.data + payload;
        } else if (event.kind == Event::Kind::more) {
            EXPECT_TRUE(left.empty());
            break;
        } else if (event.kind == Event::Kind::invalid) {
            break;
        } else {
            story.controls.push_back({event.kind, payload, event.code, story.data.size()});
        }
    }
    story.fault = reader.fault();
    story.between_frames = reader.between_frames();
    story.between_messages = reader.between_messages();
    story.closed = reader.closed();
}

inline Story read_in_pieces(Bytes bytes, const std::vector<std::size_t>& sizes, Sender sender,
                            std::uint64_t cap) {
    Unwrapper reader(sender, cap);
    Story story;
    for (const std::size_t size : sizes) {
        feed(reader, bytes.first(size), story);
        bytes = bytes.subspan(size);
    }
    return story;
}

/// The story must be the same however the bytes are cut.
inline Story read(const Buffer& bytes, Sender sender = Sender::client, std::uint64_t cap = no_cap) {
    const Story whole = read_in_pieces(bytes, {bytes.size()}, sender, cap);
    for (const auto& way : codec::ways_to_cut(bytes.size())) {
        const Story story = read_in_pieces(bytes, way, sender, cap);
        EXPECT_TRUE(story == whole) << hex(bytes) << ": first piece of " << way.front() << " bytes";
        if (story != whole) break;
    }
    return whole;
}

/// Bytes that are wrong, and known to be so after `decided` of them.
inline void expect_invalid(const Buffer& bytes, Fault fault, std::size_t decided,
                           Sender sender = Sender::client, std::uint64_t cap = no_cap) {
    SCOPED_TRACE(hex(bytes));
    EXPECT_EQ(fault_sentence(read(bytes, sender, cap).fault), fault_sentence(fault));
    Unwrapper reader(sender, cap);
    Story story;
    std::size_t length = 0;
    while (length < bytes.size() && story.fault == Fault::none) {
        feed(reader, Bytes(bytes).subspan(length, 1), story);
        ++length;
    }
    EXPECT_EQ(length, decided) << "judged as soon as it can never become valid, and not before";
    feed(reader, Buffer{0x82, 0x80, 0, 0, 0, 0}, story);
    EXPECT_EQ(story.fault, fault) << "and stays so";
}

}  // namespace limpet::websocket::test
