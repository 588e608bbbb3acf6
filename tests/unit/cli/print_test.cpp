// SPDX-License-Identifier: Apache-2.0
// What people see.
#include "cli/print.h"

#include <gtest/gtest.h>

#include "cli/progress.h"
#include "cli/table.h"

namespace limpet::cli {
namespace {

TEST(Table, columns_are_aligned_by_characters_and_lines_have_no_trailing_blanks) {
    Table table({{"NAME"}, {"COUNT", Align::right}, {"NOTE"}});
    table.add({"é", "5", ""});
    table.add({"longer", "12345678", "x"});
    EXPECT_EQ(table.text(),
              "NAME       COUNT  NOTE\n"
              "é              5\n"
              "longer  12345678  x\n");
}

TEST(Table, a_client_id_cannot_speak_to_the_terminal) {
    EXPECT_EQ(visible("a\x1b]0;owned\x07 b\n\xc2\x9b"
                      "2Jé"),
              "a\\x1b]0;owned\\x07 b\\x0a\\x9b2Jé");
}

TEST(Table, ages_and_bytes_have_the_unit_that_fits) {
    EXPECT_EQ(age_text(0), "0s");
    EXPECT_EQ(age_text(59.9), "59s");
    EXPECT_EQ(age_text(192), "3m 12s");
    EXPECT_EQ(age_text(18120), "5h 2m");
    EXPECT_EQ(age_text(12.0 * 86400 + 3 * 3600), "12d 3h");
    EXPECT_EQ(bytes_text(0), "0 B");
    EXPECT_EQ(bytes_text(1023), "1023 B");
    EXPECT_EQ(bytes_text(1536), "1.5 KiB");
    EXPECT_EQ(bytes_text(20.0 * 1024 * 1024), "20.0 MiB");
}

TEST(Print, status_shows_everything_that_the_daemon_said) {
    const auto status = Json::parse(R"({"version":"0.1.0","pid":77,"uptime_seconds":192,"mode":"tc",
        "note":"XDP is not there","interfaces":[{"name":"eth0","mode":"tc","dispatcher":false,"note":"veth"}],
        "listeners":[{"name":"mqtt","address":"10.91.0.1:1883","protocol":"mqtt","pool":"main","accepted":302}],
        "brokers":[{"name":"b1","address":"10.92.0.11:1883","pool":"main","state":"up","weight":1,"connections":300,
        "chosen":302,"failures":2}],"connections":{"spliced":300,"relayed":2,"tls":0,"pending":1},
        "rates":{"accepted_per_second":12.5,"spliced_per_second":12.0},
        "hold_microseconds":{"count":300,"p50":24.2,"p99":80.0,"p999":120.0},
        "reasons":{"relay_local_peer":2}})");
    EXPECT_EQ(status_text(status),
              "version       0.1.0\n"
              "pid           77\n"
              "uptime        3m 12s\n"
              "mode          tc\n"
              "note          XDP is not there\n"
              "connections   300 spliced, 2 relayed, 0 TLS, 1 being set up\n"
              "per second    12.5 accepted, 12.0 spliced\n"
              "time in HOLD  p50 24 us, p99 80 us, p99.9 120 us (300 handoffs)\n"
              "\n"
              "INTERFACE  MODE  DISPATCHER  NOTE\n"
              "eth0       tc    no          veth\n"
              "\n"
              "LISTENER  ADDRESS         PROTOCOL  POOL  ACCEPTED\n"
              "mqtt      10.91.0.1:1883  mqtt      main       302\n"
              "\n"
              "POOL  BROKER  ADDRESS          STATE  WEIGHT  CONNECTIONS  MAXIMUM  CHOSEN  FAILURES\n"
              "main  b1      10.92.0.11:1883  up          1          300        -     302         2\n"
              "\n"
              "REASON            COUNT  MEANING\n"
              "relay_local_peer      2  client or broker is on the gateway itself\n");
}

TEST(Print, flows_and_lookup) {
    const auto flow =
        Json::parse(R"({"client_id":"meter-7","client":"10.91.0.5:40001","listener":"10.91.0.1:1883",
        "source":"10.92.0.1:10001","broker":"10.92.0.11:1883","broker_name":"b1","state":"active","age_seconds":61.5,
        "idle_seconds":2,"bytes_from_client":2048,"bytes_from_broker":10,"packets_from_client":4,
        "packets_from_broker":1})");
    EXPECT_EQ(
        flows_text(Json::array({flow})),
        "CLIENT ID  CLIENT           LISTENER        BROKER  STATE     AGE  IDLE  FROM CLIENT  FROM BROKER\n"
        "meter-7    10.91.0.5:40001  10.91.0.1:1883  b1      active  1m 1s    2s      2.0 KiB         10 "
        "B\n");
    EXPECT_EQ(flow_text(flow),
              "client id    meter-7\nclient       10.91.0.5:40001\nlistener     10.91.0.1:1883\n"
              "source       10.92.0.1:10001\nbroker       b1 (10.92.0.11:1883)\nstate        active\n"
              "age          1m 1s\nidle         2s\nfrom client  2.0 KiB in 4 packets\nfrom broker  10 B in "
              "1 packets\n");
    EXPECT_EQ(flows_text(Json::array()), "no flows\n");
    EXPECT_EQ(
        lookup_text(Json::parse(R"({"client_id":"c","pool":"main","broker":"b1","address":"10.0.0.1:1",
        "why":"remembered","connected":true})")),
        "client id  c\npool       main\nbroker     b1 (10.0.0.1:1)\nwhy        remembered\nconnected  yes\n");
}

TEST(Print, an_answer_of_another_shape_is_no_crash) {
    for (const auto* odd :
         {"null", "5", "[]", "{}", "\"x\"", "[1]", R"({"connections":5,"interfaces":{"a":1}})"}) {
        const auto json = Json::parse(odd);
        EXPECT_FALSE(status_text(json).empty()) << odd;
        EXPECT_FALSE(brokers_text(json).empty()) << odd;
        EXPECT_FALSE(flows_text(json).empty()) << odd;
        EXPECT_FALSE(flow_text(json).empty()) << odd;
        EXPECT_FALSE(lookup_text(json).empty()) << odd;
        EXPECT_FALSE(reload_text(json).empty()) << odd;
    }
}

TEST(Print, a_bar_fills_the_line_and_says_how_long_it_takes) {
    const auto move =
        Json::parse(R"({"kind":"drain","pool":"main","broker":"b1","state":"running","total":200,
        "ended":100,"left":100,"per_second":50,"eta_seconds":2,"elapsed_seconds":2})");
    EXPECT_EQ(progress_bar(move, 80), "drain b1  [" + std::string(17, '#') + std::string(18, '.') +
                                          "]  50 %  100 of 200, 50/s, 2s left");
    EXPECT_EQ(progress_bar(move, 80).size(), 80U);
    EXPECT_EQ(progress_bar(move, 30), "drain b1  50 %  100 of 200, 50") << "narrow: without a bar";
    EXPECT_EQ(progress_line(move), "drain of main/b1: 100 of 200 ended, 50/s, 2s left");
}

TEST(Print, reload_lists_what_changed) {
    EXPECT_EQ(reload_text(Json::parse(R"({"changed":["pool main: broker b4 added"]})")),
              "pool main: broker b4 added\n");
    EXPECT_EQ(reload_text(Json::parse(R"({"changed":[]})")), "nothing changed\n");
}

}  // namespace
}  // namespace limpet::cli
