// SPDX-License-Identifier: Apache-2.0
#include "balancer/stick_table.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <functional>
#include <map>
#include <random>

#include "balancer/siphash.h"

namespace limpet::balancer {
namespace {

using std::chrono::seconds;

const Clock::time_point start = Clock::time_point{} + std::chrono::hours(24);

/// The same memory without any cleverness.
struct Model {
    struct Stick {
        BrokerId broker = 0;
        unsigned connections = 0;
        Clock::time_point since;
        Clock::time_point expiry;
    };
    std::map<std::uint64_t, Stick> sticks;
    std::size_t capacity;

    bool connect(std::uint64_t key, BrokerId broker) {
        if (!sticks.contains(key) && sticks.size() >= capacity) {
            auto oldest = sticks.end();
            for (auto at = sticks.begin(); at != sticks.end(); ++at)
                if (at->second.connections == 0 &&
                    (oldest == sticks.end() || at->second.since < oldest->second.since))
                    oldest = at;
            if (oldest == sticks.end()) return false;
            sticks.erase(oldest);
        }
        ++sticks[key].connections;
        sticks[key].broker = broker;
        return true;
    }
    void disconnect(std::uint64_t key, seconds lifetime, Clock::time_point now) {
        const auto at = sticks.find(key);
        if (at == sticks.end() || at->second.connections == 0 || --at->second.connections > 0) return;
        at->second.since = now;
        at->second.expiry = now + lifetime;
        if (lifetime == seconds(0)) sticks.erase(at);
    }
    void expire(Clock::time_point now) {
        std::erase_if(sticks, [&](const auto& item) {
            return item.second.connections == 0 && item.second.expiry <= now;
        });
    }
};

void expect_equal(const StickTable& table, const Model& model, std::uint64_t keys, unsigned step,
                  const std::function<std::uint64_t(std::uint64_t)>& key_of) {
    ASSERT_EQ(table.size(), model.sticks.size()) << "step " << step;
    std::map<BrokerId, std::uint32_t> counts;
    for (std::uint64_t i = 1; i <= keys; ++i) {
        const auto key = key_of(i);
        const auto found = table.find(key);
        const auto expected = model.sticks.find(key);
        ASSERT_EQ(found.has_value(), expected != model.sticks.end()) << "key " << i << " step " << step;
        if (!found) continue;
        ASSERT_EQ(found->broker, expected->second.broker);
        ASSERT_EQ(found->connected, expected->second.connections > 0);
        ++counts[found->broker];
    }
    for (const auto& [broker, count] : counts) ASSERT_EQ(table.count(broker), count);
}

void compare_with_model(std::size_t capacity, std::uint64_t keys, unsigned lifetimes,
                        const std::function<std::uint64_t(std::uint64_t)>& key_of) {
    StickTable table(capacity, std::chrono::hours(1));
    Model model{{}, capacity};
    std::mt19937_64 random(capacity + keys);
    auto now = start;
    for (unsigned step = 0; step < 40'000; ++step) {
        now += std::chrono::milliseconds(1 + random() % 500);  // distinct, so that the oldest is one
        const auto key = key_of(1 + random() % keys);
        const auto broker = static_cast<BrokerId>(random() % 5);
        switch (random() % 5) {
            case 0:
            case 1:
                ASSERT_EQ(table.connect(key, broker), model.connect(key, broker)) << "step " << step;
                break;
            case 2:
            case 3: {
                const seconds lifetime(random() % lifetimes);
                table.disconnect(key, lifetime, now);
                model.disconnect(key, lifetime, now);
                break;
            }
            default:
                table.expire(now, SIZE_MAX);
                model.expire(now);
        }
        if (step % 997 != 0) continue;
        ASSERT_NO_FATAL_FAILURE(expect_equal(table, model, keys, step, key_of));
    }
    ASSERT_NO_FATAL_FAILURE(expect_equal(table, model, keys, 40'000, key_of));
}

TEST(StickTable, behaves_like_the_obvious_one) {
    compare_with_model(10'000, 3000, 180, mix);
    compare_with_model(500, 3000, 180, mix);  // always full
    compare_with_model(3, 20, 10, mix);
}

TEST(StickTable, survives_keys_that_all_meet_in_one_slot) {
    const auto colliding = [](std::uint64_t number) { return number << 32; };  // same part, same home
    compare_with_model(10'000, 300, 50, colliding);
    const auto neighbours = [](std::uint64_t number) { return number; };
    compare_with_model(200, 300, 50, neighbours);
}

TEST(StickTable, refuses_what_it_cannot_hold_rather_than_forget_the_connected) {
    StickTable table(2, std::chrono::hours(1));
    EXPECT_TRUE(table.connect(mix(1), 1));
    EXPECT_TRUE(table.connect(mix(2), 2));
    EXPECT_FALSE(table.connect(mix(3), 3));
    EXPECT_TRUE(table.connect(mix(1), 1)) << "one that it knows is no new one";
    table.disconnect(mix(2), seconds(60), start);
    EXPECT_TRUE(table.connect(mix(3), 3));
    EXPECT_FALSE(table.find(mix(2)));
}

TEST(StickTable, forgets_within_a_budget_and_in_order) {
    StickTable table(1000, std::chrono::hours(1));
    for (std::uint64_t i = 1; i <= 100; ++i) {
        table.connect(mix(i), 0);
        table.disconnect(mix(i), seconds(10), start + seconds(i));
    }
    EXPECT_EQ(table.expire(start + seconds(10 + 50), 20), 20U);
    EXPECT_FALSE(table.find(mix(20)));
    EXPECT_TRUE(table.find(mix(21)));
    EXPECT_EQ(table.expire(start + seconds(10 + 50), 1000), 30U);
    EXPECT_EQ(table.expire(start + seconds(10 + 50), 1000), 0U);
}

TEST(StickTable, rounds_lifetimes_up_by_at_most_a_half_when_there_are_too_many) {
    constexpr std::uint64_t many = 20'000;
    StickTable table(100'000, seconds(600 + many));
    for (std::uint64_t i = 1; i <= many; ++i) {
        table.connect(mix(i), 0);
        table.disconnect(mix(i), seconds(600 + i), start);
    }
    for (std::uint64_t at = 700; at < 600 + many; at += 500) {
        table.expire(start + seconds(at), SIZE_MAX);
        for (std::uint64_t i = 1; i <= many; ++i) {
            const auto lifetime = 600 + i;
            const bool there = table.find(mix(i)).has_value();
            ASSERT_TRUE(there || lifetime <= at) << "lost before its session could end: " << lifetime;
            ASSERT_TRUE(!there || lifetime * 3 / 2 >= at) << lifetime << " s is still there at " << at;
        }
    }
    table.expire(start + seconds(600 + many), SIZE_MAX);
    EXPECT_EQ(table.size(), 0U) << "nothing is rounded beyond the longest allowed";
}

TEST(StickTable, takes_no_lifetime_for_longer_than_allowed) {
    StickTable table(10, seconds(100));
    table.connect(mix(1), 0);
    table.disconnect(mix(1), seconds::max(), start);
    EXPECT_EQ(table.expire(start + seconds(99), 10), 0U);
    EXPECT_EQ(table.expire(start + seconds(100), 10), 1U);
}

TEST(StickTable, forgets_a_broker_but_not_who_is_connected_there) {
    StickTable table(100, std::chrono::hours(1));
    for (std::uint64_t i = 1; i <= 10; ++i) {
        table.connect(mix(i), static_cast<BrokerId>(i % 2));
        if (i > 2) table.disconnect(mix(i), seconds(60), start);
    }
    table.forget_broker(1);
    EXPECT_EQ(table.count(1), 1U);
    EXPECT_EQ(table.count(0), 5U);
    EXPECT_TRUE(table.find(mix(1)));
}

TEST(StickTable, shrinks_to_a_smaller_capacity_from_the_oldest) {
    StickTable table(100, std::chrono::hours(1));
    for (std::uint64_t i = 1; i <= 50; ++i) {
        table.connect(mix(i), 0);
        table.disconnect(mix(i), seconds(60 + i % 3), start + seconds(i));
    }
    table.set_limits(10, std::chrono::hours(1));
    EXPECT_EQ(table.size(), 10U);
    EXPECT_TRUE(table.find(mix(41)));
    EXPECT_FALSE(table.find(mix(40)));
}

TEST(StickTable, visits_everybody_once_in_pieces_and_says_what_is_known) {
    StickTable table(5000, std::chrono::hours(2));
    for (std::uint64_t i = 1; i <= 3000; ++i) {
        table.connect(mix(i), static_cast<BrokerId>(i % 3), seconds(100));
        if (i % 2 == 0) table.disconnect(mix(i), seconds(60), start + seconds(i));
        if (i % 5 == 0) table.forget(mix(i));
    }
    std::size_t position = 0;
    std::size_t pieces = 0;
    std::map<std::uint64_t, StickTable::Stick> seen;
    for (bool more = true; more; ++pieces)
        more = table.visit(position, 1000, [&](std::uint64_t key, const StickTable::Stick& stick) {
            EXPECT_TRUE(seen.emplace(key, stick).second);
        });
    EXPECT_EQ(pieces, 3U);
    EXPECT_EQ(seen.size(), 2400U);
    EXPECT_EQ(seen.size(), table.size());
    EXPECT_FALSE(seen.contains(mix(10))) << "it was forgotten";
    EXPECT_TRUE(seen.at(mix(1)).connected);
    EXPECT_EQ(seen.at(mix(1)).lifetime, seconds(100));
    EXPECT_EQ(seen.at(mix(2)).lifetime, seconds(60));
    EXPECT_EQ(seen.at(mix(2)).since, start + seconds(2));
}

TEST(StickTable, takes_back_what_was_known_before_the_machine_started) {
    StickTable table(100, std::chrono::hours(24 * 3650));
    const Clock::time_point booted{};
    table.restore(mix(1), {1, false, std::chrono::hours(1000), booted - std::chrono::hours(999)});
    table.restore(mix(2), {2, false, std::chrono::hours(1000), booted - std::chrono::hours(10)});
    table.connect(mix(3), 0);
    table.restore(mix(3), {2, false, std::chrono::hours(1), booted});
    EXPECT_EQ(table.find(mix(3))->broker, 0) << "what is known better stays";
    EXPECT_EQ(table.expire(booted + std::chrono::minutes(59), 10), 0U);
    EXPECT_EQ(table.expire(booted + std::chrono::minutes(61), 10), 1U);
    EXPECT_FALSE(table.find(mix(1)));
    EXPECT_TRUE(table.find(mix(2)));
}

TEST(StickTable, remembers_a_million_ids_in_far_less_than_200_mb) {
    const auto in_use = [] { return mallinfo2().uordblks + mallinfo2().hblkhd; };
    const auto before = in_use();
    StickTable table(2'000'000, std::chrono::hours(1));
    for (std::uint64_t i = 1; i <= 1'000'000; ++i) {
        table.connect(mix(i), static_cast<BrokerId>(i % 3));
        if (i % 2 == 0) table.disconnect(mix(i), seconds(60), start);
    }
    ASSERT_EQ(table.size(), 1'000'000U);
    EXPECT_LT(in_use() - before, 50U * 1000 * 1000);
}

}  // namespace
}  // namespace limpet::balancer
