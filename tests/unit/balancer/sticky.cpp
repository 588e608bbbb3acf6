// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>

#include "pools.h"

namespace limpet::balancer {
namespace {

using namespace test;
using std::chrono::hours;
using std::chrono::seconds;

const Clock::time_point start = Clock::time_point{} + hours(24);

void learn(Pool& pool, const std::string& id, const std::string& broker) {
    const auto at = view(pool, broker).id;
    pool.remember(pool.hash_key(id), at);
    pool.release(pool.hash_key(id), hours(1), start);
}

/// A broker where hash would not put the id, so that only memory can lead there.
std::string stranger(const Pool& pool, const std::string& id) {
    const auto natural = pool.lookup(client_of(id)).value().name;
    return natural == "b1" ? "b2" : "b1";
}

TEST(Sticky, returns_every_client_to_its_broker) {
    Pool pool(pool_of(Strategy::sticky, equal(5)), 1);
    std::map<std::string, BrokerId> at;
    for (unsigned i = 0; i < 100'000; ++i) at[id_of(i)] = connect(pool, id_of(i)).id;
    for (const auto& [id, broker] : at) disconnect(pool, id, broker, hours(1), start);
    pool.update(pool_of(Strategy::sticky, equal(9)));  // where hash alone would now move many
    for (const auto& [id, broker] : at) {
        const auto choice = connect(pool, id);
        ASSERT_EQ(choice.id, broker) << id;
        ASSERT_EQ(choice.why, Why::remembered);
    }
}

TEST(Sticky, asks_the_configured_strategy_for_ids_that_it_does_not_know) {
    auto spec = pool_of(Strategy::sticky, equal(3));
    Pool hashing(spec, 1);
    const Pool hash(pool_of(Strategy::hash, equal(3)), 2);
    for (unsigned i = 0; i < 100; ++i) {
        const auto choice = hashing.choose(client_of(id_of(i))).value();
        EXPECT_EQ(choice.why, Why::hashed);
        EXPECT_EQ(choice.name, hash.lookup(client_of(id_of(i)))->name);
    }
    spec.unknown = Strategy::least_connections;
    Pool least(spec, 1);
    for (unsigned i = 0; i < 300; ++i) EXPECT_EQ(connect(least, id_of(i)).why, Why::least_connections);
    for (const auto& [name, count] : connections(least)) EXPECT_EQ(count, 100U) << name;
}

TEST(Sticky, chooses_another_for_a_broker_that_is_tried_but_keeps_the_memory) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto home = stranger(pool, "known");
    learn(pool, "known", home);
    const BrokerId tried[] = {view(pool, home).id};
    EXPECT_NE(pool.choose(client_of("known"), tried)->name, home);
    EXPECT_EQ(pool.choose(client_of("known"))->name, home)
        << "a broker that was tried once keeps its clients";
}

TEST(Sticky, chooses_another_for_a_broker_that_is_down_until_it_is_up_again) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto home = stranger(pool, "known");
    learn(pool, "known", home);
    const auto id = view(pool, home).id;
    pool.report_failure(id, Clock::now() + hours(1));
    EXPECT_NE(pool.choose(client_of("known"))->name, home);
    pool.report_success(id);
    EXPECT_EQ(pool.choose(client_of("known"))->name, home);
}

TEST(Sticky, prefers_the_remembered_broker_where_all_are_down) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto home = stranger(pool, "known");
    learn(pool, "known", home);
    for (const auto& broker : pool.brokers()) pool.report_failure(broker.id, Clock::now() + hours(1));
    const auto choice = pool.choose(client_of("known")).value();
    EXPECT_EQ(choice.name, home) << "its session is there";
    EXPECT_EQ(choice.why, Why::last_resort);
}

TEST(Sticky, moves_the_memory_when_another_broker_accepts_and_the_old_one_takes_nobody) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    learn(pool, "known", "b1");
    pool.set_draining(view(pool, "b1").id, true);
    learn(pool, "known", "b2");
    pool.set_draining(view(pool, "b1").id, false);
    EXPECT_EQ(pool.choose(client_of("known"))->name, "b2");
    EXPECT_EQ(pool.remembered(), 1U);
}

TEST(Sticky, leads_old_clients_but_no_new_ones_to_a_broker_of_weight_zero) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    learn(pool, "known", "b1");
    pool.update(pool_of(Strategy::sticky, {{"b1", 0}, {"b2", 1}, {"b3", 1}}));
    EXPECT_EQ(pool.choose(client_of("known"))->name, "b1");
    for (unsigned i = 0; i < 100; ++i) EXPECT_NE(pool.choose(client_of(id_of(i)))->name, "b1");
}

TEST(Sticky, leads_nobody_to_a_draining_broker_but_still_finds_who_is_there) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    learn(pool, "known", "b1");
    const auto here = view(pool, "b2").id;
    pool.begin_connection(here);
    pool.remember(pool.hash_key("connected"), here);
    pool.set_draining(view(pool, "b1").id, true);
    pool.set_draining(here, true);
    EXPECT_EQ(view(pool, "b1").state, BrokerState::draining);
    EXPECT_EQ(pool.choose(client_of("known"))->name, "b3");
    EXPECT_EQ(pool.choose(client_of("connected"))->name, "b3") << "a new connection";
    EXPECT_EQ(pool.lookup(client_of("connected"))->name, "b2") << "where the client is now";
    pool.set_draining(view(pool, "b1").id, false);
    EXPECT_EQ(pool.choose(client_of("known"))->name, "b1") << "drain forgets nothing";
}

TEST(Sticky, never_forgets_a_client_while_any_of_its_connections_lives) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto hash = pool.hash_key("shared");
    const auto home = view(pool, stranger(pool, "shared")).id;
    for (int i = 0; i < 3; ++i) pool.remember(hash, home);
    pool.release(hash, seconds(0), start);
    pool.release(hash, seconds(0), start);
    EXPECT_EQ(pool.expire(start + hours(24 * 365)), 0U);
    EXPECT_EQ(pool.choose(client_of("shared"))->id, home);
    pool.release(hash, seconds(0), start);
    EXPECT_EQ(pool.expire(start + hours(24 * 365)), 1U);
    EXPECT_EQ(pool.remembered(), 0U);
}

TEST(Sticky, keeps_the_memory_as_long_as_the_session_within_minimum_and_maximum) {
    struct Case {
        seconds lifetime;
        seconds kept;
        const char* why;
    };
    const Case cases[] = {
        {seconds(0), seconds(600), "the session ended, yet a flapping client comes back to warm caches"},
        {seconds(3600), seconds(3600), "the session's own expiry"},
        {seconds(0xfffffffe), seconds(7 * 86400), "longer than the maximum"},
        {seconds::max(), seconds(7 * 86400), "never expires"},
        {seconds(-5), seconds(600), "nonsense is the minimum"},
    };
    for (const auto& [lifetime, kept, why] : cases) {
        Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
        const auto hash = pool.hash_key("id");
        pool.remember(hash, 0);
        pool.release(hash, lifetime, start);
        EXPECT_EQ(pool.expire(start + kept - std::chrono::milliseconds(1)), 0U) << why;
        EXPECT_EQ(pool.expire(start + kept), 1U) << why;
    }
}

TEST(Sticky, learns_an_id_that_the_broker_assigned) {
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    const auto choice = pool.choose(client_of("")).value();
    pool.begin_connection(choice.id);
    pool.remember(pool.hash_key("auto-5A3F"), choice.id);
    disconnect(pool, "auto-5A3F", choice.id, hours(1), start);
    const auto again = pool.choose(client_of("auto-5A3F")).value();
    EXPECT_EQ(again.id, choice.id);
    EXPECT_EQ(again.why, Why::remembered);
}

TEST(Sticky, takes_the_key_that_is_configured) {
    Client client;
    client.client_id = "id";
    client.username = "user";
    client.source = IpAddress::parse("2001:db8::7").value();
    auto spec = pool_of(Strategy::sticky, equal(3));
    EXPECT_EQ(Pool(spec, 1).key_text(client), "id");
    spec.key = Key::username;
    EXPECT_EQ(Pool(spec, 1).key_text(client), "user");
    spec.key = Key::source_ip;
    Pool pool(spec, 1);
    EXPECT_EQ(pool.key_text(client), "2001:db8::7");
    const auto choice = pool.choose(client).value();
    pool.remember(pool.hash_key("2001:db8::7"), choice.id);
    client.client_id = "another";
    EXPECT_EQ(pool.choose(client)->why, Why::remembered) << "the address alone counts";
}

TEST(Sticky, is_bounded_by_its_capacity) {
    auto spec = pool_of(Strategy::sticky, equal(3));
    spec.stick_capacity = 1000;
    Pool pool(spec, 1);
    for (unsigned i = 0; i < 5000; ++i) {
        const auto hash = pool.hash_key(id_of(i));
        pool.remember(hash, 0);
        pool.release(hash, hours(1), start + seconds(i));
        ASSERT_LE(pool.remembered(), 1000U);
    }
    EXPECT_EQ(pool.lookup(client_of(id_of(4000)))->why, Why::remembered);
    EXPECT_EQ(pool.lookup(client_of(id_of(3999)))->why, Why::hashed)
        << "the ones disconnected longest ago went";
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMPET_OWN_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LIMPET_OWN_HEAP 1
#endif
#endif

TEST(Sticky, remembers_a_million_ids_within_64_MB_of_heap_even_while_it_grows) {
#ifdef LIMPET_OWN_HEAP
    GTEST_SKIP() << "mallinfo2: this build has the sanitizer's heap";
#else
    const auto heap = [] {
        const auto info = mallinfo2();
        return info.uordblks + info.hblkhd;
    };
    const auto before = heap();
    Pool pool(pool_of(Strategy::sticky, equal(3)), 1);
    std::size_t most = 0;
    for (unsigned i = 0; i < 1'000'000; ++i) {
        const auto hash = pool.hash_key(id_of(i));
        pool.remember(hash, static_cast<BrokerId>(i % 3));
        if (i % 2 == 0) pool.release(hash, hours(1), start);
        if (i % 64 == 0) most = std::max(most, heap() - before);
    }
    ASSERT_EQ(pool.remembered(), 1'000'000U);
    most = std::max(most, heap() - before);
    RecordProperty("bytes_per_id", static_cast<int>(most / 1'000'000));
    EXPECT_LE(most, 64U << 20);
    EXPECT_GE(most, 24'000'000U) << "or the measurement is wrong";
#endif
}

}  // namespace
}  // namespace limpet::balancer
