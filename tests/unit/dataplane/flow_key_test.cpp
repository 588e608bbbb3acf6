// SPDX-License-Identifier: Apache-2.0
// Keys and entries as the maps have them, against bytes written by hand.
#include "dataplane/flow_key.h"

#include <gtest/gtest.h>

#include <cstring>
#include <unordered_set>

namespace limpet::dataplane {
namespace {

const Endpoint client4 = Endpoint::parse("10.91.0.2:40001").value();
const Endpoint listener4 = Endpoint::parse("10.91.0.1:1883").value();
const Endpoint client6 = Endpoint::parse("[2001:db8::2]:40001").value();
const Endpoint listener6 = Endpoint::parse("[2001:db8::1]:1883").value();

TEST(FlowKey, lies_in_the_map_as_the_packet_has_it) {
    const auto key = FlowKey::make(client4, listener4);
    const std::array<std::uint8_t, 12> wanted{10, 91, 0, 2, 10, 91, 0, 1, 0x9c, 0x41, 0x07, 0x5b};
    EXPECT_EQ(key.family, 4);
    EXPECT_EQ(std::memcmp(key.bytes.data(), wanted.data(), wanted.size()), 0);
    for (std::size_t at = 12; at < key.bytes.size(); ++at)
        EXPECT_EQ(key.bytes[at], 0) << "the rest is zero, so that keys compare as bytes";
    const auto six = FlowKey::make(client6, listener6);
    EXPECT_EQ(six.family, 6);
    EXPECT_EQ(std::memcmp(six.bytes.data(), client6.address.bytes.data(), 16), 0);
    EXPECT_EQ(std::memcmp(six.bytes.data() + 16, listener6.address.bytes.data(), 16), 0);
    EXPECT_EQ(std::memcmp(six.bytes.data() + 32, wanted.data() + 8, 4), 0);
}

TEST(FlowKey, gives_back_the_endpoints_it_was_made_of) {
    for (const auto& [from, to] : {std::pair{client4, listener4}, {client6, listener6}}) {
        const auto key = FlowKey::make(from, to);
        EXPECT_EQ(key.source(), from);
        EXPECT_EQ(key.destination(), to);
        EXPECT_EQ(FlowKey::make(key.source(), key.destination()), key);
    }
}

TEST(FlowKey, differs_by_every_part_and_by_direction) {
    std::unordered_set<FlowKey> keys;
    keys.insert(FlowKey::make(client4, listener4));
    keys.insert(FlowKey::make(listener4, client4));
    keys.insert(FlowKey::make(client6, listener6));
    auto other = client4;
    other.port++;
    keys.insert(FlowKey::make(other, listener4));
    other = client4;
    other.address.bytes[3]++;
    keys.insert(FlowKey::make(other, listener4));
    EXPECT_EQ(keys.size(), 5U);
    EXPECT_TRUE(keys.contains(FlowKey::make(client4, listener4)));
}

TEST(FlowKey, spreads_neighbouring_ports_over_the_hash) {
    std::unordered_set<std::size_t> low_bits;
    auto from = client4;
    for (from.port = 40'000; from.port < 41'024; ++from.port)
        low_bits.insert(std::hash<FlowKey>{}(FlowKey::make(from, listener4)) & 1023);
    EXPECT_GT(low_bits.size(), 512U) << "1,024 random balls fill about 647 of 1,024 bins";
}

TEST(FlowEntry, reads_what_the_map_holds_of_either_family) {
    limpet_flow4 four{};
    four.flow.state = LIMPET_STATE_CLOSING;
    four.flow.flags = LIMPET_FLOW_CLIENT_LEG;
    four.flow.bytes = 77;
    std::memcpy(&four.source, listener4.address.bytes.data(), 4);
    std::memcpy(&four.destination, client4.address.bytes.data(), 4);
    four.source_port = __builtin_bswap16(1883);
    four.destination_port = __builtin_bswap16(40'001);
    std::memcpy(four.id_part, "abc", 3);
    const auto entry = FlowEntry::from(four);
    EXPECT_EQ(entry.source, listener4);
    EXPECT_EQ(entry.destination, client4);
    EXPECT_EQ(entry.flow.bytes, 77U);
    EXPECT_TRUE(entry.is_client_leg());
    EXPECT_TRUE(entry.is_spliced()) << "a closing flow is still the data path's";
    EXPECT_EQ(entry.peer_key(), FlowKey::make(client4, listener4)) << "who receives it answers from there";
    EXPECT_EQ(std::memcmp(entry.id_part.data(), "abc\0", 4), 0);

    limpet_flow6 six{};
    six.flow.state = LIMPET_STATE_HOLD;
    std::memcpy(six.source, listener6.address.bytes.data(), 16);
    std::memcpy(six.destination, client6.address.bytes.data(), 16);
    six.destination_port = __builtin_bswap16(40'001);
    const auto entry6 = FlowEntry::from(six);
    EXPECT_EQ(entry6.family, 6);
    EXPECT_EQ(entry6.destination, client6);
    EXPECT_FALSE(entry6.is_client_leg());
    EXPECT_FALSE(entry6.is_spliced());
}

TEST(TickClock, does_not_run_backwards_and_counts_about_sixty_a_second) {
    const auto before = tick_now();
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const auto seconds = static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
    const auto after = tick_now();
    EXPECT_LE(before, after);
    EXPECT_NEAR(seconds * 1e9 / static_cast<double>(nanoseconds_per_tick), after, 3)
        << "the data path and the daemon read one clock";
    EXPECT_NEAR(1e9 / static_cast<double>(nanoseconds_per_tick), LIMPET_TICKS_PER_SECOND, 1);
}

}  // namespace
}  // namespace limpet::dataplane
