// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "pools.h"

namespace limpet::balancer {
namespace {

using namespace test;

constexpr unsigned ids = 100'000;
const Weights weights{{"a", 5}, {"b", 3}, {"c", 2}};

/// Connects `ids` clients and compares each broker's share of them with its share of the weights.
void expect_shares(Strategy strategy, double tolerance) {
    Pool pool(pool_of(strategy, weights), 7);
    for (unsigned i = 0; i < ids; ++i) connect(pool, id_of(i));
    for (const auto& [name, weight] : weights)
        EXPECT_NEAR(static_cast<double>(connections(pool)[name]), ids * weight / 10.0, tolerance)
            << strategy_name(strategy) << " " << name;
}

TEST(Strategies, spread_a_hundred_thousand_clients_by_weight) {
    expect_shares(Strategy::round_robin, 1);                     // exact up to the round that was begun
    expect_shares(Strategy::least_connections, 1);               // exact as well
    expect_shares(Strategy::power_of_two, ids / 1000.0);         // 0.1 %
    expect_shares(Strategy::random, 5 * std::sqrt(ids * 0.25));  // five standard deviations
    expect_shares(Strategy::hash, 5 * std::sqrt(ids * 0.25));
    expect_shares(Strategy::sticky, 5 * std::sqrt(ids * 0.25));
}

std::string sequence(Pool& pool, unsigned length) {
    std::string names;
    for (unsigned i = 0; i < length; ++i) names += pool.choose(client_of("any")).value().name;
    return names;
}

TEST(RoundRobin, is_smooth) {
    Pool pool(pool_of(Strategy::round_robin, {{"a", 5}, {"b", 1}, {"c", 1}}), 1);
    EXPECT_EQ(sequence(pool, 14), "aabacaaaabacaa") << "not aaaaabc";
}

TEST(RoundRobin, starts_a_new_round_when_the_weights_change) {
    Pool pool(pool_of(Strategy::round_robin, {{"a", 5}, {"b", 1}, {"c", 1}}), 1);
    sequence(pool, 3);
    pool.update(pool_of(Strategy::round_robin, {{"a", 1}, {"b", 1}, {"c", 1}}));
    EXPECT_EQ(sequence(pool, 6), "abcabc");
    sequence(pool, 1);
    pool.update(pool_of(Strategy::round_robin, {{"a", 1}, {"b", 1}, {"c", 1}}));
    EXPECT_EQ(sequence(pool, 2), "bc") << "a reload without a change keeps the turn";
}

TEST(LeastConnections, spreads_an_idle_pool_by_turns) {
    Pool pool(pool_of(Strategy::least_connections, {{"a", 1}, {"b", 1}, {"c", 1}}), 1);
    EXPECT_EQ(sequence(pool, 6), "abcabc")
        << "clients that come and go one by one must not all meet the first";
    Pool weighted(pool_of(Strategy::least_connections, {{"a", 5}, {"b", 1}, {"c", 1}}), 1);
    EXPECT_EQ(sequence(weighted, 7), "aabacaa") << "and by weight";
}

TEST(LeastConnections, fills_up_the_least_loaded_by_weight) {
    Pool pool(pool_of(Strategy::least_connections, {{"a", 1}, {"b", 2}}), 1);
    const auto a = view(pool, "a").id;
    const auto b = view(pool, "b").id;
    for (int i = 0; i < 10; ++i) pool.begin_connection(a);
    for (int i = 0; i < 19; ++i) pool.begin_connection(b);
    EXPECT_EQ(pool.choose({})->name, "b") << "19 / 2 < 10 / 1";
    pool.begin_connection(b);
    pool.begin_connection(b);
    EXPECT_EQ(pool.choose({})->name, "a") << "21 / 2 > 10 / 1";
}

TEST(PowerOfTwo, keeps_the_gap_small_where_random_does_not) {
    const auto gap = [](Strategy strategy) {
        Pool pool(pool_of(strategy, equal(32)), 3);
        for (unsigned i = 0; i < 32'000; ++i) connect(pool, id_of(i));
        std::uint64_t most = 0;
        for (const auto& [name, count] : connections(pool)) most = std::max(most, count);
        return most - 1000;
    };
    EXPECT_LE(gap(Strategy::power_of_two), 5U) << "log2(log2(32)) and a little";
    EXPECT_GE(gap(Strategy::random), 20U) << "or the comparison says nothing";
}

TEST(PowerOfTwo, chooses_from_a_pool_of_one) {
    Pool pool(pool_of(Strategy::power_of_two, equal(1)), 1);
    EXPECT_EQ(pool.choose({})->name, "b1");
}

constexpr Strategy all[] = {Strategy::sticky,      Strategy::hash,   Strategy::least_connections,
                            Strategy::round_robin, Strategy::random, Strategy::power_of_two};

TEST(Lookup, answers_what_choose_then_does_and_moves_nothing) {
    for (const auto strategy : all) {
        Pool pool(pool_of(strategy, weights), 11);
        Pool never_asked(pool_of(strategy, weights), 11);
        for (unsigned i = 0; i < 2000; ++i) {
            const auto id = i % 5 == 0 ? std::string() : id_of(i);
            const auto first = pool.lookup(client_of(id)).value();
            const auto again = pool.lookup(client_of(id)).value();
            ASSERT_EQ(first.id, again.id) << strategy_name(strategy) << ": a look moved something";
            const auto chosen = connect(pool, id);
            ASSERT_EQ(chosen.id, first.id) << strategy_name(strategy) << " client " << i;
            ASSERT_EQ(chosen.why, first.why);
            ASSERT_EQ(chosen.id, connect(never_asked, id).id) << "looks changed what came later";
        }
    }
}

TEST(Lookup, names_the_broker_of_a_connected_client_whatever_the_strategy) {
    for (const auto strategy : all) {
        Pool pool(pool_of(strategy, equal(8)), 5);
        std::map<std::string, BrokerId> at;
        for (unsigned i = 0; i < 1000; ++i) at[id_of(i)] = connect(pool, id_of(i)).id;
        for (const auto& [id, broker] : at) {
            const auto found = pool.lookup(client_of(id)).value();
            ASSERT_EQ(found.id, broker) << strategy_name(strategy) << " " << id;
            ASSERT_EQ(found.why, Why::remembered);
        }
    }
}

TEST(Strategies, try_every_broker_once_and_then_give_up) {
    for (const auto strategy : all) {
        Pool pool(pool_of(strategy, equal(4)), 5);
        std::vector<BrokerId> tried;
        while (const auto choice = pool.choose(client_of("id"), tried)) {
            ASSERT_EQ(std::ranges::count(tried, choice->id), 0) << strategy_name(strategy);
            tried.push_back(choice->id);
        }
        EXPECT_EQ(tried.size(), 4U) << strategy_name(strategy);
    }
}

TEST(Strategies, give_no_new_client_to_brokers_of_weight_zero_draining_or_none) {
    for (const auto strategy : all) {
        Pool pool(pool_of(strategy, {{"a", 0}, {"b", 1}, {"c", 1}}), 5);
        pool.set_draining(view(pool, "b").id, true);
        for (unsigned i = 0; i < 100; ++i) ASSERT_EQ(connect(pool, id_of(i)).name, "c");
        pool.set_draining(view(pool, "c").id, true);
        EXPECT_FALSE(pool.choose(client_of("new"))) << strategy_name(strategy);
        pool.set_draining(view(pool, "b").id, false);
        EXPECT_EQ(pool.choose(client_of("new"))->name, "b");
        Pool empty(pool_of(strategy, {}), 5);
        EXPECT_FALSE(empty.choose(client_of("new")));
        EXPECT_FALSE(empty.lookup(client_of("new")));
    }
}

TEST(Strategies, ask_brokers_that_are_down_only_as_a_last_resort) {
    for (const auto strategy : all) {
        Pool pool(pool_of(strategy, equal(3)), 5);
        const auto later = Clock::now() + std::chrono::hours(1);
        pool.report_failure(view(pool, "b1").id, later);
        pool.report_failure(view(pool, "b3").id, later);
        for (unsigned i = 0; i < 100; ++i) ASSERT_EQ(connect(pool, id_of(i)).name, "b2");
        const BrokerId tried[] = {view(pool, "b2").id};
        const auto choice = pool.choose(client_of("id"), tried).value();
        EXPECT_EQ(choice.why, Why::last_resort) << strategy_name(strategy);
    }
}

TEST(EmptyKey, is_spread_and_never_hashed_nor_remembered) {
    for (const auto strategy : {Strategy::sticky, Strategy::hash}) {
        for (const auto key : {Key::client_id, Key::username}) {
            auto spec = pool_of(strategy, equal(4));
            spec.key = key;
            Pool pool(spec, 1);
            for (unsigned i = 0; i < 400; ++i) {
                const auto choice = pool.choose({}).value();
                EXPECT_EQ(choice.why, Why::least_connections);
                pool.begin_connection(choice.id);
                pool.remember(pool.hash_key(pool.key_text({})), choice.id);
            }
            for (const auto& [name, count] : connections(pool)) EXPECT_EQ(count, 100U) << name;
            EXPECT_EQ(pool.remembered(), 0U);
        }
    }
}

TEST(Names, read_back_as_what_they_were_written) {
    for (const auto strategy : all) EXPECT_EQ(strategy_from_name(strategy_name(strategy)), strategy);
    for (const auto key : {Key::client_id, Key::username, Key::source_ip})
        EXPECT_EQ(key_from_name(key_name(key)), key);
    EXPECT_FALSE(strategy_from_name("Sticky")) << "names are compared byte for byte";
    EXPECT_FALSE(key_from_name(""));
    EXPECT_EQ(why_name(Why::hashed_overflow), "hashed_overflow");
    EXPECT_EQ(broker_state_name(BrokerState::draining), "draining");
}

}  // namespace
}  // namespace limpet::balancer
