// SPDX-License-Identifier: Apache-2.0
// Which legs can be joined by constants, and the constants, against numbers computed by hand.
#include "handoff/leg_facts.h"

#include <gtest/gtest.h>

#include <functional>

namespace limpet::handoff {
namespace {

LegOptions usual() {
    return {.timestamps = true,
            .sack = true,
            .window_scale = true,
            .ecn = false,
            .peer_scale = 7,
            .own_scale = 7,
            .announced_segment = 1460,
            .peer_segment = 1460};
}

struct ParityRow {
    const char* sentence;
    std::function<void(LegOptions& client, LegOptions& broker)> change;
    Reason reason;
};

const ParityRow parity_rows[] = {
    {"legs that agreed on the same are joined", [](auto&, auto&) {}, LIMPET_REASON_NONE},
    {"no options on either leg are the same options",
     [](auto& client, auto& broker) {
         client.timestamps = client.sack = client.window_scale = false;
         broker.timestamps = broker.sack = broker.window_scale = false;
     },
     LIMPET_REASON_NONE},
    {"a client without timestamps would get segments with them",
     [](auto& client, auto&) { client.timestamps = false; }, LIMPET_REASON_RELAY_PARITY_TIMESTAMPS},
    {"a broker without timestamps would get segments with them",
     [](auto&, auto& broker) { broker.timestamps = false; }, LIMPET_REASON_RELAY_PARITY_TIMESTAMPS},
    {"a client that did not permit SACK would get blocks", [](auto& client, auto&) { client.sack = false; },
     LIMPET_REASON_RELAY_PARITY_SACK},
    {"a broker that did not permit SACK would get blocks", [](auto&, auto& broker) { broker.sack = false; },
     LIMPET_REASON_RELAY_PARITY_SACK},
    {"windows of a client that does not scale are capped at 64 KiB",
     [](auto& client, auto&) { client.window_scale = false; }, LIMPET_REASON_RELAY_PARITY_WINDOW_SCALE},
    {"windows of a broker that does not scale are capped at 64 KiB",
     [](auto&, auto& broker) { broker.window_scale = false; }, LIMPET_REASON_RELAY_PARITY_WINDOW_SCALE},
    {"different shifts are only arithmetic",
     [](auto& client, auto& broker) {
         client.peer_scale = 2;
         broker.own_scale = 10;
     },
     LIMPET_REASON_NONE},
    {"a client that was allowed more than the broker takes would send too large segments",
     [](auto&, auto& broker) { broker.peer_segment = 1400; }, LIMPET_REASON_RELAY_PARITY_MSS},
    {"a broker that was allowed more than the client takes would send too large segments",
     [](auto& client, auto&) { client.peer_segment = 536; }, LIMPET_REASON_RELAY_PARITY_MSS},
    {"an end may be allowed less than the other takes",
     [](auto& client, auto& broker) {
         client.announced_segment = 1200;
         broker.announced_segment = 1300;
     },
     LIMPET_REASON_NONE},
    {"one byte too much is too much",
     [](auto& client, auto& broker) {
         broker.peer_segment = 1000;
         client.announced_segment = 1001;
     },
     LIMPET_REASON_RELAY_PARITY_MSS},
    {"ECN on one leg is cleared, not refused", [](auto& client, auto&) { client.ecn = true; },
     LIMPET_REASON_NONE},
};

TEST(Parity, joins_only_what_constants_can_translate) {
    for (const auto& row : parity_rows) {
        auto client = usual();
        auto broker = usual();
        row.change(client, broker);
        EXPECT_EQ(check_parity(client, broker), row.reason) << row.sentence;
    }
}

/// The numbers of a packet, and how a direction moves them.
struct Numbers {
    std::uint32_t sequence = 0;
    std::uint32_t acknowledgement = 0;
    std::uint32_t tsval = 0;
    std::uint32_t tsecr = 0;
};

Numbers translated(const Numbers& packet, const Direction& direction) {
    return {packet.sequence + direction.sequence_delta,
            packet.acknowledgement + direction.acknowledgement_delta, packet.tsval + direction.tsval_delta,
            packet.tsecr + direction.tsecr_delta};
}

const LegPosition client_position{
    .send_next = 5000, .receive_next = 1000, .clock = 700'000, .peer_tsval = 40'000};
const LegPosition broker_position{
    .send_next = 90'000, .receive_next = 30'000, .clock = 650'000, .peer_tsval = 2'000'000};

TEST(Translation, has_the_constants_of_the_specification) {
    const auto translation = translation_between(usual(), client_position, usual(), broker_position);
    EXPECT_EQ(translation.from_client.sequence_delta, 89'000U) << "B.snd - C.rcv";
    EXPECT_EQ(translation.from_client.acknowledgement_delta, 25'000U) << "B.rcv - C.snd";
    EXPECT_EQ(translation.from_broker.sequence_delta, 0U - 25'000U) << "C.snd - B.rcv";
    EXPECT_EQ(translation.from_broker.acknowledgement_delta, 0U - 89'000U) << "C.rcv - B.snd";
    EXPECT_EQ(translation.from_client.tsval_delta, 650'000U - 40'000U + 2) << "rounded upwards";
    EXPECT_EQ(translation.from_broker.tsval_delta, 700'000U - 2'000'000U + 2);
    EXPECT_EQ(translation.from_client.window_shift, 0);
    EXPECT_EQ(translation.from_broker.window_shift, 0);
    EXPECT_TRUE(translation.timestamps);
    EXPECT_FALSE(translation.clear_ecn);
}

TEST(Translation, continues_each_leg_exactly_where_its_socket_stopped) {
    const auto translation = translation_between(usual(), client_position, usual(), broker_position);
    const auto to_broker = translated({.sequence = client_position.receive_next,
                                       .acknowledgement = client_position.send_next,
                                       .tsval = 0,
                                       .tsecr = 0},
                                      translation.from_client);
    EXPECT_EQ(to_broker.sequence, broker_position.send_next) << "the client's next byte is our next byte";
    EXPECT_EQ(to_broker.acknowledgement, broker_position.receive_next)
        << "what the client has of us is what we had of the broker";
    const auto to_client = translated({.sequence = broker_position.receive_next,
                                       .acknowledgement = broker_position.send_next,
                                       .tsval = 0,
                                       .tsecr = 0},
                                      translation.from_broker);
    EXPECT_EQ(to_client.sequence, client_position.send_next);
    EXPECT_EQ(to_client.acknowledgement, client_position.receive_next);
}

TEST(Translation, wraps_as_sequence_numbers_do) {
    LegPosition client{.send_next = 3, .receive_next = 0xfffffff0, .clock = 5, .peer_tsval = 0xfffffff8};
    LegPosition broker{.send_next = 8, .receive_next = 0xfffffffe, .clock = 0xffffffff, .peer_tsval = 1};
    const auto translation = translation_between(usual(), client, usual(), broker);
    EXPECT_EQ(translation.from_client.sequence_delta, 24U);
    EXPECT_EQ(translation.from_client.acknowledgement_delta, 0xfffffffbU);
    EXPECT_EQ(translation.from_client.tsval_delta, 9U) << "0xffffffff + 2 - 0xfffffff8";
    EXPECT_EQ(translation.from_broker.tsval_delta, 6U) << "5 + 2 - 1";
    EXPECT_EQ(0xfffffff0U + translation.from_client.sequence_delta, 8U);
}

TEST(Translation, an_echo_comes_home_as_it_was_sent) {
    const auto translation = translation_between(usual(), client_position, usual(), broker_position);
    for (const std::uint32_t tsval : {0U, 40'000U, 0x7fffffffU, 0xfffffffeU}) {
        const auto there = translated({.sequence = 0, .acknowledgement = 0, .tsval = tsval, .tsecr = 0},
                                      translation.from_client);
        const auto home = translated({.sequence = 0, .acknowledgement = 0, .tsval = 0, .tsecr = there.tsval},
                                     translation.from_broker);
        EXPECT_EQ(home.tsecr, tsval) << "the client measures its round trip by its own clock (RFC 7323 4)";
        const auto back = translated({.sequence = 0, .acknowledgement = 0, .tsval = tsval, .tsecr = 0},
                                     translation.from_broker);
        const auto answered = translated(
            {.sequence = 0, .acknowledgement = 0, .tsval = 0, .tsecr = back.tsval}, translation.from_client);
        EXPECT_EQ(answered.tsecr, tsval) << "and so does the broker";
    }
}

TEST(Translation, an_acknowledgement_of_a_translated_byte_means_that_byte) {
    const auto translation = translation_between(usual(), client_position, usual(), broker_position);
    for (const std::uint32_t sequence : {1000U, 0xffffffffU, 0x80000000U}) {
        const auto there = translated({.sequence = sequence, .acknowledgement = 0, .tsval = 0, .tsecr = 0},
                                      translation.from_client);
        const auto home =
            translated({.sequence = 0, .acknowledgement = there.sequence + 1, .tsval = 0, .tsecr = 0},
                       translation.from_broker);
        EXPECT_EQ(home.acknowledgement, sequence + 1);
    }
}

TEST(Translation, time_does_not_run_backwards_at_the_handoff) {
    const auto translation = translation_between(usual(), client_position, usual(), broker_position);
    const auto next = client_position.peer_tsval + translation.from_client.tsval_delta;
    // The low bit of TCP_TIMESTAMP is a flag on newer kernels: the socket may have sent clock | 1.
    EXPECT_GT(static_cast<std::int32_t>(next - (broker_position.clock | 1U)), 0)
        << "PAWS drops what looks older than what was seen (RFC 7323 5.3)";
    EXPECT_LE(next - broker_position.clock, 2U) << "rounding is no jump";
}

struct WindowRow {
    const char* sentence;
    std::uint8_t client_peer, client_own, broker_peer, broker_own;
    int from_client, from_broker;
};

TEST(Translation, windows_are_read_in_the_scale_that_the_receiver_was_told) {
    const WindowRow rows[] = {
        {"equal scales need nothing", 7, 7, 7, 7, 0, 0},
        {"a client that scales by 2 to a broker that was told 7", 2, 7, 7, 7, -5, 0},
        {"a client that scales by 9 to a broker that was told 7", 9, 7, 7, 7, 2, 0},
        {"a broker that scales by 10 to a client that was told 4", 7, 4, 10, 7, 0, 6},
        {"the widest difference", 14, 14, 0, 0, 14, -14},
    };
    for (const auto& row : rows) {
        auto client = usual();
        auto broker = usual();
        client.peer_scale = row.client_peer;
        client.own_scale = row.client_own;
        broker.peer_scale = row.broker_peer;
        broker.own_scale = row.broker_own;
        const auto translation = translation_between(client, client_position, broker, broker_position);
        EXPECT_EQ(translation.from_client.window_shift, row.from_client) << row.sentence;
        EXPECT_EQ(translation.from_broker.window_shift, row.from_broker) << row.sentence;
    }
}

TEST(Translation, clears_ecn_only_where_one_leg_has_it) {
    for (const auto& [client_ecn, broker_ecn, clear] :
         {std::tuple{false, false, false}, {true, false, true}, {false, true, true}, {true, true, false}}) {
        auto client = usual();
        auto broker = usual();
        client.ecn = client_ecn;
        broker.ecn = broker_ecn;
        EXPECT_EQ(translation_between(client, client_position, broker, broker_position).clear_ecn, clear);
    }
}

TEST(Translation, leaves_timestamps_alone_where_no_leg_uses_them) {
    auto client = usual();
    auto broker = usual();
    client.timestamps = broker.timestamps = false;
    EXPECT_FALSE(translation_between(client, client_position, broker, broker_position).timestamps);
}

}  // namespace
}  // namespace limpet::handoff
