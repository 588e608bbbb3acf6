// SPDX-License-Identifier: Apache-2.0
#include "health/judge.h"

#include <gtest/gtest.h>

namespace limpet::health {
namespace {

using namespace std::chrono_literals;

const Clock::time_point start{};

/// Asks whenever the judge wants it, on a clock that only it moves.
struct Asked {
    explicit Asked(const Terms& terms = {}) : judge(terms, terms.initially_up, start, 0) {}

    /// How long it took until the next probe; every probe is answered at once.
    Clock::duration answer(bool good) {
        const auto due = judge.next().value();
        const auto waited = due - now;
        now = due;
        changed = judge.answered(good, now, now, 0);
        return waited;
    }

    Judge judge;
    Clock::time_point now = start;
    bool changed = false;
};

TEST(Judge, goes_down_after_fall_bad_answers_in_a_row_and_not_before) {
    Asked broker;
    broker.answer(false);
    broker.answer(false);
    broker.answer(true);
    for (int i = 0; i < 2; ++i) {
        broker.answer(false);
        EXPECT_TRUE(broker.judge.up()) << i;
    }
    broker.answer(false);
    EXPECT_TRUE(broker.changed);
    EXPECT_FALSE(broker.judge.up());
}

TEST(Judge, comes_up_after_rise_good_answers_in_a_row_and_not_before) {
    Asked broker({.rise = 3, .initially_up = false});
    broker.answer(true);
    broker.answer(true);
    broker.answer(false);
    broker.answer(true);
    broker.answer(true);
    EXPECT_FALSE(broker.judge.up());
    broker.answer(true);
    EXPECT_TRUE(broker.changed);
    EXPECT_TRUE(broker.judge.up());
}

TEST(Judge, asks_fast_only_while_the_answers_differ_from_the_verdict) {
    Asked broker({.interval = 5s, .fast_interval = 1s});
    broker.answer(true);
    EXPECT_EQ(broker.answer(true), 5s);
    EXPECT_EQ(broker.answer(false), 5s);
    EXPECT_EQ(broker.answer(false), 1s);
    EXPECT_EQ(broker.answer(false), 1s);
    ASSERT_FALSE(broker.judge.up());
    EXPECT_EQ(broker.answer(false), 5s) << "it is down, and that is settled";
    EXPECT_EQ(broker.answer(true), 5s);
    EXPECT_EQ(broker.answer(true), 1s);
    EXPECT_TRUE(broker.judge.up());
    EXPECT_EQ(broker.answer(true), 5s);
}

TEST(Judge, counts_the_interval_from_the_beginning_of_a_probe) {
    Judge judge({.interval = 5s, .fast_interval = 500ms}, true, start, 0);
    judge.answered(true, start, start + 2s, 0);
    EXPECT_EQ(judge.next(), start + 5s);
    judge.answered(false, start + 5s, start + 7s, 0);
    EXPECT_EQ(judge.next(), start + 7s) << "the answer took longer than the interval";
}

TEST(Judge, spreads_the_first_probes_and_the_later_ones) {
    EXPECT_EQ(Judge({}, true, start, 0.5).next(), start + 500ms);
    EXPECT_EQ(Judge({.interval = 100ms}, true, start, 1).next(), start + 100ms);
    Judge judge({.interval = 10s}, true, start, 0);
    judge.answered(true, start, start, -1);
    EXPECT_EQ(judge.next(), start + 9s);
    judge.answered(true, start, start, 1);
    EXPECT_EQ(judge.next(), start + 11s);
}

TEST(Judge, asks_at_once_when_clients_have_trouble_but_no_faster_than_fast) {
    Judge judge({.interval = 60s, .fast_interval = 1s}, true, start, 0);
    judge.answered(true, start, start, 0);
    judge.doubt(start + 200ms);
    EXPECT_EQ(judge.next(), start + 1s);
    judge.answered(true, start + 1s, start + 1s, 0);
    EXPECT_EQ(judge.next(), start + 61s) << "the doubt was answered";
    judge.doubt(start + 30s);
    EXPECT_EQ(judge.next(), start + 30s);
}

TEST(Judge, leaves_a_broker_alone_that_nobody_doubts_where_it_is_not_asked_always) {
    Judge judge({.interval = 5s, .fast_interval = 1s, .rise = 1, .fall = 2, .always = false}, true, start, 0);
    EXPECT_FALSE(judge.next());
    judge.doubt(start);
    EXPECT_EQ(judge.next(), start);
    judge.answered(false, start, start, 0);
    judge.answered(false, start + 1s, start + 1s, 0);
    EXPECT_FALSE(judge.up());
    EXPECT_EQ(judge.next(), start + 6s) << "asked until it is up again";
    judge.answered(true, start + 6s, start + 6s, 0);
    EXPECT_TRUE(judge.up());
    EXPECT_FALSE(judge.next());
}

TEST(Judge, knows_whether_a_probe_ever_succeeded) {
    Asked broker;
    broker.answer(false);
    EXPECT_FALSE(broker.judge.ever_passed());
    broker.answer(true);
    broker.answer(false);
    EXPECT_TRUE(broker.judge.ever_passed());
}

TEST(Judge, keeps_its_verdict_when_its_terms_change) {
    Asked broker({.interval = 5s, .fall = 1});
    broker.answer(false);
    ASSERT_FALSE(broker.judge.up());
    broker.judge.change_terms({.interval = 1s, .rise = 1}, broker.now);
    EXPECT_FALSE(broker.judge.up());
    EXPECT_LE(broker.answer(true), 1s);
    EXPECT_TRUE(broker.judge.up());
}

TEST(Judge, tries_again_what_this_host_could_not_ask) {
    Judge judge({.interval = 5s}, true, start, 0);
    judge.not_asked(start);
    EXPECT_TRUE(judge.up());
    EXPECT_EQ(judge.next(), start + 5s);
}

}  // namespace
}  // namespace limpet::health
