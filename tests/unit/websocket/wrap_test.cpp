// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "frames.h"

namespace limpet::websocket::test {
namespace {

Buffer frame(Opcode opcode, const Buffer& payload, std::optional<MaskKey> with = {}, bool final = true) {
    Buffer out;
    append_frame(out, opcode, payload, with, final);
    return out;
}

Buffer header(std::uint64_t length, std::optional<MaskKey> with = {}) {
    const FrameHeader written = frame_header(Opcode::binary, length, with);
    return {written.view().begin(), written.view().end()};
}

TEST(Wrap, writes_the_examples_of_the_rfc) {
    EXPECT_EQ(frame(Opcode::pong, text("Hello"), key), from_hex("8a8537fa213d7f9f4d5158"));
    EXPECT_EQ(frame(Opcode::ping, text("Hello")), from_hex("890548656c6c6f"));
    EXPECT_EQ(frame(Opcode::text, text("Hel"), {}, false) + frame(Opcode::continuation, text("lo")),
              from_hex("010348656c80026c6f"));
    EXPECT_EQ(header(256), from_hex("827e0100"));
    EXPECT_EQ(header(65'536), from_hex("827f0000000000010000"));
}

TEST(Wrap, writes_every_length_in_its_shortest_form) {
    EXPECT_EQ(header(0), from_hex("8200"));
    EXPECT_EQ(header(125), from_hex("827d"));
    EXPECT_EQ(header(126), from_hex("827e007e"));
    EXPECT_EQ(header(65'535), from_hex("827effff"));
    EXPECT_EQ(header(0x7FFFFFFFFFFFFFFF), from_hex("827f7fffffffffffffff"));
    EXPECT_EQ(header(125, key), from_hex("82fd37fa213d"));
    EXPECT_EQ(header(65'536, key), from_hex("82ff000000000001000037fa213d"));
}

TEST(Wrap, appends_behind_what_is_there) {
    Buffer out = text("before");
    append_frame(out, Opcode::binary, text("Hello"), key);
    EXPECT_EQ(out, text("before") + client_frame(0x82, text("Hello")));
}

TEST(Wrap, masks_at_every_offset_and_alignment) {
    Buffer bytes(64);
    for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<std::uint8_t>(at * 11);
    for (std::size_t begin = 0; begin < 16; ++begin)
        for (std::size_t size = 0; size <= 40; ++size)
            for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2},
                                         std::uint64_t{7}, (std::uint64_t{1} << 40) + 3}) {
                Buffer have = bytes;
                Buffer want = bytes;
                for (std::size_t at = 0; at < size; ++at) want[begin + at] ^= key[(offset + at) % 4];
                apply_mask(std::span(have).subspan(begin, size), key, offset);
                ASSERT_EQ(have, want) << begin << " " << size << " " << offset;
            }
}

TEST(Wrap, close_has_a_code_and_a_reason_cut_between_characters) {
    Buffer out;
    append_close(out, CloseCode::going_away, "bye");
    EXPECT_EQ(out, from_hex("880503e9") + text("bye"));
    for (std::size_t begin = 118; begin <= 126; ++begin) {
        const std::string reason = std::string(begin, 'x') + "\xE2\x82\xAC\xF0\x9F\x98\x80 and more";
        Buffer close;
        append_close(close, CloseCode::policy_violation, reason, key);
        const Story story = read(close);
        ASSERT_EQ(story.fault, Fault::none) << begin;
        const std::string cut(story.controls.at(0).payload.begin(), story.controls.at(0).payload.end());
        EXPECT_EQ(reason.substr(0, cut.size()), cut);
        EXPECT_GE(cut.size(), 120U);
        EXPECT_LE(cut.size(), 123U);
    }
    EXPECT_EQ(frame(Opcode::ping, Buffer(200)), server_frame(0x89, Buffer(125)));
}

/// A random stream in frames of every sort, as both sides may write it.
struct Written {
    Buffer frames;
    Buffer data;
    std::vector<Control> controls;
};

Written write_random(unsigned seed, Sender sender) {
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return random() % limit; };
    const auto bytes = [&](std::size_t longest) {
        Buffer filled(below(longest + 1));
        for (auto& byte : filled) byte = static_cast<std::uint8_t>(random());
        return filled;
    };
    const auto mask = [&]() -> std::optional<MaskKey> {
        if (sender == Sender::server) return {};
        return MaskKey{static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random()),
                       static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random())};
    };
    Written written;
    for (std::size_t messages = 1 + below(4); messages > 0; --messages) {
        const std::size_t fragments = 1 + below(3);
        for (std::size_t fragment = 0; fragment < fragments; ++fragment) {
            const Buffer payload = bytes(below(4) == 0 ? 300 : 20);
            append_frame(written.frames, fragment == 0 ? Opcode::binary : Opcode::continuation, payload,
                         mask(), fragment + 1 == fragments);
            written.data = written.data + payload;
            if (below(3) != 0) continue;
            const Buffer control = bytes(125);
            const bool ping = below(2) == 0;
            append_frame(written.frames, ping ? Opcode::ping : Opcode::pong, control, mask());
            written.controls.push_back(
                {ping ? Event::Kind::ping : Event::Kind::pong, control, 0, written.data.size()});
        }
    }
    append_close(written.frames, CloseCode::normal, "done", mask());
    written.controls.push_back({Event::Kind::close, text("done"), 1000, written.data.size()});
    return written;
}

TEST(Wrap, what_it_writes_reads_back_the_same_however_it_is_cut) {
    for (unsigned seed = 0; seed < 200; ++seed)
        for (const Sender sender : {Sender::client, Sender::server}) {
            const Written written = write_random(seed, sender);
            const Story story = read(written.frames, sender);
            ASSERT_EQ(fault_sentence(story.fault), fault_sentence(Fault::none)) << seed;
            ASSERT_TRUE(story.data == written.data) << seed;
            ASSERT_TRUE(story.controls == written.controls) << seed;
            ASSERT_TRUE(story.between_messages && story.closed) << seed;
        }
}

}  // namespace
}  // namespace limpet::websocket::test
