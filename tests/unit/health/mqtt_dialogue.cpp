// SPDX-License-Identifier: Apache-2.0
#include "health/mqtt_dialogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace limpet::health {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = MqttDialogue::State;
using Raw = std::vector<std::uint8_t>;

mqtt::Connect connect_of(MqttDialogue& dialogue) {
    const auto bytes = dialogue.take_output();
    auto parsed = mqtt::parse_connect(bytes, 65536);
    EXPECT_EQ(parsed.status, mqtt::Status::complete);
    EXPECT_EQ(parsed.consumed, bytes.size()) << "nothing is sent before CONNACK";
    return parsed.packet;
}

Raw connack(std::uint8_t code, mqtt::Version version = mqtt::Version::v311) {
    mqtt::Connack packet;
    packet.code = code;
    return mqtt::write_connack(packet, version);
}

TEST(MqttDialogue, is_a_whole_session_in_order) {
    for (const auto version : {mqtt::Version::v31, mqtt::Version::v311, mqtt::Version::v5}) {
        MqttDialogue dialogue({.version = version}, "limpet-1");
        const auto connect = connect_of(dialogue);
        EXPECT_EQ(connect.version, version);
        EXPECT_EQ(connect.client_id, "limpet-1");
        EXPECT_TRUE(connect.clean_start);
        dialogue.hear(connack(0, version));
        EXPECT_THAT(dialogue.take_output(), ElementsAre(0xC0, 0));
        EXPECT_EQ(dialogue.state(), State::going_on) << "CONNACK alone is not enough";
        dialogue.hear(Raw{0xD0, 0});
        EXPECT_EQ(dialogue.state(), State::passed);
        EXPECT_THAT(dialogue.take_output(), ElementsAre(0xE0, 0)) << "it takes its leave";
    }
}

TEST(MqttDialogue, says_what_the_configuration_says) {
    MqttDialogue dialogue({.client_id = "probe", .username = "joe", .password = "secret"}, "limpet-1");
    const auto connect = connect_of(dialogue);
    EXPECT_EQ(connect.client_id, "probe");
    EXPECT_EQ(connect.user_name, "joe");
    EXPECT_EQ(connect.password, (Raw{'s', 'e', 'c', 'r', 'e', 't'}));
}

TEST(MqttDialogue, hears_byte_by_byte_as_well) {
    MqttDialogue dialogue({}, "limpet-1");
    auto bytes = connack(0);
    bytes.insert(bytes.end(), {0x30, 3, 0, 1, 'x', 0xD0, 0});  // some brokers publish to everybody
    for (const auto byte : bytes) {
        EXPECT_EQ(dialogue.state(), State::going_on);
        dialogue.hear(Raw{byte});
    }
    EXPECT_EQ(dialogue.state(), State::passed);
}

TEST(MqttDialogue, fails_on_a_refusal_and_names_the_code) {
    MqttDialogue dialogue({}, "limpet-1");
    dialogue.hear(connack(3));
    EXPECT_EQ(dialogue.state(), State::failed);
    EXPECT_THAT(dialogue.explanation(), HasSubstr("0x03"));
}

TEST(MqttDialogue, takes_a_broker_for_well_that_wants_to_know_who_asks) {
    for (const auto& [version, code] :
         {std::pair(mqtt::Version::v311, 5), std::pair(mqtt::Version::v311, 4),
          std::pair(mqtt::Version::v5, 0x86), std::pair(mqtt::Version::v5, 0x87)}) {
        const auto answer = connack(static_cast<std::uint8_t>(code), version);
        MqttDialogue anonymous({.version = version}, "limpet-1");
        anonymous.hear(answer);
        EXPECT_EQ(anonymous.state(), State::passed) << code;
        MqttDialogue named({.version = version, .username = "joe"}, "limpet-1");
        named.hear(answer);
        EXPECT_EQ(named.state(), State::failed) << "its name and password were to be right: " << code;
    }
}

TEST(MqttDialogue, fails_on_what_is_no_mqtt) {
    MqttDialogue http({}, "limpet-1");
    http.hear(as_bytes("HTTP/1.1 400 Bad Request\r\n"));
    EXPECT_EQ(http.state(), State::failed);
    MqttDialogue late({}, "limpet-1");
    late.hear(connack(0));
    late.hear(Raw{0x20, 2, 0, 0});
    EXPECT_EQ(late.state(), State::failed) << "a second CONNACK is no PINGRESP";
    MqttDialogue endless({}, "limpet-1");
    endless.hear(Raw{0x20, 0xFF, 0xFF, 0xFF, 0x7F});
    EXPECT_EQ(endless.state(), State::failed) << "it is not waited for 256 MiB";
}

TEST(MqttDialogue, says_what_is_missing_while_it_waits) {
    MqttDialogue dialogue({}, "limpet-1");
    EXPECT_EQ(dialogue.explanation(), "no CONNACK");
    dialogue.hear(connack(0));
    EXPECT_EQ(dialogue.explanation(), "no PINGRESP");
}

}  // namespace
}  // namespace limpet::health
