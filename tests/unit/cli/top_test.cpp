// SPDX-License-Identifier: Apache-2.0
// The live view: what two looks at a daemon make of it.
#include "cli/top.h"

#include <gmock/gmock.h>

namespace limpet::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Look look(double at, int chosen, int bytes) {
    Look look;
    look.at = at;
    look.status =
        Json{{"version", "1.2"},
             {"mode", "tc"},
             {"uptime_seconds", 61},
             {"connections", {{"spliced", 7}, {"relayed", 1}, {"tls", 0}, {"pending", 2}}},
             {"brokers",
              {{{"pool", "main"}, {"name", "b1"}, {"state", "up"}, {"connections", 7}, {"chosen", chosen}}}},
             {"reasons", {{"forwarded_tc", chosen * 10}, {"relay_configured", 3}}}};
    look.flows = Json::array({{{"client_id", "busy\x1b[2J"},
                               {"client", "10.0.0.1:5"},
                               {"listener", "10.0.0.9:1883"},
                               {"broker_name", "b1"},
                               {"bytes_from_client", bytes},
                               {"bytes_from_broker", 10}},
                              {{"client_id", "quiet"},
                               {"client", "10.0.0.2:5"},
                               {"listener", "10.0.0.9:1883"},
                               {"bytes_from_client", 4},
                               {"bytes_from_broker", 4}}});
    return look;
}

TEST(Top, two_looks_give_what_happened_per_second) {
    const auto changes = changes_between(look(10, 100, 1000), look(12, 150, 5000));
    EXPECT_EQ(changes["seconds"], 2);
    EXPECT_EQ(changes["brokers"][0]["chosen_per_second"], 25);
    EXPECT_EQ(changes["reasons"], (Json{{"forwarded_tc", 250.0}})) << "only what grew";
    ASSERT_EQ(changes["busiest"].size(), 1u) << "a quiet flow is none of the busiest";
    EXPECT_EQ(changes["busiest"][0]["from_client_per_second"], 2000);
    EXPECT_EQ(changes["busiest"][0]["from_broker_per_second"], 0);
}

TEST(Top, counters_of_a_restarted_daemon_begin_at_zero) {
    const auto changes = changes_between(look(10, 100, 1000), look(11, 5, 20));
    EXPECT_EQ(changes["brokers"][0]["chosen_per_second"], 5);
    EXPECT_EQ(changes["reasons"]["forwarded_tc"], 50);
}

TEST(Top, the_view_keeps_to_the_screen_and_clients_cannot_speak_to_the_terminal) {
    const auto now = look(12, 150, 5000);
    const auto changes = changes_between(look(10, 100, 1000), now);
    const auto all = top_text(now, changes, {200, 50});
    EXPECT_THAT(all, HasSubstr("limpet 1.2, mode tc, up 1m 1s\n"));
    EXPECT_THAT(all, HasSubstr("7 spliced, 1 relayed"));
    EXPECT_THAT(all, HasSubstr("busy\\x1b[2J"));
    EXPECT_THAT(all, HasSubstr("forwarded_tc"));
    EXPECT_THAT(all, Not(HasSubstr("\x1b")));
    const auto small = top_text(now, changes, {10, 3});
    EXPECT_EQ(small, "limpet 1.2\n7 spliced,\n") << "three lines of ten characters, the last without an end";
}

TEST(Top, a_daemon_of_another_version_is_no_crash) {
    for (const auto& odd : {Json(), Json(3), Json::array(), Json{{"brokers", 5}, {"reasons", "x"}}}) {
        const Look strange{odd, odd, 1};
        EXPECT_THAT(top_text(strange, changes_between(strange, strange), {80, 24}), HasSubstr("limpet -"));
    }
}

}  // namespace
}  // namespace limpet::cli
