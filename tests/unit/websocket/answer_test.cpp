// SPDX-License-Identifier: Apache-2.0
// The server's side of the handshake.
#include <gmock/gmock.h>

#include "heads.h"

namespace limpet::websocket::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Answer answer(const Sketch& sketch, const Rules& rules = {}) {
    return answer_upgrade(request_head(sketch.written()), rules);
}

void expect_accepted(const Sketch& sketch, const Rules& rules = {}) {
    const Answer given = answer(sketch, rules);
    EXPECT_EQ(given.status, 101U) << sketch.written() << refusal_sentence(given.refusal);
    EXPECT_TRUE(given.accepted());
}

/// A refusal in HTTP that a client can read, and that says why.
Answer expect_refused(const Sketch& sketch, Refusal refusal, unsigned status, const Rules& rules = {}) {
    Answer given = answer(sketch, rules);
    SCOPED_TRACE(sketch.written());
    EXPECT_EQ(refusal_sentence(given.refusal), refusal_sentence(refusal));
    EXPECT_EQ(given.status, status);
    EXPECT_EQ(given.subprotocol, "");
    const ResponseHead head = response_head(given.response);
    EXPECT_EQ(head.result_int(), status);
    EXPECT_THAT(std::string(head["Connection"]), HasSubstr("close"));
    const std::string body = std::string(refusal_sentence(refusal)) + "\n";
    EXPECT_EQ(head["Content-Length"], std::to_string(body.size()));
    EXPECT_THAT(given.response, EndsWith("\r\n\r\n" + body));
    return given;
}

TEST(Upgrade, is_answered_with_what_the_rfc_says) {
    const Answer given = answer(Sketch());
    EXPECT_EQ(given.status, 101U);
    EXPECT_EQ(given.path, "/mqtt");
    EXPECT_EQ(given.subprotocol, "mqtt");
    EXPECT_EQ(given.response,
              "HTTP/1.1 101 Switching Protocols\r\n"
              "Upgrade: websocket\r\n"
              "Connection: Upgrade\r\n"
              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
              "Sec-WebSocket-Protocol: mqtt\r\n\r\n");
}

// What python3-paho-mqtt 1.6.1 asked on loopback, and the answer that it took.
TEST(Upgrade, of_paho) {
    const Answer given =
        answer_upgrade(request_head("GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:28911\r\nUpgrade: websocket\r\n"
                                    "Connection: Upgrade\r\nOrigin: https://127.0.0.1:28911\r\n"
                                    "Sec-WebSocket-Key: 1UOx+e5mQkOaMiG4Nm24MQ==\r\n"
                                    "Sec-Websocket-Version: 13\r\nSec-Websocket-Protocol: mqtt\r\n\r\n"),
                       {});
    EXPECT_TRUE(given.accepted());
    EXPECT_THAT(given.response, HasSubstr("\r\nSec-WebSocket-Accept: 0pIzoUV+Am/yw+cAAYI7L6+66dI=\r\n"));
}

TEST(Upgrade, is_known_in_every_form) {
    expect_accepted(
        Sketch().with("Connection", "connection: keep-alive, UPGRADE").with("Upgrade", "UPGRADE: WebSocket"));
    expect_accepted(Sketch().with("Connection", "Connection: keep-alive").plus("Connection: Upgrade"));
    expect_accepted(Sketch().with("Upgrade", "Upgrade: h2c, websocket"));
    expect_accepted(Sketch().plus("Sec-WebSocket-Extensions: permessage-deflate").plus("Content-Length: 0"));
    EXPECT_THAT(answer(Sketch().plus("Sec-WebSocket-Extensions: permessage-deflate")).response,
                Not(HasSubstr("Extensions")));
}

TEST(Upgrade, that_was_not_asked_for_is_required) {
    for (const Sketch& sketch :
         {Sketch().with("Upgrade", ""), Sketch().with("Upgrade", "Upgrade: h2c"),
          Sketch().with("Connection", ""), Sketch().with("Connection", "Connection: close"),
          Sketch().with("Connection", "Connection: xUpgrade"), Sketch{.line = "GET /mqtt HTTP/1.0"}}) {
        const ResponseHead head = response_head(expect_refused(sketch, Refusal::not_upgrade, 426).response);
        EXPECT_EQ(head["Upgrade"], "websocket");
        EXPECT_EQ(head["Connection"], "upgrade, close");
    }
}

TEST(Upgrade, to_another_version_is_answered_with_ours) {
    for (const Sketch& sketch : {Sketch().with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
                                 Sketch().with("Sec-WebSocket-Version", ""),
                                 Sketch().with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"),
                                 Sketch().plus("Sec-WebSocket-Version: 13")})
        EXPECT_EQ(
            response_head(expect_refused(sketch, Refusal::version, 426).response)["Sec-WebSocket-Version"],
            "13");
}

TEST(Upgrade, with_another_method_is_not_allowed) {
    for (const char* line :
         {"POST /mqtt HTTP/1.1", "OPTIONS /mqtt HTTP/1.1", "get /mqtt HTTP/1.1", "BREW /mqtt HTTP/1.1"})
        EXPECT_EQ(response_head(expect_refused({.line = line}, Refusal::method, 405).response)["Allow"],
                  "GET");
}

TEST(Upgrade, asked_for_with_head_is_refused_without_a_body) {
    const Answer given = answer({.line = "HEAD /mqtt HTTP/1.1"});
    EXPECT_EQ(given.status, 405U);
    EXPECT_THAT(given.response, EndsWith("\r\n\r\n"));
    EXPECT_NE(response_head(given.response)["Content-Length"], "0");
}

TEST(Upgrade, needs_one_right_key) {
    for (const char* key :
         {"", "Sec-WebSocket-Key: ", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ===",
          "Sec-WebSocket-Key: dGhlIHNhbXBs-SBub25jZQ==", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==AA=="})
        expect_refused(Sketch().with("Sec-WebSocket-Key", key), Refusal::key, 400);
    expect_refused(Sketch().plus("Sec-WebSocket-Key: " + std::string(sample_key)), Refusal::key, 400);
}

TEST(Upgrade, needs_one_host_and_no_body) {
    expect_refused(Sketch().with("Host", ""), Refusal::host, 400);
    expect_refused(Sketch().plus("Host: two"), Refusal::host, 400);
    expect_refused(Sketch().plus("Content-Length: 5"), Refusal::body, 400);
    expect_refused(Sketch().plus("Content-Length: 99999999999"), Refusal::body, 400);
    expect_refused(Sketch().plus("Transfer-Encoding: chunked"), Refusal::body, 400);
}

TEST(Paths, are_compared_without_the_query) {
    const Rules rules{.paths = {"/mqtt", "/ws"}, .origins = {}, .headers = {}};
    for (const char* target :
         {"/mqtt", "/ws", "/mqtt?a=b", "/mqtt?", "http://x/mqtt", "HTTPS://x:1/ws?a", "ws://x/mqtt"})
        expect_accepted({.line = std::string("GET ") + target + " HTTP/1.1"}, rules);
    for (const char* target :
         {"/", "/mqtt/", "/MQTT", "/mqt", "/%6dqtt", "//mqtt", "/?/mqtt", "http://mqtt", "mqtt", "*"})
        expect_refused({.line = std::string("GET ") + target + " HTTP/1.1"}, Refusal::path, 404, rules);
    EXPECT_EQ(answer({.line = "GET http://x HTTP/1.1"}).path, "/");
    EXPECT_EQ(answer({.line = "GET http://x?/a HTTP/1.1"}).path, "/");
    EXPECT_EQ(answer({.line = "GET /a/b?c HTTP/1.1"}).path, "/a/b");
    expect_refused({.line = "GET * HTTP/1.1"}, Refusal::path, 404);
    // What is not there is not there for anybody.
    expect_refused({.line = "POST /other HTTP/1.1", .headers = {}}, Refusal::path, 404, rules);
}

TEST(Origins, of_browsers_must_be_listed) {
    const Rules rules{.paths = {}, .origins = {"https://app.example.com", "null"}, .headers = {}};
    expect_accepted(Sketch(), rules);
    expect_accepted(Sketch().plus("Origin: https://app.example.com"), rules);
    expect_accepted(Sketch().plus("Origin: https://APP.example.com"), rules);
    expect_accepted(Sketch().plus("Origin: null"), rules);
    for (const char* origin :
         {"http://app.example.com", "https://app.example.com.evil", "https://app.example.com:8443", ""})
        expect_refused(Sketch().plus(std::string("Origin: ") + origin), Refusal::origin, 403, rules);
    expect_refused(Sketch().plus("Origin: https://app.example.com").plus("Origin: null"), Refusal::origin,
                   403, rules);
    expect_accepted(Sketch().plus("Origin: https://any.example"));
}

TEST(Headers, that_are_required_must_be_there) {
    const Rules rules{.paths = {}, .origins = {}, .headers = {{"X-Token", "s3cret"}, {"origin", ""}}};
    expect_accepted(Sketch().plus("x-token: s3cret").plus("Origin: any"), rules);
    expect_accepted(Sketch().plus("X-Token: other").plus("X-Token: s3cret").plus("Origin: any"), rules);
    expect_refused(Sketch().plus("X-Token: S3cret").plus("Origin: any"), Refusal::header, 403, rules);
    expect_refused(Sketch().plus("Origin: any"), Refusal::header, 403, rules);
    expect_refused(Sketch().plus("X-Token: s3cret"), Refusal::header, 403, rules);
}

TEST(Subprotocols, the_first_that_we_know_is_chosen) {
    const auto chosen = [](const std::string& offered) {
        return answer(Sketch().with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: " + offered))
            .subprotocol;
    };
    EXPECT_EQ(chosen("mqtt"), "mqtt");
    EXPECT_EQ(chosen("mqttv3.1"), "mqttv3.1");
    EXPECT_EQ(chosen("mqttv3.1, mqtt"), "mqttv3.1");
    EXPECT_EQ(chosen("amqp ,mqtt,mqttv3.1"), "mqtt");
    EXPECT_EQ(answer(Sketch()
                         .with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: amqp")
                         .plus("sec-websocket-protocol: mqtt"))
                  .subprotocol,
              "mqtt");
    for (const char* header : {"", "Sec-WebSocket-Protocol: amqp", "Sec-WebSocket-Protocol: MQTT",
                               "Sec-WebSocket-Protocol: mqttv3.11", "Sec-WebSocket-Protocol: "})
        expect_refused(Sketch().with("Sec-WebSocket-Protocol", header), Refusal::subprotocol, 400);
}

TEST(BytesThatAreNoRequest, are_answered_where_somebody_understands) {
    EXPECT_EQ(answer_fault(HeadFault::malformed).status, 400U);
    EXPECT_THAT(answer_fault(HeadFault::malformed).response, StartsWith("HTTP/1.1 400 "));
    EXPECT_EQ(answer_fault(HeadFault::too_large).status, 431U);
    EXPECT_THAT(answer_fault(HeadFault::too_large).response, StartsWith("HTTP/1.1 431 "));
    EXPECT_EQ(answer_fault(HeadFault::not_http).refusal, Refusal::not_http);
    EXPECT_EQ(answer_fault(HeadFault::not_http).response, "");
}

}  // namespace
}  // namespace limpet::websocket::test
