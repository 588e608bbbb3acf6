// SPDX-License-Identifier: Apache-2.0
#include "handoff/syn_answer.h"

#include <gtest/gtest.h>

#include <vector>

#include "handoff/leg_facts.h"

namespace limpet::handoff {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// A TCP header with these flags and options, from port 1883 to 20000, which acknowledges 0x01020304.
Bytes segment(std::uint8_t flags, const Bytes& options) {
    Bytes bytes{0x07, 0x5b, 0x4e, 0x20, 0, 0, 0, 9, 1, 2, 3, 4, 0, flags, 0xff, 0xff, 0, 0, 0, 0};
    for (const auto byte : options) bytes.push_back(byte);
    while (bytes.size() % 4 != 0) bytes.push_back(0);
    bytes[12] = static_cast<std::uint8_t>(bytes.size() / 4 << 4);
    return bytes;
}

TEST(SynAnswer, says_what_the_other_end_agrees_to) {
    const auto answer =
        read_syn_answer(segment(0x12, {2, 4, 0x05, 0xa0, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7}));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->source_port, 1883);
    EXPECT_EQ(answer->destination_port, 20000);
    EXPECT_EQ(answer->acknowledgement, 0x01020304U);
    EXPECT_EQ(answer->offer, (dataplane::Offer{0, 1440}));
}

TEST(SynAnswer, what_is_not_there_is_missing) {
    EXPECT_EQ(read_syn_answer(segment(0x12, {}))->offer, (dataplane::Offer{all_options, 536}))
        << "RFC 9293 3.7.1";
    EXPECT_EQ(read_syn_answer(segment(0x52, {2, 4, 2, 24, 4, 2}))->offer.missing,
              LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_WINDOW_SCALE)
        << "with ECN";
    EXPECT_EQ(read_syn_answer(segment(0x12, {1, 1, 3, 3, 0}))->offer.missing,
              LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_SACK);
}

TEST(SynAnswer, options_behind_a_malformed_one_are_not_read) {
    for (const auto& broken : {Bytes{9, 0}, Bytes{9, 1}, Bytes{9, 40}, Bytes{9}, Bytes{0}}) {
        auto options = broken;
        for (const std::uint8_t byte : Bytes{4, 2, 3, 3, 7}) options.push_back(byte);
        EXPECT_EQ(read_syn_answer(segment(0x12, options))->offer.missing, all_options);
    }
    EXPECT_EQ(read_syn_answer(segment(0x12, {2, 3, 1, 4, 2}))->offer,
              (dataplane::Offer{LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_WINDOW_SCALE, 536}))
        << "an MSS of the wrong length is none";
}

TEST(SynAnswer, nothing_else_is_one) {
    EXPECT_FALSE(read_syn_answer(segment(0x02, {}))) << "a SYN";
    EXPECT_FALSE(read_syn_answer(segment(0x10, {}))) << "an ACK";
    EXPECT_FALSE(read_syn_answer(segment(0x14, {}))) << "a refusal";
    EXPECT_FALSE(read_syn_answer(segment(0x16, {})));
    const auto whole = segment(0x12, {2, 4, 5, 0xb4});
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_FALSE(read_syn_answer(std::span(whole).first(size))) << size << " bytes";
    auto lying = whole;
    lying[12] = 4 << 4;
    EXPECT_FALSE(read_syn_answer(lying)) << "a header of 16 bytes";
}

/// An IPv4 or IPv6 header in front of a segment.
Bytes packet(int family, std::uint8_t protocol, const Bytes& behind, std::size_t ip_options = 0) {
    Bytes bytes(family == 4 ? 20 + ip_options : 40);
    bytes[0] = family == 4 ? static_cast<std::uint8_t>(0x45 + ip_options / 4) : 0x60;
    bytes[family == 4 ? 9 : 6] = protocol;
    bytes.insert(bytes.end(), behind.begin(), behind.end());
    return bytes;
}

TEST(SynSegment, is_what_the_clients_syn_announces) {
    const auto syn = segment(0x02, {2, 4, 0x05, 0xb4, 1, 3, 3, 7});
    EXPECT_EQ(read_syn_segment(packet(4, 6, syn)), 1460U);
    EXPECT_EQ(read_syn_segment(packet(6, 6, syn)), 1460U);
    EXPECT_EQ(read_syn_segment(packet(4, 6, syn, 8)), 1460U) << "behind IP options";
    EXPECT_EQ(read_syn_segment(packet(4, 6, segment(0x02, {}))), 536U) << "RFC 9293 3.7.1";
    EXPECT_EQ(read_syn_segment(packet(4, 6, segment(0xc2, {2, 4, 2, 24}))), 536U) << "with ECN";
}

TEST(SynSegment, of_anything_else_there_is_none) {
    const auto syn = segment(0x02, {2, 4, 0x05, 0xb4});
    EXPECT_FALSE(read_syn_segment({}));
    EXPECT_FALSE(read_syn_segment(packet(4, 17, syn)));
    EXPECT_FALSE(read_syn_segment(packet(6, 60, syn))) << "behind an extension header";
    EXPECT_FALSE(read_syn_segment(packet(4, 6, segment(0x12, {})))) << "a SYN-ACK";
    const auto whole = packet(6, 6, syn);
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_FALSE(read_syn_segment(std::span(whole).first(size))) << size << " bytes of it";
}

}  // namespace
}  // namespace limpet::handoff
