// SPDX-License-Identifier: Apache-2.0
#include "cli/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

namespace limpet::cli {
namespace {

using nlohmann::json;
using namespace std::string_literals;

struct Outcome {
    int status;
    json printed;
    std::string text;
    std::string left;  ///< of the input
};

Outcome run(const std::string& input, bool hex) {
    std::istringstream in(input);
    std::ostringstream out;
    Outcome outcome{decode(in, out, hex), {}, out.str(), {}};
    if (!outcome.text.empty()) outcome.printed = json::parse(outcome.text);
    in.clear();
    outcome.left.assign(std::istreambuf_iterator<char>(in), {});
    return outcome;
}

const std::string plain = "100e 00044d515454 04 02 003c 0002 6964";

TEST(Decode, a_complete_connect_is_printed_with_every_field) {
    const auto [status, printed, text, left] = run(plain, true);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << "one object, one line";
    EXPECT_EQ(printed["status"], "complete");
    EXPECT_TRUE(printed["reason"].is_null());
    EXPECT_TRUE(printed["detail"].is_null());
    EXPECT_EQ(printed["consumed"], 16);
    const json& packet = printed["packet"];
    EXPECT_EQ(packet["type"], "connect");
    EXPECT_EQ(packet["protocol_name"], "MQTT");
    EXPECT_EQ(packet["protocol_level"], 4);
    EXPECT_EQ(packet["bridge"], false);
    EXPECT_EQ(packet["clean_session"], true);
    EXPECT_EQ(packet["clean_start"], true);
    EXPECT_EQ(packet["keep_alive"], 60);
    EXPECT_EQ(packet["client_identifier"], "id");
    EXPECT_EQ(packet["client_id"], "id");
    EXPECT_EQ(packet["will_flag"], false);
    for (const char* absent : {"will", "will_topic", "user_name", "username", "password", "password_hex"})
        EXPECT_TRUE(packet.at(absent).is_null()) << absent;
    EXPECT_EQ(packet["properties"], json::object());
}

TEST(Decode, will_credentials_and_properties_have_their_names) {
    const std::string properties =
        "1100000009"       // session expiry interval 9
        "210005"           // receive maximum 5
        "1500016d"         // authentication method "m"
        "1600026400"       // authentication data "d", NUL
        "2600016b000176";  // user property k: v
    const std::string body = "00044d515454 05 ee 000a 18" + properties +
                             "00026964"
                             "05 1800000007 000174 0002ff00"  // will: delay 7, topic, binary payload
                             "000175 0003fe0061";             // user name, binary password
    const auto [status, printed, text, left] = run("103c" + body, true);
    ASSERT_EQ(status, 0) << text;
    const json& packet = printed["packet"];
    EXPECT_EQ(packet["protocol_level"], 5);
    EXPECT_EQ(packet["will"]["topic"], "t");
    EXPECT_TRUE(packet["will"]["payload"].is_null()) << "not text";
    EXPECT_EQ(packet["will"]["payload_hex"], "ff00");
    EXPECT_EQ(packet["will"]["qos"], 1);
    EXPECT_EQ(packet["will"]["retain"], true);
    EXPECT_EQ(packet["will"]["properties"]["will_delay_interval"], 7);
    EXPECT_EQ(packet["will_topic"], "t");
    EXPECT_EQ(packet["will_qos"], 1);
    EXPECT_EQ(packet["will_retain"], true);
    EXPECT_EQ(packet["user_name"], "u");
    EXPECT_EQ(packet["username"], "u");
    EXPECT_TRUE(packet["password"].is_null());
    EXPECT_EQ(packet["password_hex"], "fe0061");
    EXPECT_EQ(packet["will_properties"]["will_delay_interval"], 7);
    EXPECT_EQ(packet["will_payload_hex"], "ff00") << "as MQTT 5 calls it";
    EXPECT_EQ(packet["will_message_hex"], "ff00") << "as 3.1.1 calls it";
    const json pairs = json::array({json::array({"k", "v"})});
    const json want = {{"session_expiry_interval", 9},      {"receive_maximum", 5},
                       {"authentication_method", "m"},      {"authentication_data", "d\0"s},
                       {"authentication_data_hex", "6400"}, {"user_property", pairs},
                       {"user_properties", pairs}};
    EXPECT_EQ(packet["properties"], want) << "only those that are there";
}

TEST(Decode, a_bridge_has_its_level_without_the_bit) {
    const auto outcome = run("1010 0006 4d5149736470 83 02 003c 0002 6964", true);
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.printed["packet"]["protocol_level"], 3);
    EXPECT_EQ(outcome.printed["packet"]["protocol_name"], "MQIsdp");
    EXPECT_EQ(outcome.printed["packet"]["bridge"], true);
}

TEST(Decode, connack_is_told_apart_by_its_length) {
    const auto old = run("20020105", true);
    EXPECT_EQ(old.status, 1);
    EXPECT_EQ(old.printed["detail"], "session present in a refusal (MQTT-3.2.2-4)");
    const auto three = run("20020003", true).printed["packet"];
    EXPECT_EQ(three["type"], "connack");
    EXPECT_EQ(three["return_code"], 3);
    EXPECT_EQ(three["connect_return_code"], 3);
    EXPECT_FALSE(three.contains("reason_code"));
    EXPECT_EQ(run("20020100", true).printed["packet"]["session_present"], true);
    EXPECT_EQ(run("20020001", true).printed["packet"]["return_code"], 1);
    const auto five = run("200c 00 00 09 12 0003 616263 13 001e", true);
    EXPECT_EQ(five.status, 0) << five.text;
    EXPECT_EQ(five.printed["packet"]["reason_code"], 0);
    EXPECT_EQ(five.printed["packet"]["connect_reason_code"], 0);
    EXPECT_FALSE(five.printed["packet"].contains("return_code"));
    EXPECT_EQ(five.printed["packet"]["properties"]["assigned_client_identifier"], "abc");
    EXPECT_EQ(five.printed["packet"]["properties"]["server_keep_alive"], 30);
    EXPECT_EQ(run("20", true).status, 3);
    EXPECT_EQ(run("2002", true).status, 3);
    EXPECT_EQ(run("2003 00 00", true).status, 3);
    EXPECT_EQ(run("2000", true).printed["reason"], "broker_protocol");
    EXPECT_EQ(run("200300880100", true).status, 1);
}

TEST(Decode, a_prefix_is_incomplete_with_status_3) {
    std::string digits;
    for (const char character : plain)
        if (character != ' ') digits += character;
    for (std::size_t length = 0; length < digits.size(); length += 2) {
        const auto outcome = run(digits.substr(0, length), true);
        EXPECT_EQ(outcome.status, 3) << length;
        EXPECT_EQ(outcome.printed["status"], "incomplete");
        EXPECT_EQ(outcome.printed["consumed"], 0);
        EXPECT_TRUE(outcome.printed["packet"].is_null());
        EXPECT_TRUE(outcome.printed["reason"].is_null());
    }
}

TEST(Decode, what_is_no_mqtt_is_invalid_with_the_published_reason) {
    const auto http = run("GET / HTTP/1.1\r\n\r\n", false);
    EXPECT_EQ(http.status, 1);
    EXPECT_EQ(http.printed["status"], "invalid");
    EXPECT_EQ(http.printed["reason"], "close_http");
    EXPECT_FALSE(http.printed["detail"].get<std::string>().empty());
    EXPECT_TRUE(http.printed["packet"].is_null());
    EXPECT_EQ(run("\x16\x03\x01", false).printed["reason"], "close_tls_client_hello");
    EXPECT_EQ(run("300400017400", true).printed["reason"], "close_not_mqtt");
    EXPECT_EQ(run("100c 00044d515454 04 00 003c 0000", true).printed["reason"], "close_client_id_rejected");
}

TEST(Decode, raw_bytes_are_read_to_the_end_of_the_packet_and_no_further) {
    const std::string packet = "\x10\x0e\0\4MQTT\4\2\0\x3c\0\2id"s;
    const auto outcome = run(packet + "\x30\x02next"s, false);
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.printed["consumed"], packet.size());
    EXPECT_EQ(outcome.left, "\x30\x02next"s) << "what follows is somebody else's";
    // Remaining length 10 + 2 + 65535.
    const std::string big = "\x10\x8b\x80\x04\0\4MQTT\4\2\0\x3c\xff\xff"s + std::string(65535, 'x');
    const auto large = run(big + "tail", false);
    EXPECT_EQ(large.status, 0) << large.printed["detail"];
    EXPECT_EQ(large.printed["packet"]["client_id"].get<std::string>().size(), 65535u);
    EXPECT_EQ(large.left, "tail");
}

TEST(Decode, hex_may_be_spaced_prefixed_and_in_either_case) {
    for (const std::string& text :
         {"0x100E00044D5154540402003C00026964"s, "0x10 0x0e 0x00 0x04 4d 51 54 54 04 02 00 3c 00 02 69 64\n"s,
          "\t1 0\r\n0 e 00044d5154540402003c00026964 ffff"s}) {
        const auto outcome = run(text, true);
        EXPECT_EQ(outcome.status, 0) << text;
        EXPECT_EQ(outcome.printed["consumed"], 16);
    }
}

TEST(Decode, bad_hex_is_an_error_in_one_line_and_prints_nothing) {
    for (const std::string& text : {"10 0g"s, "1"s, "10 0"s, "x10"s, "10,0e"s, "100x0e"s, "1 0x0"s}) {
        testing::internal::CaptureStderr();
        const auto outcome = run(text, true);
        const std::string said = testing::internal::GetCapturedStderr();
        EXPECT_EQ(outcome.status, 1) << text;
        EXPECT_EQ(outcome.text, "") << text;
        EXPECT_EQ(said.find("limpet: "), 0u) << said;
        EXPECT_NE(said.find(": ", 8), std::string::npos) << "what is wrong: what to do";
        EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1);
    }
}

}  // namespace
}  // namespace limpet::cli
