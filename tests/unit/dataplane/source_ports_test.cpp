// SPDX-License-Identifier: Apache-2.0
// Ports towards brokers: a port given twice is a live connection killed (docs/HANDOFF.md, trap 1).
#include "dataplane/source_ports.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <thread>

namespace limpet::dataplane {
namespace {

const Endpoint broker = Endpoint::parse("10.92.0.11:1883").value();
const Endpoint other_broker = Endpoint::parse("10.92.0.12:1883").value();
const IpAddress source = IpAddress::parse("10.92.0.1").value();
const IpAddress other_source = IpAddress::parse("10.92.0.9").value();

TEST(SourcePorts, hands_out_every_port_of_the_range_once_and_then_none) {
    SourcePorts ports(2000, 2099);
    std::set<std::uint16_t> seen;
    for (int i = 0; i < 100; ++i) {
        const auto port = ports.take(source, broker);
        ASSERT_TRUE(port) << "100 ports were promised, both ends of the range included";
        EXPECT_TRUE(seen.insert(*port).second) << *port << " is in use already";
    }
    EXPECT_EQ(*seen.begin(), 2000);
    EXPECT_EQ(*seen.rbegin(), 2099);
    EXPECT_FALSE(ports.take(source, broker)) << "an exhausted range gives nothing rather than a second use";
    EXPECT_EQ(ports.in_use(), 100U);
    const auto usage = ports.usage();
    ASSERT_EQ(usage.size(), 1U);
    EXPECT_EQ(usage[0].source, source);
    EXPECT_EQ(usage[0].broker, broker);
    EXPECT_EQ(usage[0].in_use, 100U);
    EXPECT_EQ(usage[0].limit, 100U);
}

TEST(SourcePorts, can_end_at_the_last_port_there_is) {
    SourcePorts ports(65'534, 65'535);
    const auto first = ports.take(source, broker);
    const auto second = ports.take(source, broker);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(*first + *second, 65'534 + 65'535);
    EXPECT_FALSE(ports.take(source, broker));
}

TEST(SourcePorts, gives_the_port_that_was_freed_first) {
    SourcePorts ports(2000, 2009);
    std::vector<std::uint16_t> taken;
    for (int i = 0; i < 10; ++i) taken.push_back(ports.take(source, broker).value());
    for (const auto index : {4U, 1U, 7U}) ports.give_back(source, broker, taken[index]);
    for (const auto index : {4U, 1U, 7U})
        EXPECT_EQ(ports.take(source, broker), taken[index])
            << "the port that rested longest has left the broker's TIME_WAIT first";
}

TEST(SourcePorts, uses_fresh_ports_before_freed_ones) {
    SourcePorts ports(2000, 2009);
    const auto first = ports.take(source, broker).value();
    ports.give_back(source, broker, first);
    for (int i = 0; i < 9; ++i)
        EXPECT_NE(ports.take(source, broker).value(), first) << "nine others were never used";
    EXPECT_EQ(ports.take(source, broker), first);
}

TEST(SourcePorts, counts_each_source_and_broker_by_itself) {
    SourcePorts ports(2000, 2000);
    EXPECT_EQ(ports.take(source, broker), 2000);
    EXPECT_EQ(ports.take(source, other_broker), 2000) << "another broker is another tuple";
    EXPECT_EQ(ports.take(other_source, broker), 2000) << "another source is another tuple";
    EXPECT_FALSE(ports.take(source, broker));
    ports.give_back(source, other_broker, 2000);
    EXPECT_FALSE(ports.take(source, broker)) << "what came back belongs to the other broker";
    EXPECT_EQ(ports.in_use(), 2U);
}

TEST(SourcePorts, keeps_an_adopted_port_until_it_comes_back) {
    SourcePorts ports(2000, 2003);
    ports.adopt(source, broker, 2002);
    ports.adopt(source, broker, 2002);
    EXPECT_EQ(ports.in_use(), 1U) << "adopted twice is still one connection";
    std::set<std::uint16_t> seen;
    while (const auto port = ports.take(source, broker)) seen.insert(*port);
    EXPECT_EQ(seen, (std::set<std::uint16_t>{2000, 2001, 2003})) << "a live flow has 2002";
    ports.give_back(source, broker, 2002);
    EXPECT_EQ(ports.take(source, broker), 2002);
}

TEST(SourcePorts, an_adopted_port_that_came_back_early_is_given_once) {
    SourcePorts ports(2000, 2003);
    ports.adopt(source, broker, 2002);
    ports.give_back(source, broker, 2002);
    std::multiset<std::uint16_t> seen;
    while (const auto port = ports.take(source, broker)) seen.insert(*port);
    EXPECT_EQ(seen, (std::multiset<std::uint16_t>{2000, 2001, 2002, 2003}));
}

TEST(SourcePorts, adopting_a_port_that_rested_takes_it_out_of_the_queue) {
    SourcePorts ports(2000, 2003);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(ports.take(source, broker));
    ports.give_back(source, broker, 2001);
    ports.adopt(source, broker, 2001);
    EXPECT_FALSE(ports.take(source, broker)) << "all four are in use";
    ports.give_back(source, broker, 2001);
    EXPECT_EQ(ports.take(source, broker), 2001);
    EXPECT_FALSE(ports.take(source, broker)) << "it came back once";
}

TEST(SourcePorts, ignores_what_is_not_its_own) {
    SourcePorts ports(2000, 2001);
    const auto first = ports.take(source, broker).value();
    ports.give_back(source, broker, 1999);
    ports.give_back(source, broker, 2002);
    ports.adopt(source, broker, 53);
    const auto unused = static_cast<std::uint16_t>(first == 2000 ? 2001 : 2000);
    ports.give_back(source, broker, unused);
    ports.give_back(source, broker, first);
    ports.give_back(source, broker, first);
    EXPECT_EQ(ports.in_use(), 0U);
    ASSERT_TRUE(ports.take(source, broker));
    ASSERT_TRUE(ports.take(source, broker));
    EXPECT_FALSE(ports.take(source, broker)) << "a port given back twice is not two ports";
}

TEST(SourcePorts, does_not_always_begin_at_the_same_port) {
    std::set<std::uint16_t> first_ports;
    for (int i = 0; i < 64; ++i) {
        SourcePorts ports(10'000, 32'767);
        first_ports.insert(ports.take(source, broker).value());
    }
    // 64 equal draws out of 22,768 do not happen.
    EXPECT_GT(first_ports.size(), 8U) << "a restarted daemon must not meet its own TIME_WAITs";
}

TEST(SourcePorts, a_long_random_history_never_gives_a_port_twice) {
    SourcePorts ports(3000, 3063);
    std::mt19937 random(7);
    std::vector<std::uint16_t> held;
    for (int step = 0; step < 200'000; ++step) {
        const auto what = random() % 8;
        if (what < 4) {
            const auto port = ports.take(source, broker);
            ASSERT_EQ(port.has_value(), held.size() < 64) << "a port is refused only when all are in use";
            if (!port) continue;
            ASSERT_EQ(std::ranges::count(held, *port), 0) << "step " << step;
            held.push_back(*port);
        } else if (what < 7 && !held.empty()) {
            const auto index = random() % held.size();
            ports.give_back(source, broker, held[index]);
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(index));
        } else {
            const auto port = static_cast<std::uint16_t>(3000 + random() % 64);
            ports.adopt(source, broker, port);
            if (std::ranges::count(held, port) == 0) held.push_back(port);
        }
        ASSERT_EQ(ports.in_use(), held.size());
    }
}

TEST(SourcePorts, may_be_used_by_several_workers_at_once) {
    SourcePorts ports(2000, 2063);
    std::array<std::atomic<int>, 64> holders{};
    std::atomic<int> doubles{0};
    const auto work = [&](unsigned seed) {
        std::mt19937 random(seed);
        std::vector<std::uint16_t> held;
        for (int step = 0; step < 20'000; ++step) {
            if (random() % 2 == 0) {
                const auto port = ports.take(source, broker);
                if (!port) continue;
                if (holders[*port - 2000U].fetch_add(1) != 0) doubles.fetch_add(1);
                held.push_back(*port);
            } else if (!held.empty()) {
                holders[held.back() - 2000U].fetch_sub(1);
                ports.give_back(source, broker, held.back());
                held.pop_back();
            }
        }
        for (const auto port : held) {
            holders[port - 2000U].fetch_sub(1);
            ports.give_back(source, broker, port);
        }
    };
    std::vector<std::jthread> workers;
    for (unsigned seed = 0; seed < 4; ++seed) workers.emplace_back(work, seed);
    workers.clear();
    EXPECT_EQ(doubles.load(), 0) << "two workers held one port at the same time";
    EXPECT_EQ(ports.in_use(), 0U);
}

}  // namespace
}  // namespace limpet::dataplane
