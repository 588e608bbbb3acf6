// SPDX-License-Identifier: Apache-2.0
#include "frames.h"

namespace limpet::websocket::test {
namespace {

const Buffer connect = from_hex("100c00044d5154540402003c0000");
const Buffer pingreq{0xC0, 0x00};
const Buffer hello = text("Hello");

TEST(Examples, of_the_rfc) {
    // 5.7: a masked pong and an unmasked ping that carry "Hello"
    EXPECT_EQ(read(from_hex("8a8537fa213d7f9f4d5158")).controls,
              (std::vector<Control>{{Event::Kind::pong, hello, 0, 0}}));
    EXPECT_EQ(read(from_hex("890548656c6c6f"), Sender::server).controls,
              (std::vector<Control>{{Event::Kind::ping, hello, 0, 0}}));
    // and the text frames, which MQTT does not take
    expect_invalid(from_hex("818537fa213d7f9f4d5158"), Fault::text, 1);
    expect_invalid(from_hex("810548656c6c6f"), Fault::text, 1, Sender::server);
    expect_invalid(from_hex("010348656c80026c6f"), Fault::text, 1, Sender::server);
}

// What python3-paho-mqtt 1.6.1 sent over "websockets" on loopback: CONNECT, PUBLISH of 200 bytes, DISCONNECT.
TEST(Examples, of_paho) {
    const Buffer published(200, 'x');
    std::string frames =
        "8297cb833184db96318086d265d0cf8131b8cb8a46f7e6e05dedaeed45"
        "82fe00d0270af4dd17c7f5dd246bdbbf";
    for (int quad = 0; quad < 50; ++quad) frames += "5f728ca5";
    frames += "828215e7b96df5e7";
    const Story story = read(from_hex(frames));
    EXPECT_EQ(story.fault, Fault::none);
    EXPECT_EQ(story.data, from_hex("101500044d5154540402003c0009") + text("ws-client") +
                              from_hex("30cd010003") + text("a/b") + published + from_hex("e000"));
    EXPECT_TRUE(story.between_messages);
}

TEST(Data, frames_and_packets_need_not_align) {
    const Buffer both = connect + pingreq;
    for (std::size_t cut = 0; cut <= both.size(); ++cut) {
        const Buffer first(both.begin(), both.begin() + static_cast<std::ptrdiff_t>(cut));
        const Buffer second(both.begin() + static_cast<std::ptrdiff_t>(cut), both.end());
        const Story messages = read(client_frame(0x82, first) + client_frame(0x82, second));
        EXPECT_EQ(messages.data, both);
        EXPECT_TRUE(messages.between_messages);
        const Story fragments = read(client_frame(0x02, first) + client_frame(0x80, second));
        EXPECT_EQ(fragments.data, both);
        EXPECT_TRUE(fragments.between_messages);
    }
}

TEST(Data, control_frames_may_come_between_fragments) {
    const Story story =
        read(client_frame(0x02, {1, 2}) + client_frame(0x89, text("p")) + client_frame(0x00, {}) +
             client_frame(0x00, {3}) + client_frame(0x8A, {}) + client_frame(0x80, {4}));
    EXPECT_EQ(story.data, (Buffer{1, 2, 3, 4}));
    EXPECT_EQ(story.controls,
              (std::vector<Control>{{Event::Kind::ping, text("p"), 0, 2}, {Event::Kind::pong, {}, 0, 3}}));
    EXPECT_EQ(story.fault, Fault::none);
}

TEST(Data, empty_frames_say_nothing) {
    const Story story = read(client_frame(0x82, {}) + client_frame(0x02, {}) + client_frame(0x80, {}));
    EXPECT_TRUE(story == (Story{.data = {},
                                .controls = {},
                                .fault = Fault::none,
                                .between_frames = true,
                                .between_messages = true,
                                .closed = false}));
}

TEST(Data, where_another_writer_may_go_on_is_known) {
    const Buffer frames = client_frame(0x02, {1, 2}) + client_frame(0x89, {}) + client_frame(0x80, {3});
    const std::vector<std::size_t> ends{0, 8, 14, 21};
    for (std::size_t length = 0; length <= frames.size(); ++length) {
        const Story story = read_in_pieces(Bytes(frames).first(length), {length}, Sender::client, no_cap);
        EXPECT_EQ(story.between_frames, std::ranges::find(ends, length) != ends.end()) << length;
        EXPECT_EQ(story.between_messages, length == 0 || length == 21) << length;
    }
}

TEST(Data, long_frames_pass_in_pieces) {
    Buffer payload(70'000);
    for (std::size_t at = 0; at < payload.size(); ++at) payload[at] = static_cast<std::uint8_t>(at * 7);
    const Buffer frame = from_hex("82ff0000000000011170") + key_bytes() + masked(payload);
    for (const std::size_t piece : {1U, 3U, 8U, 1000U, 65'536U}) {
        Unwrapper reader(Sender::client);
        Story story;
        for (std::size_t at = 0; at < frame.size(); at += piece)
            feed(reader, Bytes(frame).subspan(at, std::min(piece, frame.size() - at)), story);
        EXPECT_TRUE(story.data == payload) << piece;
        EXPECT_TRUE(story.between_messages);
    }
}

TEST(Data, an_announced_length_takes_no_memory) {
    Unwrapper reader(Sender::client);
    Story story;
    feed(reader, from_hex("82ff7fffffffffffffff") + key_bytes() + masked({1, 2, 3}), story);
    EXPECT_EQ(story.fault, Fault::none);
    EXPECT_EQ(story.data, (Buffer{1, 2, 3}));
}

TEST(Header, every_first_byte_is_judged_at_once) {
    for (unsigned first = 0; first < 0x100; ++first) {
        const auto byte = static_cast<std::uint8_t>(first);
        const Buffer frame = client_frame(byte, {});
        const unsigned opcode = first & 15;
        const bool final = (first & 0x80) != 0;
        if ((first & 0x70) != 0)
            expect_invalid(frame, Fault::reserved_bits, 1);
        else if ((opcode > 2 && opcode < 8) || opcode > 10)
            expect_invalid(frame, Fault::opcode, 1);
        else if (opcode >= 8 && !final)
            expect_invalid(frame, Fault::control_fragmented, 1);
        else if (opcode == 0)
            expect_invalid(frame, Fault::continuation_of_nothing, 1);
        else if (opcode == 1)
            expect_invalid(frame, Fault::text, 1);
        else
            EXPECT_EQ(read(frame).fault, Fault::none) << first;
    }
    expect_invalid(client_frame(0x02, {1}) + client_frame(0x82, {2}), Fault::message_within_message, 8);
    expect_invalid(client_frame(0x02, {1}) + client_frame(0x80, {2}) + client_frame(0x80, {3}),
                   Fault::continuation_of_nothing, 15);
}

TEST(Header, who_masks_is_fixed) {
    expect_invalid(server_frame(0x82, {1}), Fault::not_masked, 2);
    expect_invalid(server_frame(0x89, {}), Fault::not_masked, 2);
    expect_invalid(client_frame(0x82, {1}), Fault::masked, 2, Sender::server);
    EXPECT_EQ(read(server_frame(0x82, {1, 2}) + server_frame(0x89, {3}), Sender::server).data,
              (Buffer{1, 2}));
}

TEST(Header, lengths_are_in_their_shortest_form) {
    expect_invalid(from_hex("82fe0000"), Fault::length_not_shortest, 4);
    expect_invalid(from_hex("82fe007d"), Fault::length_not_shortest, 4);
    expect_invalid(from_hex("82ff0000000000000001"), Fault::length_not_shortest, 10);
    expect_invalid(from_hex("82ff000000000000ffff"), Fault::length_not_shortest, 10);
    expect_invalid(from_hex("82ff8000000000000000"), Fault::length_too_large, 10);
    for (const std::size_t size : {125U, 126U, 127U, 65'535U})
        EXPECT_EQ(read_in_pieces(client_frame(0x82, Buffer(size, 9)), {size + (size > 125 ? 8U : 6U)},
                                 Sender::client, no_cap)
                      .data,
                  Buffer(size, 9));
}

TEST(Header, a_message_above_the_cap_is_refused_before_it_comes) {
    EXPECT_EQ(read(client_frame(0x82, Buffer(10)), Sender::client, 10).fault, Fault::none);
    expect_invalid(client_frame(0x82, Buffer(11)), Fault::message_too_big, 2, Sender::client, 10);
    expect_invalid(
        client_frame(0x02, Buffer(6)) + client_frame(0x89, Buffer(20)) + client_frame(0x00, Buffer(5)),
        Fault::message_too_big, 12 + 26 + 2, Sender::client, 10);
    EXPECT_EQ(read(client_frame(0x82, Buffer(10)) + client_frame(0x82, Buffer(10)), Sender::client, 10).fault,
              Fault::none)
        << "each message has its own";
    expect_invalid(from_hex("82ff7fffffffffffffff"), Fault::message_too_big, 10, Sender::client, 10);
    // the sum of such lengths does not wrap
    const Buffer begun = client_frame(0x02, {1});
    expect_invalid(begun + from_hex("80ff7fffffffffffffff"), Fault::message_too_big, begun.size() + 10);
}

TEST(Controls, carry_up_to_125_bytes) {
    const Buffer longest(125, 'x');
    EXPECT_EQ(read(client_frame(0x89, longest)).controls.at(0).payload, longest);
    expect_invalid(client_frame(0x89, Buffer(126)), Fault::control_too_long, 2);
    expect_invalid(from_hex("8aff"), Fault::control_too_long, 2);
    expect_invalid(from_hex("88fe"), Fault::control_too_long, 2);
}

TEST(Close, is_the_last_thing_that_is_heard) {
    const Story story = read(client_frame(0x82, connect) + client_frame(0x88, number16(1000) + text("bye")) +
                             client_frame(0x82, {1, 2}) + Buffer{0xFF, 0xFF, 0xFF});
    EXPECT_EQ(story.data, connect);
    EXPECT_EQ(story.controls,
              (std::vector<Control>{{Event::Kind::close, text("bye"), 1000, connect.size()}}));
    EXPECT_TRUE(story.closed);
    EXPECT_EQ(story.fault, Fault::none);
    EXPECT_EQ(read(client_frame(0x88, {})).controls,
              (std::vector<Control>{{Event::Kind::close, {}, 1005, 0}}));
}

TEST(Close, codes_and_reasons_are_judged) {
    expect_invalid(client_frame(0x88, {3}), Fault::close_length, 2);
    for (unsigned code = 0; code < 0x10000; ++code) {
        const bool listed = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
        const bool right = listed || (code >= 3000 && code <= 4999);
        Unwrapper reader(Sender::client);
        Story story;
        feed(reader, client_frame(0x88, number16(code)), story);
        ASSERT_EQ(story.fault, right ? Fault::none : Fault::close_code) << code;
        ASSERT_EQ(story.closed, right) << code;
    }
    expect_invalid(client_frame(0x88, number16(1000) + Buffer{0xC3}), Fault::close_reason, 9);
    expect_invalid(client_frame(0x88, number16(1000) + Buffer{'a', 0xFF, 'b'}), Fault::close_reason, 11);
    EXPECT_EQ(read(client_frame(0x88, number16(1001) + Buffer{0xC3, 0xBC})).fault, Fault::none);
}

TEST(Faults, have_the_close_code_that_fits) {
    EXPECT_EQ(close_code(Fault::text), CloseCode::unsupported_data);
    EXPECT_EQ(close_code(Fault::message_too_big), CloseCode::message_too_big);
    EXPECT_EQ(close_code(Fault::close_reason), CloseCode::invalid_payload);
    EXPECT_EQ(close_code(Fault::not_masked), CloseCode::protocol_error);
    EXPECT_EQ(close_code(Fault::none), CloseCode::normal);
}

}  // namespace
}  // namespace limpet::websocket::test
