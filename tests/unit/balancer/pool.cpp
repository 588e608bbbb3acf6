// SPDX-License-Identifier: Apache-2.0
// A pool over time: brokers that fail, leave, come back; counts; many threads at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "pools.h"

namespace limpet::balancer {
namespace {

using namespace test;
using std::chrono::hours;

TEST(Pool, counts_connections_choices_and_failures) {
    Pool pool(pool_of(Strategy::round_robin, equal(2)), 1);
    const auto choice = pool.choose({}).value();
    pool.begin_connection(choice.id);
    pool.report_failure(choice.id, Clock::now());
    const auto seen = view(pool, choice.name);
    EXPECT_EQ(seen.connections, 1U);
    EXPECT_EQ(seen.chosen, 1U);
    EXPECT_EQ(seen.failures, 1U);
    EXPECT_EQ(seen.spec.address, choice.address);
    pool.end_connection(choice.id);
    pool.end_connection(choice.id);
    EXPECT_EQ(view(pool, choice.name).connections, 0U) << "one end too many must not wrap around";
}

TEST(Pool, avoids_a_failed_broker_for_retry_down) {
    auto spec = pool_of(Strategy::round_robin, equal(2));
    spec.retry_down = std::chrono::hours(1);
    Pool pool(spec, 1);
    const auto id = view(pool, "b1").id;
    pool.report_failure(id, Clock::now());
    EXPECT_EQ(view(pool, "b1").state, BrokerState::down);
    pool.report_success(id);
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up);
    pool.report_failure(id, Clock::now() - hours(2));
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up) << "its time is over";
    EXPECT_EQ(pool.choose({})->name, "b1");
}

TEST(Pool, ignores_ids_that_it_never_gave) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    pool.begin_connection(999);
    pool.end_connection(999);
    pool.report_failure(999, Clock::now());
    pool.report_success(999);
    pool.set_draining(999, true);
    pool.remember(pool.hash_key("id"), 999);
    pool.remember(0, 1);
    pool.release(0, hours(1), Clock::now());
    pool.release(pool.hash_key("unknown"), hours(1), Clock::now());
    EXPECT_EQ(pool.remembered(), 0U);
    EXPECT_EQ(pool.brokers().size(), 2U);
}

TEST(Update, keeps_id_counts_and_state_of_brokers_that_stay) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto before = view(pool, "b2");
    pool.begin_connection(before.id);
    pool.set_draining(before.id, true);
    pool.update(pool_of(Strategy::sticky, {{"b9", 1}, {"b2", 7}}));
    const auto after = view(pool, "b2");
    EXPECT_EQ(after.id, before.id);
    EXPECT_EQ(after.connections, 1U);
    EXPECT_EQ(after.state, BrokerState::draining) << "a reload does not undo what an operator did";
    EXPECT_EQ(after.spec.weight, 7U);
    EXPECT_EQ(after.spec.address, address_of(2));
    ASSERT_EQ(pool.brokers().size(), 2U);
    EXPECT_EQ(pool.brokers()[0].spec.name, "b9") << "as the specification lists them";
}

TEST(Update, shows_a_broker_that_left_until_its_last_connection_ends) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    const auto id = view(pool, "b2").id;
    pool.begin_connection(id);
    pool.remember(pool.hash_key("there"), id);
    pool.update(pool_of(Strategy::sticky, equal(1)));
    EXPECT_EQ(view(pool, "b2").state, BrokerState::draining);
    EXPECT_EQ(pool.lookup(client_of("there"))->name, "b2") << "the client is still connected there";
    EXPECT_EQ(pool.choose(client_of("there"))->name, "b1");
    EXPECT_EQ(pool.find(address_of(2)), id) << "an adopted connection may belong to it";
    disconnect(pool, "there", id, hours(1));
    EXPECT_EQ(pool.brokers().size(), 1U);
    EXPECT_EQ(pool.lookup(client_of("there"))->name, "b1");
}

TEST(Update, gives_a_broker_that_comes_back_its_memory) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    std::map<std::string, std::string> at;
    for (unsigned i = 0; i < 300; ++i) {
        const auto choice = connect(pool, id_of(i));
        at[id_of(i)] = choice.name;
        disconnect(pool, id_of(i), choice.id, hours(1));
    }
    // twice, because an id is given away at the second update after its broker left
    pool.update(pool_of(Strategy::sticky, {{"b1", 1}}));
    pool.update(pool_of(Strategy::sticky, {{"b1", 1}, {"b4", 1}, {"b5", 1}}));
    for (const auto& [id, name] : at) {
        const auto choice = pool.choose(client_of(id)).value();
        EXPECT_EQ(choice.why == Why::remembered, name == "b1")
            << "what b2 and b3 left behind must not lead to the brokers that came instead";
    }
    pool.update(pool_of(Strategy::sticky, equal(3)));
    for (const auto& [id, name] : at) {
        EXPECT_EQ(pool.choose(client_of(id))->name, name);
        EXPECT_EQ(pool.choose(client_of(id))->why, Why::remembered);
    }
}

TEST(Update, starts_afresh_with_a_broker_that_comes_back_but_knows_its_connections) {
    Pool pool(pool_of(Strategy::sticky, equal(2)), 1);
    const auto id = view(pool, "b2").id;
    pool.begin_connection(id);
    pool.set_draining(id, true);
    pool.report_failure(id, Clock::now() + hours(1));
    pool.update(pool_of(Strategy::sticky, equal(1)));
    pool.update(pool_of(Strategy::sticky, equal(2)));
    const auto back = view(pool, "b2");
    EXPECT_EQ(back.id, id);
    EXPECT_EQ(back.connections, 1U);
    EXPECT_EQ(back.state, BrokerState::up) << "whoever adds it again wants it used";
}

TEST(Update, counts_no_connection_for_the_successor_of_a_broker_chosen_a_moment_ago) {
    Pool pool(pool_of(Strategy::sticky, {{"old", 1}}), 1);
    const auto choice = pool.choose(client_of("id")).value();
    pool.update(pool_of(Strategy::sticky, {{"new", 1}}));
    pool.begin_connection(choice.id);
    pool.remember(pool.hash_key("id"), choice.id);
    EXPECT_EQ(view(pool, "new").connections, 0U);
    EXPECT_EQ(pool.lookup(client_of("id"))->why, Why::hashed)
        << "what was learned of the old is not the new one's";
}

TEST(Update, uses_ids_again_so_that_churn_never_runs_out) {
    Pool pool(pool_of(Strategy::sticky, {{"keeper", 1}}), 1);
    BrokerId largest = 0;
    for (unsigned i = 0; i < 1000; ++i) {
        pool.update(pool_of(Strategy::sticky, {{"keeper", 1}, {"pod-" + std::to_string(i), 1}}));
        largest = std::max(largest, view(pool, "pod-" + std::to_string(i)).id);
    }
    EXPECT_LE(largest, 3U);
    EXPECT_EQ(view(pool, "keeper").id, 0U);
}

TEST(Update, takes_a_name_once_and_looks_at_a_new_address_afresh) {
    auto spec = pool_of(Strategy::sticky, {{"b1", 1}, {"b1", 5}, {"b2", 1}});
    Pool pool(spec, 1);
    ASSERT_EQ(pool.brokers().size(), 2U);
    EXPECT_EQ(view(pool, "b1").spec.weight, 1U);
    const auto id = view(pool, "b1").id;
    pool.report_failure(id, Clock::now() + hours(1));
    spec.brokers = {{"b1", address_of(50), 1}, {"b2", address_of(3), 1}};
    pool.update(spec);
    EXPECT_EQ(view(pool, "b1").state, BrokerState::up) << "what failed was the old address";
    EXPECT_EQ(view(pool, "b2").state, BrokerState::up);
    EXPECT_EQ(pool.find(address_of(50)), id);
    EXPECT_FALSE(pool.find(address_of(1)));
}

TEST(Update, changes_name_strategy_and_key_at_once) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    auto spec = pool_of(Strategy::round_robin, equal(3));
    spec.name = "other";
    spec.key = Key::username;
    pool.update(spec);
    EXPECT_EQ(pool.name(), "other");
    EXPECT_EQ(pool.choose(client_of("id"))->why, Why::round_robin);
    EXPECT_EQ(pool.key_text(client_of("id")), "");
}

/// One worker's life: clients come, fail, stay a while, go.
void work(Pool& pool, unsigned worker, unsigned rounds) {
    std::mt19937 random(worker);
    std::vector<std::pair<std::string, BrokerId>> connected;
    for (unsigned i = 0; i < rounds; ++i) {
        const auto id = id_of(static_cast<unsigned>(random() % 500));
        const auto choice = pool.choose(client_of(id));
        if (!choice) continue;
        pool.begin_connection(choice->id);
        if (random() % 20 == 0) {
            pool.report_failure(choice->id, Clock::now());
            pool.end_connection(choice->id);
            continue;
        }
        pool.report_success(choice->id);
        pool.remember(pool.hash_key(id), choice->id);
        connected.emplace_back(id, choice->id);
        (void)pool.lookup(client_of(id));
        if (connected.size() > 20) {
            const auto [old, broker] = connected.front();
            connected.erase(connected.begin());
            disconnect(pool, old, broker, std::chrono::seconds(random() % 5));
        }
    }
    for (const auto& [id, broker] : connected) disconnect(pool, id, broker);
}

TEST(Threads, leave_no_connection_counted_and_no_race_behind) {
    for (const auto strategy : {Strategy::sticky, Strategy::hash, Strategy::least_connections,
                                Strategy::round_robin, Strategy::random, Strategy::power_of_two}) {
        auto spec = pool_of(strategy, equal(4));
        spec.stick_capacity = 400;
        spec.stick_minimum = std::chrono::seconds(0);
        Pool pool(spec, 1);
        std::atomic<bool> done = false;
        std::thread operator_at_work([&] {
            for (unsigned i = 0; !done; ++i) {
                // weights and settings change while the brokers stay, so that every connection finds its end
                spec.brokers[0].weight = 1 + i % 3;
                pool.update(spec);
                pool.set_draining(1, i % 2 == 0);
                (void)pool.brokers();
                (void)pool.find(address_of(2));
                pool.expire(Clock::now() + std::chrono::seconds(2));
                std::this_thread::yield();
            }
        });
        {
            std::vector<std::jthread> workers;
            for (unsigned worker = 0; worker < 4; ++worker)
                workers.emplace_back([&pool, worker] { work(pool, worker, 3000); });
        }
        done = true;
        operator_at_work.join();
        for (const auto& [name, count] : connections(pool))
            EXPECT_EQ(count, 0U) << strategy_name(strategy) << name;
        pool.expire(Clock::now() + hours(1));
        EXPECT_EQ(pool.remembered(), 0U) << "every memory of a connection was given back";
    }
}

}  // namespace
}  // namespace limpet::balancer
