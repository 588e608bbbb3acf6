// SPDX-License-Identifier: Apache-2.0
// A reader that goes away in the middle of a stream, and another that goes on from there.
#include "frames.h"

namespace limpet::websocket::test {
namespace {

struct Halves {
    Buffer payload;        ///< what both readers got
    bool crossed = false;  ///< there was a seam at this place
};

/// The first reader takes `cut` bytes, the second a seam and the rest.
Halves cross(Bytes stream, std::size_t cut, Sender sender) {
    Halves halves;
    Unwrapper first(sender, no_cap);
    Story before;
    feed(first, stream.first(cut), before);
    halves.payload = before.data;
    const auto seam = first.seam();
    if (!seam) return halves;
    halves.crossed = true;
    const Bytes header = seam->view();
    Buffer rest(header.begin(), header.end());
    const Bytes behind = stream.subspan(cut);
    rest.insert(rest.end(), behind.begin(), behind.end());
    Unwrapper second(sender, no_cap);
    Story after;
    feed(second, rest, after);
    EXPECT_EQ(second.fault(), Fault::none) << fault_sentence(second.fault()) << ", cut at " << cut;
    EXPECT_TRUE(second.between_messages()) << cut;
    halves.payload = halves.payload + after.data;
    return halves;
}

void expect_seams(const Buffer& stream, Sender sender, const Buffer& payload, std::size_t least) {
    std::size_t crossed = 0;
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        const auto halves = cross(stream, cut, sender);
        if (!halves.crossed) continue;
        ++crossed;
        EXPECT_EQ(halves.payload, payload) << "not a byte is lost or changed, cut at " << cut;
    }
    EXPECT_GE(crossed, least) << "there is a seam everywhere but in headers and control frames";
}

TEST(seam, of_a_clients_stream_lies_between_any_two_bytes_of_payload) {
    const Buffer payload = text("abcdefghijklmnopqrstuvwxyz");
    const Buffer stream = client_frame(0x02, text("abcde")) + client_frame(0x89, text("ping")) +
                          client_frame(0x00, text("fghij")) + client_frame(0x80, text("klm")) +
                          client_frame(0x82, text("nopqrstuvwxyz"));
    expect_seams(stream, Sender::client, payload, 26);
}

TEST(seam, of_a_servers_stream_has_no_mask) {
    const Buffer stream = server_frame(0x02, text("abc")) + server_frame(0x80, text("def")) +
                          server_frame(0x8a, {}) + server_frame(0x82, text("ghi"));
    expect_seams(stream, Sender::server, text("abcdefghi"), 9);
}

TEST(seam, in_a_long_frame_has_a_long_header) {
    const Buffer payload(70'000, 0x5a);
    const FrameHeader header = frame_header(Opcode::binary, payload.size(), key);
    const Bytes view = header.view();
    const Buffer stream = Buffer(view.begin(), view.end()) + masked(payload);
    for (const std::size_t cut : {15u, 17u, 4'000u, 70'000u}) {
        const auto halves = cross(stream, cut, Sender::client);
        EXPECT_TRUE(halves.crossed);
        EXPECT_EQ(halves.payload, payload);
    }
}

TEST(seam, is_nowhere_once_the_stream_is_over_or_wrong) {
    Unwrapper closed(Sender::server, no_cap);
    Story story;
    feed(closed, server_frame(0x88, {}), story);
    EXPECT_FALSE(closed.seam());
    Unwrapper wrong(Sender::server, no_cap);
    feed(wrong, server_frame(0x81, text("text")), story);
    EXPECT_FALSE(wrong.seam());
}

}  // namespace
}  // namespace limpet::websocket::test
