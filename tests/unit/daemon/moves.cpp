// SPDX-License-Identifier: Apache-2.0
#include "daemon/moves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/rebalance.h"

namespace limpet::daemon {
namespace {

using std::chrono::milliseconds;
using Clock = Pacer::Clock;

balancer::BrokerView broker(balancer::BrokerId id, std::uint64_t connections, std::uint32_t weight = 1,
                            balancer::BrokerState state = balancer::BrokerState::up) {
    balancer::BrokerView view;
    view.id = id;
    view.spec.weight = weight;
    view.state = state;
    view.connections = connections;
    return view;
}

std::vector<std::pair<unsigned, std::uint64_t>> pairs(const auto& list) {
    std::vector<std::pair<unsigned, std::uint64_t>> result;
    for (const auto& one : list) result.emplace_back(one.id, one.count);
    return result;
}

using Pairs = std::vector<std::pair<unsigned, std::uint64_t>>;

TEST(imbalance, after_a_broker_was_added_is_what_the_others_have_too_much) {
    const auto found = imbalance_of({broker(1, 40), broker(2, 40), broker(3, 40), broker(4, 0)}, 0.05);
    EXPECT_EQ(pairs(found.from), (Pairs{{1, 10}, {2, 10}, {3, 10}}));
    EXPECT_EQ(pairs(found.to), (Pairs{{4, 30}}));
    EXPECT_EQ(found.total, 30u);
}

TEST(imbalance, heeds_weights_and_those_that_take_no_clients) {
    using balancer::BrokerState;
    const auto found =
        imbalance_of({broker(1, 50, 1), broker(2, 40, 2), broker(3, 900, 1, BrokerState::draining),
                      broker(4, 900, 1, BrokerState::down)},
                     0.05);
    EXPECT_EQ(pairs(found.from), (Pairs{{1, 20}}));
    EXPECT_EQ(pairs(found.to), (Pairs{{2, 20}}));
}

TEST(imbalance, within_the_tolerance_is_none) {
    EXPECT_EQ(imbalance_of({broker(1, 104), broker(2, 96)}, 0.05).total, 0u);
    EXPECT_EQ(imbalance_of({broker(1, 106), broker(2, 94)}, 0.05).total, 6u);
    EXPECT_EQ(imbalance_of({broker(1, 2), broker(2, 1)}, 0).total, 0u) << "nobody has half a connection";
    EXPECT_EQ(imbalance_of({broker(1, 7)}, 0).total, 0u);
    EXPECT_EQ(imbalance_of({}, 0).total, 0u);
}

TEST(pacer, gives_exactly_its_pace_however_often_it_is_asked) {
    for (const auto step : {milliseconds{1}, milliseconds{20}, milliseconds{77}}) {
        const auto begin = Clock::now();
        Pacer pacer(200, begin);
        std::uint64_t ended = 0;
        for (auto now = begin; now < begin + std::chrono::seconds{10}; now += step) {
            const auto due = pacer.due(now);
            pacer.spend(due);
            ended += due;
        }
        EXPECT_NEAR(static_cast<double>(ended), 2000, 20) << step.count() << " ms";
    }
}

TEST(pacer, saves_up_no_more_than_a_second) {
    const auto begin = Clock::now();
    Pacer pacer(100, begin);
    EXPECT_EQ(pacer.due(begin + std::chrono::minutes{1}), 100u);
    Pacer slow(0.5, begin);
    EXPECT_EQ(slow.due(begin + std::chrono::minutes{1}), 1u);
    EXPECT_EQ(Pacer(0, begin).due(begin), ~0ULL);
}

}  // namespace
}  // namespace limpet::daemon
