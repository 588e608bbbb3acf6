// SPDX-License-Identifier: Apache-2.0
// The packet builder, against literals: what the other tests stand on.
#include "packet.h"

#include <gtest/gtest.h>

namespace limpet::packet {
namespace {

TEST(PacketBuilder, sums_as_the_example_of_rfc_1071) {
    EXPECT_EQ(folded_sum(Bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}), 0xddf2) << "RFC 1071 3";
    EXPECT_EQ(folded_sum(Bytes{0xff, 0xff, 0x00, 0x01}), 0x0001) << "a carry comes back in";
    EXPECT_EQ(folded_sum(Bytes{0x12}), 0x1200) << "an odd byte is the high one";
}

TEST(PacketBuilder, writes_the_ip_header_of_a_known_packet) {
    Packet packet;
    packet.source = at("192.168.0.1:1");
    packet.destination = at("192.168.0.199:1");
    const auto frame = packet.build();
    // 4500 0028 1234 4000 4006 + c0a8 0001 c0a8 00c7, summed by hand: 0x18986 -> 0x5880, less the carries
    EXPECT_EQ(frame.size(), 54U);
    EXPECT_EQ(get16(frame, 12), 0x0800U);
    EXPECT_EQ(frame[14], 0x45);
    EXPECT_EQ(get16(frame, 16), 40U);
    std::uint32_t sum = 0x4500 + 0x0028 + 0x1234 + 0x4000 + 0x4006 + 0xc0a8 + 0x0001 + 0xc0a8 + 0x00c7;
    sum = (sum & 0xffff) + (sum >> 16);
    EXPECT_EQ(get16(frame, 24), 0xffffU - sum);
}

/// A SYN as tcpdump shows it from a Linux client, with its checksum worked out by hand below.
TEST(PacketBuilder, writes_the_tcp_checksum_of_a_known_segment) {
    Packet packet;
    packet.source = at("10.0.0.1:4096");
    packet.destination = at("10.0.0.2:80");
    packet.sequence = 0x00010000;
    packet.acknowledgement = 0;
    packet.flags = syn;
    packet.window = 0x2000;
    const auto frame = packet.build();
    // pseudo: 0a00 0001 0a00 0002 0006 0014 -> 141d; header: 1000 0050 0001 0000 0000 0000 5002 2000 -> 8053
    EXPECT_EQ(get16(frame, 14 + 20 + 16), 0xffffU - (0x141dU + 0x8053U));
    packet.checksum = Checksum::partial;
    EXPECT_EQ(get16(packet.build(), 14 + 20 + 16), 0x141dU) << "only the pseudo header, not inverted";
    EXPECT_FALSE(checksums_right(packet.build()));
}

TEST(PacketBuilder, writes_what_checksums_right_reads) {
    for (const auto* address : {"10.0.0.1:1", "[2001:db8::1]:1"})
        for (const std::size_t payload : {0U, 1U, 2U, 1459U, 1460U}) {
            Packet packet;
            packet.source = packet.destination = at(address);
            packet.options = join({option::nop(2), option::timestamps(0xffffffff, 1)});
            packet.payload = Bytes(payload, 0xff);
            auto frame = packet.build();
            EXPECT_TRUE(checksums_right(frame));
            packet.padding = 6;
            EXPECT_TRUE(checksums_right(packet.build())) << "padding is not summed";
            for (std::size_t i = 14; i < frame.size(); ++i) {
                if (packet.family() == 6 && i < 22) continue;  // IPv6 sums neither hop limit nor flow label
                if (packet.family() == 4 && (i == 14 || i == 16 || i == 17)) continue;  // lengths
                frame[i] ^= 0x40;
                EXPECT_FALSE(checksums_right(frame)) << "a flipped bit in byte " << i;
                frame[i] ^= 0x40;
            }
            packet.checksum = Checksum::wrong;
            packet.padding = 0;
            EXPECT_FALSE(checksums_right(packet.build()));
        }
}

TEST(PacketBuilder, lays_out_options_as_asked) {
    Packet packet;
    packet.options = join({option::nop(2), option::timestamps(0x01020304, 0x05060708), option::nop(2),
                           option::sack({{0x11121314, 0x15161718}})});
    const auto frame = packet.build();
    const Bytes wanted{1, 1, 8, 10, 1,    2,    3,    4,    5,    6,    7,    8,
                       1, 1, 5, 10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18};
    EXPECT_EQ(Bytes(frame.begin() + 54, frame.end()), wanted);
    EXPECT_EQ(frame[46], (5 + 6) << 4);
    packet.options = option::segment_size(1460);
    put(packet.options, option::window_scale(7));
    put(packet.options, option::sack_permitted());
    const auto padded = packet.build();
    EXPECT_EQ(Bytes(padded.begin() + 54, padded.end()), (Bytes{2, 4, 5, 0xb4, 3, 3, 7, 4, 2, 0, 0, 0}));
}

TEST(PacketBuilder, writes_tags_fragments_and_headers_between) {
    Packet packet;
    packet.vlan = 0x0064;
    auto frame = packet.build();
    EXPECT_EQ(get32(frame, 12), 0x81000064U);
    EXPECT_EQ(get16(frame, 16), 0x0800U);
    packet = {};
    packet.fragment = 0x2003;
    packet.ip_options = Bytes{1, 1, 1, 0};
    frame = packet.build();
    EXPECT_EQ(frame[14], 0x46);
    EXPECT_EQ(get16(frame, 20), 0x2003U);
    EXPECT_EQ(get32(frame, 34), 0x01010100U);
    packet = {};
    packet.source = at("[2001:db8::1]:7");
    packet.destination = at("[2001:db8::2]:8");
    packet.fragment6 = 1;
    packet.traffic_class = 0xab;
    frame = packet.build();
    EXPECT_EQ(get32(frame, 14), 0x6ab12345U);
    EXPECT_EQ(get16(frame, 18), 28U);
    EXPECT_EQ(frame[20], 44);
    EXPECT_EQ(get32(frame, 54), 0x06000001U);
    EXPECT_EQ(get16(frame, 62), 7U);
}

TEST(PacketBuilder, contradicts_itself_only_where_asked) {
    Packet packet;
    packet.ip_length = 99;
    packet.tcp_words = 15;
    packet.padding = 6;
    const auto frame = packet.build();
    EXPECT_EQ(frame.size(), 60U);
    EXPECT_EQ(get16(frame, 16), 99U);
    EXPECT_EQ(frame[46] >> 4, 15);
}

}  // namespace
}  // namespace limpet::packet
