// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <malloc.h>

#include "session/connect_limits.h"

namespace limpet::session {
namespace {

using namespace std::chrono_literals;
using Clock = RateTable::Clock;

const Clock::time_point start = Clock::time_point{} + 1h;

TEST(rate_table, lets_pass_what_its_rate_says_and_as_many_at_once) {
    RateTable table;
    const Rate rate{10, 1s};
    int passed = 0;
    for (int i = 0; i < 50; ++i) passed += table.take(7, rate, 0s, start) == Passage::passed ? 1 : 0;
    EXPECT_EQ(passed, 10);
    EXPECT_EQ(table.take(8, rate, 0s, start), Passage::passed) << "another one has a bucket of its own";
    for (auto at = start; at < start + 10s; at += 10ms)
        passed += table.take(7, rate, 0s, at) == Passage::passed ? 1 : 0;
    EXPECT_NEAR(passed, 110, 1);
}

TEST(rate_table, holds_off_for_a_while_and_forgives_then) {
    RateTable table;
    const Rate rate{3, 60s};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(table.take(7, rate, 30s, start), Passage::passed);
    EXPECT_EQ(table.take(7, rate, 30s, start), Passage::over);
    EXPECT_EQ(table.take(7, rate, 30s, start + 20s), Passage::held) << "although there is one in the bucket";
    EXPECT_EQ(table.take(7, rate, 30s, start + 29s), Passage::held);
    EXPECT_EQ(table.take(7, rate, 30s, start + 30s), Passage::passed);
}

TEST(rate_table, costs_the_same_however_many_come) {
    RateTable table;
    static_cast<void>(table.take(1, {1, 1s}, 0s, start));
    const auto before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (std::uint64_t i = 0; i < 2'000'000; ++i)
        static_cast<void>(table.take(balancer::mix(i), {1, 1s}, 0s, start));
    EXPECT_LE(mallinfo2().uordblks + mallinfo2().hblkhd, before + 4096);
    EXPECT_LE(RateTable::capacity * 24, 2'000'000U);
}

TEST(rate_table, forgets_those_who_are_nearest_to_be_free) {
    RateTable table;
    const Rate slow{2, 600s};
    EXPECT_EQ(table.take(8, slow, 600s, start), Passage::passed);
    EXPECT_EQ(table.take(8, slow, 600s, start), Passage::passed);
    EXPECT_EQ(table.take(8, slow, 600s, start), Passage::over);
    const auto rows = RateTable::capacity / 8;
    for (std::uint64_t i = 1; i < 50; ++i)
        static_cast<void>(table.take(8 + i * rows, {100, 1s}, 0s, start + std::chrono::seconds(i)));
    EXPECT_EQ(table.take(8, slow, 600s, start + 60s), Passage::held) << "a flood of names frees nobody";
}

TEST(connect_limits, count_networks_of_ipv6_and_addresses_of_ipv4) {
    ConnectLimits limits;
    ConnectRates rates;
    rates.source = {1, 1s};
    const auto from = [&](const char* address) {
        return limits.admit_source(rates, *IpAddress::parse(address), start);
    };
    EXPECT_EQ(from("10.0.0.1"), LIMPET_REASON_NONE);
    EXPECT_EQ(from("10.0.0.1"), LIMPET_REASON_CLOSE_SOURCE_RATE);
    EXPECT_EQ(from("10.0.0.2"), LIMPET_REASON_NONE);
    EXPECT_EQ(from("2001:db8::1"), LIMPET_REASON_NONE);
    EXPECT_EQ(from("2001:db8::2"), LIMPET_REASON_CLOSE_SOURCE_RATE) << "one /64 has addresses without end";
    EXPECT_EQ(from("2001:db8:0:1::1"), LIMPET_REASON_NONE);
}

TEST(connect_limits, of_the_listener_are_for_all_together_and_not_used_up_by_those_who_are_refused) {
    ConnectLimits limits;
    ConnectRates rates;
    rates.all = {3, 1s};
    rates.source = {1, 1s};
    const auto from = [&](const char* address) {
        return limits.admit_source(rates, *IpAddress::parse(address), start);
    };
    EXPECT_EQ(from("10.0.0.1"), LIMPET_REASON_NONE);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(from("10.0.0.1"), LIMPET_REASON_CLOSE_SOURCE_RATE);
    EXPECT_EQ(from("10.0.0.2"), LIMPET_REASON_NONE);
    EXPECT_EQ(from("10.0.0.3"), LIMPET_REASON_NONE);
    EXPECT_EQ(from("10.0.0.4"), LIMPET_REASON_CLOSE_LISTENER_RATE);
}

TEST(connect_limits, without_rates_let_everybody_pass) {
    ConnectLimits limits;
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(limits.admit_source({}, {}, start), LIMPET_REASON_NONE);
        EXPECT_EQ(limits.admit_client({}, "same", start), Passage::passed);
    }
    ConnectRates rates;
    rates.client = {1, 1h};
    for (int i = 0; i < 10; ++i)
        EXPECT_EQ(limits.admit_client(rates, "", start), Passage::passed)
            << "clients without an id share none";
}

}  // namespace
}  // namespace limpet::session
