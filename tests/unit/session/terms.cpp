// SPDX-License-Identifier: Apache-2.0
#include "session/terms.h"

#include <gtest/gtest.h>

namespace limpet::session {
namespace {

using std::chrono::seconds;

mqtt::Connect connect_of(mqtt::Version version) {
    mqtt::Connect connect;
    connect.version = version;
    return connect;
}

TEST(session_lifetime, of_311_is_none_or_for_ever) {
    auto connect = connect_of(mqtt::Version::v311);
    EXPECT_EQ(session_lifetime(connect, {}), seconds{0});
    connect.clean_start = false;
    EXPECT_EQ(session_lifetime(connect, {}), for_ever);
}

TEST(session_lifetime, of_5_is_what_the_server_says_else_the_client_else_none) {
    auto connect = connect_of(mqtt::Version::v5);
    mqtt::Connack connack;
    connect.clean_start = false;
    EXPECT_EQ(session_lifetime(connect, connack), seconds{0}) << "absent is 0 (MQTT-5.0 3.1.2.11.2)";
    connect.properties.session_expiry_interval = 100;
    EXPECT_EQ(session_lifetime(connect, connack), seconds{100});
    connack.properties.session_expiry_interval = 30;
    EXPECT_EQ(session_lifetime(connect, connack), seconds{30}) << "the server overrides (MQTT-5.0 3.2.2.3.2)";
    connack.properties.session_expiry_interval = 0xffffffff;
    EXPECT_EQ(session_lifetime(connect, connack), for_ever);
}

TEST(idle_timeout, is_one_and_a_half_keep_alives_and_a_margin) {
    auto connect = connect_of(mqtt::Version::v5);
    mqtt::Connack connack;
    connect.keep_alive = 60;
    EXPECT_EQ(idle_timeout(connect, connack, seconds{0}), seconds{100});
    connect.keep_alive = 1;
    EXPECT_EQ(idle_timeout(connect, connack, seconds{0}), seconds{12}) << "never shorter than 1.5 times";
    connack.properties.server_keep_alive = 20;
    EXPECT_EQ(idle_timeout(connect, connack, seconds{0}), seconds{40}) << "the server overrides";
    connack.properties.server_keep_alive = 0;
    EXPECT_EQ(idle_timeout(connect, connack, seconds{7}), seconds{7}) << "no keep-alive: as configured";
}

TEST(client_id, is_the_assigned_one_only_where_the_client_has_none) {
    auto connect = connect_of(mqtt::Version::v5);
    mqtt::Connack connack;
    EXPECT_EQ(client_id(connect, connack), "");
    connack.properties.assigned_client_identifier = "assigned";
    EXPECT_EQ(client_id(connect, connack), "assigned");
    connect.client_id = "own";
    EXPECT_EQ(client_id(connect, connack), "own");
}

TEST(stick_seconds, keeps_for_ever_apart_from_long) {
    EXPECT_EQ(stick_seconds(for_ever), 0xffffffffu);
    EXPECT_EQ(stick_seconds(seconds{0x1ffffffffLL}), 0xfffffffeu);
    EXPECT_EQ(stick_lifetime(stick_seconds(for_ever)), for_ever);
    EXPECT_EQ(stick_lifetime(stick_seconds(seconds{77})), seconds{77});
}

}  // namespace
}  // namespace limpet::session
