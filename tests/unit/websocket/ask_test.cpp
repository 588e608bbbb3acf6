// SPDX-License-Identifier: Apache-2.0
// The client's side of the handshake.
#include "heads.h"

namespace limpet::websocket::test {
namespace {

UpgradeRequest sample() {
    UpgradeRequest request;
    request.host = "10.92.0.11:8083";
    request.key = sample_key;
    return request;
}

std::string response(std::string_view accept = sample_accept, std::string_view subprotocol = "mqtt",
                     std::string_view more = "") {
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
           "Upgrade\r\nSec-WebSocket-Accept: " +
           std::string(accept) + "\r\nSec-WebSocket-Protocol: " + std::string(subprotocol) + "\r\n" +
           std::string(more) + "\r\n";
}

ResponseFault judged(const std::string& bytes, const UpgradeRequest& request = sample()) {
    return judge_response(response_head(bytes), request);
}

TEST(Keys, are_those_of_the_rfc) {
    std::array<std::uint8_t, 16> nonce{};
    std::ranges::copy(std::string_view("the sample nonce"), nonce.begin());
    EXPECT_EQ(make_key(nonce), sample_key);
    EXPECT_EQ(accept_of(sample_key), sample_accept);
}

TEST(Ask, writes_what_the_rfc_says) {
    EXPECT_EQ(write_request(sample()),
              "GET /mqtt HTTP/1.1\r\n"
              "Host: 10.92.0.11:8083\r\n"
              "Upgrade: websocket\r\n"
              "Connection: Upgrade\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
              "Sec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Protocol: mqtt\r\n\r\n");
}

TEST(Ask, is_accepted_by_our_own_server) {
    for (const char* subprotocol : {"mqtt", "mqttv3.1"}) {
        UpgradeRequest request = sample();
        request.subprotocol = subprotocol;
        request.path = "/mqtt?tenant=1";
        request.headers = {{"Origin", "https://app.example.com"}, {"X-Forwarded-For", "192.0.2.1"}};
        const auto written = write_request(request);
        ASSERT_TRUE(written) << written.error().line();
        const Answer answer =
            answer_upgrade(request_head(*written), {.paths = {"/mqtt"},
                                                    .origins = {"https://app.example.com"},
                                                    .headers = {{"X-Forwarded-For", "192.0.2.1"}}});
        EXPECT_EQ(answer.subprotocol, subprotocol);
        EXPECT_EQ(judged(answer.response, request), ResponseFault::none);
    }
}

TEST(Ask, lets_nothing_break_out_of_its_line) {
    const auto fails = [](auto change) {
        UpgradeRequest request = sample();
        change(request);
        EXPECT_FALSE(write_request(request));
    };
    fails([](UpgradeRequest& r) { r.host = ""; });
    fails([](UpgradeRequest& r) { r.host = "a\r\nX: b"; });
    fails([](UpgradeRequest& r) { r.path = ""; });
    fails([](UpgradeRequest& r) { r.path = "mqtt"; });
    fails([](UpgradeRequest& r) { r.path = "/a b"; });
    fails([](UpgradeRequest& r) { r.path = "/a\r\n"; });
    fails([](UpgradeRequest& r) { r.subprotocol = "mqtt\n"; });
    fails([](UpgradeRequest& r) { r.key = "k\r"; });
    fails([](UpgradeRequest& r) { r.headers = {{"", "b"}}; });
    fails([](UpgradeRequest& r) { r.headers = {{"A b", "c"}}; });
    fails([](UpgradeRequest& r) { r.headers = {{"A:", "c"}}; });
    fails([](UpgradeRequest& r) { r.headers = {{"A", "b\r\nC: d"}}; });
}

TEST(Response, is_judged) {
    EXPECT_EQ(judged(response()), ResponseFault::none);
    EXPECT_EQ(judged(response(sample_accept, "mqtt", "Server: x\r\nConnection: keep-alive\r\n")),
              ResponseFault::none);
    EXPECT_EQ(judged("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), ResponseFault::status);
    EXPECT_EQ(judged("HTTP/1.1 200 OK\r\nUpgrade: websocket\r\n\r\n"), ResponseFault::status);
    EXPECT_EQ(judged("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"),
              ResponseFault::upgrade);
    EXPECT_EQ(judged("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
              ResponseFault::upgrade);
    EXPECT_EQ(judged(response("AAAALMBiTxaQ9kYGzzhZRbK+xOo=")), ResponseFault::accept);
    EXPECT_EQ(judged(response("")), ResponseFault::accept);
    EXPECT_EQ(judged(response(sample_accept, "mqtt", "Sec-WebSocket-Accept: x\r\n")), ResponseFault::accept);
    EXPECT_EQ(judged(response(sample_accept, "mqtt", "Sec-WebSocket-Extensions: permessage-deflate\r\n")),
              ResponseFault::extensions);
    EXPECT_EQ(judged(response(sample_accept, "mqttv3.1")), ResponseFault::subprotocol);
    EXPECT_EQ(judged(response(sample_accept, "")), ResponseFault::subprotocol);
    EXPECT_EQ(judged("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
              ResponseFault::subprotocol);
}

}  // namespace
}  // namespace limpet::websocket::test
