// SPDX-License-Identifier: Apache-2.0
#include "tls/ticket_keys.h"

#include <gtest/gtest.h>

namespace limpet::tls::test {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

TEST(ticket_key, is_used_for_half_a_lifetime_and_then_replaced) {
    TicketKeys keys(minutes{60});
    const TicketKeys::Clock::time_point start{};
    const auto first = keys.current(start);
    ASSERT_TRUE(first);
    EXPECT_EQ(keys.current(start + minutes{29})->name, first->name);
    const auto second = keys.current(start + minutes{30});
    EXPECT_NE(second->name, first->name);
    EXPECT_NE(second->encryption, first->encryption);
    EXPECT_NE(second->mac, first->mac);
}

TEST(ticket, finds_its_key_for_its_whole_lifetime_and_not_longer) {
    TicketKeys keys(minutes{60});
    const TicketKeys::Clock::time_point start{};
    const auto first = keys.current(start);
    const auto fresh = keys.find(first->name, start + minutes{29});
    ASSERT_TRUE(fresh);
    EXPECT_TRUE(fresh->newest);
    static_cast<void>(keys.current(start + minutes{31}));
    // A ticket of minute 30 is good up to minute 90.
    const auto aged = keys.find(first->name, start + minutes{90} - seconds{1});
    ASSERT_TRUE(aged);
    EXPECT_EQ(aged->key.encryption, first->encryption);
    EXPECT_FALSE(aged->newest) << "its bearer gets a ticket under the newer key";
    EXPECT_FALSE(keys.find(first->name, start + minutes{90}));
}

TEST(unknown_ticket, finds_nothing) {
    TicketKeys keys(minutes{60});
    const TicketKeys::Clock::time_point start{};
    static_cast<void>(keys.current(start));
    const std::array<std::uint8_t, 16> forged{};
    EXPECT_FALSE(keys.find(forged, start));
    EXPECT_FALSE(keys.find({}, start));
}

}  // namespace
}  // namespace limpet::tls::test
