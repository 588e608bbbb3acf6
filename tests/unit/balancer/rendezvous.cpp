// SPDX-License-Identifier: Apache-2.0
#include "balancer/rendezvous.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pools.h"

namespace limpet::balancer {
namespace {

using namespace test;

constexpr unsigned ids = 100'000;

/// Where each id belongs, seen on an empty pool, so that no bound is in the way.
std::vector<std::string> placement(const Pool& pool) {
    std::vector<std::string> names;
    for (unsigned i = 0; i < ids; ++i) names.push_back(pool.lookup(client_of(id_of(i))).value().name);
    return names;
}

/// Five standard deviations of a share of `ids`: a wrong share is seen, chance is not.
double tolerance(double share) {
    return 5 * std::sqrt(ids * share * (1 - share));
}

TEST(Exponential, is_the_negated_binary_logarithm) {
    for (unsigned i = 1; i < 200'000; ++i) {
        const auto uniform = std::max<std::uint64_t>(mix(i) >> (i % 60), 1);
        const double exact = 64 - std::log2(static_cast<double>(uniform));
        ASSERT_NEAR(static_cast<double>(exponential(uniform)) / 4294967296.0, exact, 2e-6) << uniform;
    }
}

TEST(Exponential, never_grows_with_its_argument_and_stays_above_zero) {
    for (unsigned i = 0; i < 200'000; ++i) {
        const auto uniform = mix(i) >> (i % 60);
        ASSERT_GE(exponential(uniform), exponential(uniform + 1)) << uniform;
    }
    const auto largest = std::numeric_limits<std::uint64_t>::max();
    EXPECT_GT(exponential(largest), 0U) << "a cost of 0 would win whatever the weight";
    EXPECT_LE(exponential(0), std::uint64_t{64} << 32) << "products with a weight must fit into 64 bits";
}

TEST(Placement, is_pinned_because_a_change_would_move_every_client) {
    EXPECT_EQ(placement_hash("b1"), 64398852357139330U);
    const Pool pool(pool_of(Strategy::hash, equal(5)), 1);
    std::string seen;
    for (unsigned i = 0; i < 20; ++i) seen += pool.lookup(client_of(id_of(i))).value().name.substr(1);
    EXPECT_EQ(seen, "14345253153224454422");
}

TEST(Placement, depends_on_names_and_keys_and_not_on_seed_order_or_address) {
    const Pool one(pool_of(Strategy::hash, {{"b1", 1}, {"b2", 2}, {"b3", 3}}), 1);
    const Pool other(pool_of(Strategy::hash, {{"b3", 3}, {"b1", 1}, {"b2", 2}}), 0xdeadbeef);
    EXPECT_EQ(placement(one), placement(other)) << "two gateways must agree";
}

TEST(Placement, follows_the_weights_within_five_standard_deviations) {
    const Weights weights{{"b1", 1}, {"b2", 2}, {"b3", 3}, {"b4", 10}, {"b5", 1}};
    const Pool pool(pool_of(Strategy::hash, weights), 1);
    std::map<std::string, double> counts;
    for (const auto& name : placement(pool)) ++counts[name];
    for (const auto& [name, weight] : weights) {
        const double share = weight / 17.0;
        EXPECT_NEAR(counts[name], ids * share, tolerance(share)) << name;
    }
}

TEST(Placement, is_even_over_many_equal_brokers) {
    const Pool pool(pool_of(Strategy::hash, equal(64)), 1);
    std::map<std::string, double> counts;
    for (const auto& name : placement(pool)) ++counts[name];
    double chi_square = 0;
    for (const auto& [name, count] : counts)
        chi_square += (count - ids / 64.0) * (count - ids / 64.0) / (ids / 64.0);
    EXPECT_EQ(counts.size(), 64U);
    EXPECT_LT(chi_square, 124) << "63 degrees of freedom: by chance once in 200,000 hash functions";
}

TEST(Placement, moves_only_the_keys_of_the_broker_that_left) {
    Pool pool(pool_of(Strategy::hash, equal(10)), 1);
    const auto before = placement(pool);
    auto without = equal(10);
    without.erase(without.begin() + 3);
    pool.update(pool_of(Strategy::hash, without));
    const auto after = placement(pool);
    unsigned moved = 0;
    for (unsigned i = 0; i < ids; ++i) {
        if (before[i] == after[i]) continue;
        ++moved;
        ASSERT_EQ(before[i], "b4") << id_of(i) << " belonged to a broker that stayed";
    }
    EXPECT_NEAR(moved, ids / 10.0, tolerance(0.1));
}

TEST(Placement, moves_to_a_new_broker_only_what_it_wins) {
    Pool pool(pool_of(Strategy::hash, equal(9)), 1);
    const auto before = placement(pool);
    pool.update(pool_of(Strategy::hash, equal(10)));
    const auto after = placement(pool);
    unsigned moved = 0;
    for (unsigned i = 0; i < ids; ++i) {
        if (before[i] == after[i]) continue;
        ++moved;
        ASSERT_EQ(after[i], "b10") << id_of(i) << " moved between brokers that were there before";
    }
    EXPECT_NEAR(moved, ids / 10.0, tolerance(0.1)) << "1 / (N + 1) of all";
}

TEST(Placement, moves_to_a_broker_whose_weight_grows_and_to_no_other) {
    Pool pool(pool_of(Strategy::hash, {{"b1", 1}, {"b2", 1}, {"b3", 1}}), 1);
    const auto before = placement(pool);
    pool.update(pool_of(Strategy::hash, {{"b1", 1}, {"b2", 2}, {"b3", 1}}));
    const auto after = placement(pool);
    unsigned moved = 0;
    for (unsigned i = 0; i < ids; ++i) {
        if (before[i] == after[i]) continue;
        ++moved;
        ASSERT_EQ(after[i], "b2");
    }
    EXPECT_NEAR(moved, ids / 6.0, tolerance(1.0 / 6)) << "from a third to a half";
}

TEST(Placement, spreads_the_keys_of_a_failed_broker_over_all_the_others) {
    const Pool pool(pool_of(Strategy::hash, equal(5)), 1);
    Pool failed(pool_of(Strategy::hash, equal(5)), 1);
    failed.report_failure(view(failed, "b1").id, Clock::now() + std::chrono::hours(1));
    std::map<std::string, double> heirs;
    const auto before = placement(pool);
    const auto after = placement(failed);
    for (unsigned i = 0; i < ids; ++i)
        if (before[i] == "b1") ++heirs[after[i]];
    EXPECT_EQ(heirs.size(), 4U);
    for (const auto& [name, count] : heirs) EXPECT_NEAR(count, ids / 20.0, tolerance(0.05)) << name;
}

}  // namespace
}  // namespace limpet::balancer
