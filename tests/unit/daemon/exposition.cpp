// SPDX-License-Identifier: Apache-2.0
#include "daemon/exposition.h"

#include <gtest/gtest.h>

#include "daemon/rates.h"

namespace limpet::daemon {
namespace {

TEST(exposition, is_prometheus_text) {
    Exposition text;
    text.family("limpet_connections", "gauge", "Connections now.");
    text.sample({{"kind", "spliced"}, {"pool", "a\"b\\c\nd"}}, 20000);
    text.family("up", "gauge", "Up.");
    text.sample({}, 0.5);
    EXPECT_EQ(text.take(),
              "# HELP limpet_connections Connections now.\n# TYPE limpet_connections gauge\n"
              "limpet_connections{kind=\"spliced\",pool=\"a\\\"b\\\\c\\nd\"} 20000\n"
              "# HELP up Up.\n# TYPE up gauge\nup 0.5\n");
}

TEST(rate, is_the_mean_over_the_last_samples) {
    Rate rate;
    auto now = Rate::Clock::now();
    EXPECT_EQ(rate.per_second(), 0);
    std::uint64_t value = 1000;
    rate.sample(value, now);
    EXPECT_EQ(rate.per_second(), 0) << "one sample is no rate";
    for (int second = 0; second < 20; ++second) {
        now += std::chrono::seconds{1};
        value += 10;
        rate.sample(value, now);
        EXPECT_DOUBLE_EQ(rate.per_second(), 10) << second;
    }
    for (int second = 0; second < 5; ++second) {
        now += std::chrono::seconds{1};
        rate.sample(value, now);
    }
    EXPECT_EQ(rate.per_second(), 0) << "what was long ago is forgotten";
}

}  // namespace
}  // namespace limpet::daemon
