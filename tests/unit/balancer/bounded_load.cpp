// SPDX-License-Identifier: Apache-2.0
// hash under a bound: nobody above ceil(1.25 * fair share), and a client that is connected stays findable.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "pools.h"

namespace limpet::balancer {
namespace {

using namespace test;

/// connections <= ceil(1.25 * total * weight / sum), in whole numbers.
bool within_bound(std::uint64_t connections, std::uint64_t total, std::uint64_t weight, std::uint64_t sum) {
    const auto share = (5 * total * weight + 4 * sum - 1) / (4 * sum);
    return connections <= share;
}

void connect_and_check(const Weights& weights, unsigned count) {
    Pool pool(pool_of(Strategy::hash, weights), 1);
    std::uint64_t sum = 0;
    for (const auto& [name, weight] : weights) sum += weight;
    std::map<BrokerId, std::uint64_t> held;
    unsigned overflowed = 0;
    for (unsigned i = 0; i < count; ++i) {
        const auto choice = connect(pool, id_of(i));
        overflowed += choice.why == Why::hashed_overflow;
        const auto& weight = std::ranges::find(weights, choice.name, &Weights::value_type::first)->second;
        // only the chosen one grew, and the shares of the others grew with the total
        ASSERT_TRUE(within_bound(++held[choice.id], i + 1, weight, sum)) << choice.name << " at client " << i;
    }
    EXPECT_LT(overflowed, count / 20) << "the bound is a guard, not the rule";
    EXPECT_GT(overflowed, 0U) << "a pool that starts empty has to overflow among the first clients";
}

TEST(BoundedLoad, holds_at_every_moment_while_clients_connect) {
    connect_and_check(equal(3), 100'000);
    connect_and_check(equal(16), 100'000);
}

TEST(BoundedLoad, holds_for_weights) {
    connect_and_check({{"b1", 1}, {"b2", 2}, {"b3", 5}, {"b4", 3}}, 100'000);
}

TEST(BoundedLoad, holds_for_whoever_is_chosen_when_clients_come_and_go) {
    constexpr unsigned brokers = 7;
    Pool pool(pool_of(Strategy::hash, equal(brokers)), 1);
    std::mt19937 random(1);
    std::map<unsigned, BrokerId> connected;
    std::map<BrokerId, std::uint64_t> held;
    for (unsigned step = 0; step < 50'000; ++step) {
        const unsigned id = static_cast<unsigned>(random() % 2000);
        if (const auto at = connected.find(id); at != connected.end()) {
            disconnect(pool, id_of(id), at->second);
            --held[at->second];
            connected.erase(at);
            continue;
        }
        const auto choice = connect(pool, id_of(id));
        connected[id] = choice.id;
        ASSERT_TRUE(within_bound(++held[choice.id], connected.size(), 1, brokers)) << "step " << step;
    }
}

TEST(BoundedLoad, sends_an_overflowed_key_to_the_next_in_its_own_order) {
    Pool pool(pool_of(Strategy::hash, equal(5)), 1);
    unsigned checked = 0;
    for (unsigned i = 0; i < 300; ++i) {
        const auto id = id_of(i);
        // the order of this key: what an empty pool answers when the ones before were tried
        const Pool idle(pool_of(Strategy::hash, equal(5)), 2);
        const auto choice = connect(pool, id);
        if (choice.why != Why::hashed_overflow) continue;
        const auto total = i;  // before this one
        std::vector<BrokerId> before;
        Pool order(pool_of(Strategy::hash, equal(5)), 3);
        for (auto next = order.choose(client_of(id)); next && next->name != choice.name;
             next = order.choose(client_of(id), before)) {
            EXPECT_FALSE(within_bound(view(pool, next->name).connections + 1, total + 1, 1, 5))
                << next->name << " comes before " << choice.name << " and had room";
            before.push_back(next->id);
        }
        EXPECT_FALSE(before.empty());
        ++checked;
    }
    EXPECT_GT(checked, 0U);
}

TEST(BoundedLoad, keeps_a_connected_client_findable_where_it_is) {
    Pool pool(pool_of(Strategy::hash, equal(3)), 1);
    std::map<std::string, Choice> at;
    for (unsigned i = 0; i < 10'000; ++i) at[id_of(i)] = connect(pool, id_of(i));
    unsigned overflowed = 0;
    for (const auto& [id, choice] : at) {
        const auto found = pool.lookup(client_of(id)).value();
        ASSERT_EQ(found.id, choice.id) << id;
        ASSERT_EQ(found.why, Why::remembered);
        ASSERT_EQ(pool.choose(client_of(id)).value().id, choice.id) << "a client that takes its session over";
        overflowed += choice.why == Why::hashed_overflow;
    }
    ASSERT_GT(overflowed, 0U) << "or the memory proved nothing";
}

TEST(BoundedLoad, forgets_a_client_with_its_last_connection) {
    Pool pool(pool_of(Strategy::hash, equal(3)), 1);
    const auto choice = connect(pool, "twice");
    pool.begin_connection(choice.id);
    pool.remember(pool.hash_key("twice"), choice.id);
    disconnect(pool, "twice", choice.id, std::chrono::hours(1));
    EXPECT_EQ(pool.lookup(client_of("twice"))->why, Why::remembered) << "one connection is left";
    disconnect(pool, "twice", choice.id, std::chrono::hours(1));
    EXPECT_EQ(pool.lookup(client_of("twice"))->why, Why::hashed)
        << "hash has no memory beyond the connection";
    EXPECT_EQ(pool.remembered(), 0U);
}

TEST(BoundedLoad, counts_only_brokers_that_take_part) {
    Pool pool(pool_of(Strategy::hash, {{"b1", 1}, {"b2", 1}, {"b3", 1}}), 1);
    pool.set_draining(view(pool, "b3").id, true);
    for (unsigned i = 0; i < 10'000; ++i) connect(pool, id_of(i));
    for (const auto& [name, count] : connections(pool)) EXPECT_LE(count, 6250U) << name;
    EXPECT_EQ(connections(pool)["b3"], 0U);
}

TEST(BoundedLoad, spreads_a_key_that_many_clients_share) {
    auto spec = pool_of(Strategy::hash, equal(4));
    spec.key = Key::source_ip;
    Pool pool(spec, 1);
    Client client;
    client.source.bytes = {192, 0, 2, 1};
    for (unsigned i = 0; i < 1000; ++i) {
        const auto choice = pool.choose(client).value();
        pool.begin_connection(choice.id);
        pool.remember(pool.hash_key(pool.key_text(client)), choice.id);
    }
    for (const auto& [name, count] : connections(pool))
        EXPECT_LE(count, 313U) << name << ": ceil(1.25 * 250)";
}

}  // namespace
}  // namespace limpet::balancer
