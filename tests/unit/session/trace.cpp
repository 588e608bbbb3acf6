// SPDX-License-Identifier: Apache-2.0
#include "session/trace.h"

#include <gtest/gtest.h>

namespace limpet::session::test {
namespace {

using namespace std::chrono_literals;

const Trace::Clock::time_point start{1000s};
const Endpoint here = *Endpoint::parse("10.0.0.1:5000");
const Endpoint there = *Endpoint::parse("10.0.0.2:5000");

Trace::Event event(const Endpoint& client, std::string id, std::string_view what) {
    Trace::Event made;
    made.client = client;
    made.client_id = std::move(id);
    made.what = what;
    return made;
}

TEST(trace, keeps_nothing_while_nobody_watches) {
    Trace trace;
    EXPECT_FALSE(trace.watched());
    trace.note(event(here, "a", "connect"), start);
    EXPECT_TRUE(trace.ask({}, 1, start).events.empty());
}

TEST(trace, tells_a_watcher_of_his_clients_alone_and_each_event_once) {
    Trace trace;
    const Trace::Filter only_a{"a", std::nullopt};
    auto answer = trace.ask(only_a, 0, start);
    EXPECT_TRUE(trace.watched());
    trace.note(event(here, "a", "connect"), start);
    trace.note(event(there, "b", "connect"), start);
    trace.note(event(here, "a", "accepted"), start);
    answer = trace.ask(only_a, answer.next, start);
    ASSERT_EQ(answer.events.size(), 2u) << "b is nobody's client";
    EXPECT_EQ(answer.events[1].what, "accepted");
    EXPECT_TRUE(trace.ask(only_a, answer.next, start).events.empty());
    const Trace::Filter by_source{std::nullopt, there.address};
    static_cast<void>(trace.ask(by_source, 0, start));
    trace.note(event(there, "b", "closed"), start);
    EXPECT_EQ(trace.ask(by_source, answer.next, start).events.size(), 1u);
    EXPECT_TRUE(trace.ask(only_a, answer.next, start).events.empty()) << "it was another watcher's";
}

TEST(trace, knows_the_client_of_an_event_that_does_not_say_it) {
    Trace trace;
    const Trace::Filter only_a{"a", std::nullopt};
    const auto from = trace.ask(only_a, 0, start).next;
    trace.know(here, "a");
    trace.note_end(here, "ended", "end_fin", start);
    trace.note_end(here, "ended", "end_fin", start);
    const auto answer = trace.ask(only_a, from, start);
    ASSERT_EQ(answer.events.size(), 1u) << "after its end the address may be anybody's";
    EXPECT_EQ(answer.events[0].client_id, "a");
}

TEST(trace, forgets_who_does_not_ask_any_more) {
    Trace trace;
    const auto from = trace.ask({}, 0, start).next;
    trace.note(event(here, "a", "connect"), start + 1min);
    EXPECT_FALSE(trace.watched());
    EXPECT_TRUE(trace.ask({}, from, start + 1min).events.empty());
}

TEST(trace, is_bounded_and_says_what_was_lost) {
    Trace trace;
    const auto from = trace.ask({}, 0, start).next;
    for (int count = 0; count < 10'000; ++count) trace.note(event(here, "a", "connect"), start);
    const auto answer = trace.ask({}, from, start);
    EXPECT_EQ(answer.events.size() + answer.lost, 10'000u);
    EXPECT_GT(answer.lost, 0u);
}

}  // namespace
}  // namespace limpet::session::test
