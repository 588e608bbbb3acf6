// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "pools.h"

namespace limpet::balancer {
namespace {

using namespace test;
using std::chrono::hours;
using std::chrono::seconds;

/// Clients without a key, one after another, all of whom stay; how many each broker has then.
std::map<std::string, unsigned> fill(Pool& pool, unsigned count) {
    std::map<std::string, unsigned> at;
    for (unsigned i = 0; i < count; ++i) {
        const auto choice = pool.choose({}).value();
        pool.begin_connection(choice.id);
        ++at[choice.name];
    }
    return at;
}

TEST(Health, an_unhealthy_broker_gets_nobody_until_it_is_well_again) {
    auto spec = pool_of(Strategy::round_robin, equal(3));
    spec.slow_start = seconds(0);
    Pool pool(spec, 1);
    const auto id = view(pool, "b1").id;
    pool.set_health(id, false, "connecting: refused", Clock::now());
    EXPECT_EQ(view(pool, "b1").state, BrokerState::down);
    EXPECT_TRUE(view(pool, "b1").unhealthy);
    EXPECT_EQ(view(pool, "b1").last_error, "connecting: refused");
    EXPECT_EQ(fill(pool, 30)["b1"], 0U);
    pool.report_success(id);
    EXPECT_EQ(view(pool, "b1").state, BrokerState::down) << "a client that got in is no health check";
    pool.set_health(id, true, "", Clock::now());
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up);
    EXPECT_EQ(fill(pool, 30)["b1"], 10U);
}

TEST(Health, the_unhealthy_are_asked_where_nobody_else_is_left) {
    Pool pool(pool_of(Strategy::round_robin, equal(2)), 1);
    for (const auto& broker : pool.brokers()) pool.set_health(broker.id, false, "dead", Clock::now());
    EXPECT_EQ(pool.choose({})->why, Why::last_resort);
}

TEST(Health, an_error_below_fall_is_shown_and_changes_nothing) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    pool.set_health(view(pool, "b1").id, true, "no PINGRESP", Clock::now());
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up);
    EXPECT_EQ(view(pool, "b1").last_error, "no PINGRESP");
}

TEST(Health, refusals_count_only_in_a_row) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    const auto id = view(pool, "b1").id;
    const auto refuse = [&] {
        pool.report_failure(id, Clock::now() + hours(1), Trouble::refusal, "CONNACK 3");
    };
    for (unsigned i = 1; i < refusals_in_a_row; ++i) refuse();
    pool.report_success(id);
    for (unsigned i = 1; i < refusals_in_a_row; ++i) refuse();
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up)
        << "one client's doing must not cost the others a broker";
    refuse();
    EXPECT_EQ(view(pool, "b1").state, BrokerState::down);
    EXPECT_EQ(view(pool, "b1").last_error, "CONNACK 3");
}

TEST(Health, trouble_is_told_once_for_each_time_a_broker_is_avoided) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    const auto id = view(pool, "b1").id;
    std::vector<BrokerId> told;
    pool.on_trouble([&](BrokerId broker) { told.push_back(broker); });
    for (int i = 0; i < 100; ++i) pool.report_failure(id, Clock::now());
    EXPECT_EQ(told, std::vector<BrokerId>{id});
    pool.report_success(id);
    pool.report_failure(id, Clock::now());
    EXPECT_EQ(told.size(), 2U);
    pool.set_health(id, false, "dead", Clock::now());
    pool.report_success(id);
    pool.report_failure(id, Clock::now());
    EXPECT_EQ(told.size(), 2U) << "health checks know it already";
}

TEST(Health, a_reset_early_in_life_is_worth_a_question_and_no_verdict) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    const auto id = view(pool, "b1").id;
    unsigned told = 0;
    pool.on_trouble([&](BrokerId) { ++told; });
    for (int i = 0; i < 10; ++i) pool.report_failure(id, Clock::now(), Trouble::reset, "reset");
    EXPECT_EQ(told, 1U);
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up);
    EXPECT_EQ(view(pool, "b1").last_error, "reset");
}

TEST(SlowStart, a_broker_that_came_back_is_not_flooded) {
    for (const auto strategy :
         {Strategy::least_connections, Strategy::round_robin, Strategy::random, Strategy::power_of_two}) {
        auto spec = pool_of(strategy, equal(3));
        spec.slow_start = hours(1);
        Pool pool(spec, 1);
        const auto id = view(pool, "b1").id;
        pool.set_health(id, false, "dead", Clock::now());
        fill(pool, 1000);
        pool.set_health(id, true, "", Clock::now());
        EXPECT_EQ(view(pool, "b1").percent, 10U);
        const auto back = fill(pool, 1000)["b1"];
        EXPECT_GT(back, 10U) << strategy_name(strategy);
        EXPECT_LT(back, 130U) << strategy_name(strategy)
                              << ": 10 % of a share, where 333 would be a whole one";
    }
}

TEST(SlowStart, its_share_grows_with_time_to_the_whole) {
    auto spec = pool_of(Strategy::least_connections, equal(2));
    spec.slow_start = seconds(100);
    Pool pool(spec, 1);
    const auto id = view(pool, "b1").id;
    pool.set_health(id, false, "dead", Clock::now());
    pool.set_health(id, true, "", Clock::now() - seconds(50));
    EXPECT_NEAR(view(pool, "b1").percent, 50, 2);
    pool.set_health(id, false, "dead", Clock::now());
    pool.set_health(id, true, "", Clock::now() - seconds(100));
    EXPECT_EQ(view(pool, "b1").percent, 100U);
}

TEST(SlowStart, a_key_of_the_broker_is_there_as_soon_as_there_is_room) {
    auto spec = pool_of(Strategy::hash, equal(3));
    spec.slow_start = hours(1);
    Pool pool(spec, 1);
    unsigned number = 0;
    while (pool.lookup(client_of(id_of(number)))->name != "b1") ++number;
    const auto id = view(pool, "b1").id;
    pool.set_health(id, false, "dead", Clock::now());
    EXPECT_NE(pool.choose(client_of(id_of(number)))->name, "b1");
    pool.set_health(id, true, "", Clock::now());
    EXPECT_EQ(pool.choose(client_of(id_of(number)))->name, "b1")
        << "slow start moves no key, it limits the load";
}

TEST(Dying, no_survivor_gets_more_than_1_25_times_the_mean) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    std::map<std::string, std::string> at;
    for (unsigned i = 0; i < 3000; ++i) at[id_of(i)] = connect(pool, id_of(i)).name;
    const auto dead = view(pool, "b1").id;
    pool.set_health(dead, false, "dead", Clock::now());
    unsigned moved = 0;
    for (const auto& [client, broker] : at) {
        if (broker != "b1") continue;
        disconnect(pool, client, dead);
        connect(pool, client);
        ++moved;
    }
    EXPECT_GT(moved, 750U);
    EXPECT_EQ(view(pool, "b1").connections, 0U);
    EXPECT_LE(view(pool, "b2").connections, 1875U);
    EXPECT_LE(view(pool, "b3").connections, 1875U);
    for (const auto& [client, broker] : at)
        if (broker != "b1") {
            EXPECT_EQ(pool.choose(client_of(client))->name, broker) << "not theirs to move";
        }
}

TEST(Rank, spares_get_nobody_while_one_of_the_first_is_up) {
    auto spec = pool_of(Strategy::round_robin, equal(4));
    spec.brokers[2].rank = 1;
    spec.brokers[3].rank = 2;
    Pool pool(spec, 1);
    auto at = fill(pool, 100);
    EXPECT_EQ(at["b1"], 50U);
    EXPECT_EQ(at["b2"], 50U);
    const BrokerId tried[] = {view(pool, "b1").id, view(pool, "b2").id};
    EXPECT_EQ(pool.choose({}, tried)->name, "b3") << "a retry reaches the spares as well";
    pool.set_health(tried[0], false, "dead", Clock::now());
    EXPECT_EQ(fill(pool, 10)["b2"], 10U);
    pool.set_health(tried[1], false, "dead", Clock::now());
    EXPECT_EQ(fill(pool, 10)["b3"], 10U);
}

TEST(Sticky, keeps_the_memory_of_a_broker_that_was_only_busy_for_a_moment) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto hash = pool.hash_key("known");
    const auto home = view(pool, "b1").id;
    pool.remember(hash, home);
    pool.release(hash, hours(1), Clock::now());
    const BrokerId tried[] = {home};
    const auto other = pool.choose(client_of("known"), tried).value();
    ASSERT_NE(other.id, home);
    pool.remember(hash, other.id);
    EXPECT_EQ(pool.choose(client_of("known"))->id, home) << "its session is there";
    pool.set_health(home, false, "dead", Clock::now());
    pool.remember(hash, other.id);
    pool.set_health(home, true, "", Clock::now());
    EXPECT_EQ(pool.choose(client_of("known"))->id, other.id) << "the old broker was really gone";
}

}  // namespace
}  // namespace limpet::balancer
