// SPDX-License-Identifier: Apache-2.0
// How many connections brokers and pools may have, and clients that are moved.
#include <gtest/gtest.h>

#include "pools.h"

namespace limpet::balancer::test {
namespace {

PoolSpec limited(Strategy strategy, std::uint32_t each, std::uint64_t together = 0) {
    auto spec = pool_of(strategy, equal(3));
    for (auto& broker : spec.brokers) broker.max_connections = each;
    spec.max_connections = together;
    return spec;
}

/// How many of so many clients get a place.
unsigned served(Pool& pool, unsigned clients) {
    unsigned places = 0;
    for (unsigned i = 0; i < clients; ++i) {
        const auto choice = pool.choose(client_of(id_of(i)));
        if (!choice || !pool.take_place(*choice)) continue;
        pool.remember(pool.hash_key(id_of(i)), choice->id);
        ++places;
    }
    return places;
}

TEST(Limits, no_broker_gets_more_than_its_maximum_whatever_the_strategy) {
    for (const auto strategy : {Strategy::sticky, Strategy::hash, Strategy::least_connections,
                                Strategy::round_robin, Strategy::random, Strategy::power_of_two}) {
        Pool pool(limited(strategy, 7), 1);
        EXPECT_EQ(served(pool, 100), 21U) << strategy_name(strategy);
        for (const auto& broker : pool.brokers()) EXPECT_EQ(broker.connections, 7U);
        EXPECT_EQ(pool.fullness(), Fullness::brokers);
    }
}

TEST(Limits, a_pool_has_its_own) {
    Pool pool(limited(Strategy::sticky, 0, 10), 1);
    EXPECT_EQ(served(pool, 100), 10U);
    EXPECT_EQ(pool.fullness(), Fullness::pool);
    pool.end_connection(pool.brokers()[0].id);
    EXPECT_EQ(pool.fullness(), Fullness::none);
    EXPECT_TRUE(pool.choose(client_of("another")));
}

TEST(Limits, the_last_place_is_given_once) {
    Pool pool(limited(Strategy::sticky, 0, 1), 1);
    const auto first = pool.choose(client_of("a"));
    const auto second = pool.choose(client_of("b"));
    ASSERT_TRUE(first && second) << "nobody has taken it yet";
    EXPECT_TRUE(pool.take_place(*first));
    EXPECT_FALSE(pool.take_place(*second));
}

TEST(Limits, a_client_that_takes_its_connection_over_needs_no_place) {
    Pool pool(limited(Strategy::sticky, 1), 1);
    EXPECT_EQ(served(pool, 3), 3U);
    const auto again = pool.choose(client_of(id_of(0)));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->why, Why::remembered);
    EXPECT_TRUE(pool.take_place(*again)) << "the broker ends the former one";
    EXPECT_FALSE(pool.choose(client_of("somebody else")));
}

TEST(Limits, change_while_clients_are_connected) {
    Pool pool(limited(Strategy::least_connections, 0), 1);
    EXPECT_EQ(served(pool, 30), 30U);
    pool.update(limited(Strategy::least_connections, 5));
    EXPECT_FALSE(pool.choose(client_of("more"))) << "those that are there stay, more do not come";
    EXPECT_EQ(connections(pool)["b1"], 10U);
    pool.update(limited(Strategy::least_connections, 11));
    EXPECT_EQ(served(pool, 30), 3U);
}

TEST(Moving, a_clients_memory_leads_it_elsewhere) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto here = connect(pool, "client");
    const auto& brokers = pool.brokers();
    const auto& there = brokers[0].id == here.id ? brokers[1] : brokers[0];
    EXPECT_TRUE(pool.move(pool.hash_key("client"), there.id));
    disconnect(pool, "client", here.id);
    EXPECT_EQ(pool.choose(client_of("client"))->name, there.spec.name);
    EXPECT_FALSE(pool.move(pool.hash_key("stranger"), there.id));
    EXPECT_FALSE(pool.move(pool.hash_key("client"), 999));
}

TEST(Placement, is_where_hashing_leads_whatever_is_remembered) {
    Pool pool(pool_of(Strategy::hash, equal(3)), 1);
    unsigned elsewhere = 0;
    for (unsigned i = 0; i < 100; ++i) connect(pool, id_of(i));
    pool.update(pool_of(Strategy::hash, equal(4)));
    for (unsigned i = 0; i < 100; ++i) {
        const auto now = pool.lookup(client_of(id_of(i)));
        const auto home = pool.placement(client_of(id_of(i)));
        ASSERT_TRUE(now && home);
        EXPECT_EQ(now->why, Why::remembered);
        elsewhere += home->name == "b4" ? 1U : 0U;
    }
    EXPECT_GT(elsewhere, 10U) << "a fourth of them belongs to the new broker";
    EXPECT_FALSE(pool.placement(client_of("")));
}

}  // namespace
}  // namespace limpet::balancer::test
