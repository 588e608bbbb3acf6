// SPDX-License-Identifier: Apache-2.0
#include "heads.h"

namespace limpet::websocket::test {
namespace {

using namespace std::string_literals;

TEST(RequestHeads, end_with_the_empty_line_and_not_before) {
    const std::string bytes = Sketch().written();
    const RequestHead head = request_head(bytes);
    EXPECT_EQ(head.method(), http::verb::get);
    EXPECT_EQ(head.target(), "/mqtt");
    const auto behind = read_head<RequestReader>(bytes + "\x82\x80 frames\r\n\r\n", 8192, bytes.size());
    EXPECT_EQ(behind.consumed(), bytes.size());
    request_head("GET / HTTP/1.0\r\n\r\n");
    request_head("GET / HTTP/1.1\r\nA: one\r\n two\r\n\r\n");
}

TEST(RequestHeads, of_peers_that_speak_something_else_are_known_at_once) {
    const auto not_http = [](const std::string& bytes, std::size_t decided) {
        EXPECT_EQ(read_head<RequestReader>(bytes, 8192, decided).fault(), HeadFault::not_http) << bytes;
    };
    not_http("\x10\x0c\0\4MQTT\4\2\0\x3c\0\0"s, 1);
    not_http("\x16\3\1\2\0\1"s, 1);
    not_http("\r\n\r\n\0\r\nQUIT\n"s, 1);
    not_http(" GET / HTTP/1.1\r\n\r\n", 1);
    not_http("GE\tT", 3);
    not_http("SSH-2.0-x\r\n", 10);
    not_http("GET\r\n\r\n", 4);
}

TEST(RequestHeads, must_end_within_the_maximum) {
    const std::string bytes = Sketch().written();
    EXPECT_EQ(read_head<RequestReader>(bytes, bytes.size()).status(), Status::complete);
    const auto large = read_head<RequestReader>(bytes, bytes.size() - 1, bytes.size() - 1);
    EXPECT_EQ(large.fault(), HeadFault::too_large);
    EXPECT_EQ(read_head<RequestReader>(std::string(300, 'A'), 100, 100).fault(), HeadFault::too_large);
    EXPECT_EQ(read_head<RequestReader>("GET / HTTP/1.1\r\nA: "s + std::string(300, 'x'), 100, 100).fault(),
              HeadFault::too_large);
}

TEST(RequestHeads, that_are_malformed_say_why) {
    for (const std::string& bytes :
         {"GET / HTTP/2.0\r\n\r\n"s, "GET /\r\n\r\n"s, "GET  / HTTP/1.1\r\n\r\n"s,
          "GET / HTTP/1.1\r\nA B: c\r\n\r\n"s, "GET / HTTP/1.1\r\nA : c\r\n\r\n"s,
          "GET / HTTP/1.1\r\nno colon\r\n\r\n"s, "GET / HTTP/1.1\r\nA: \0\r\n\r\n"s,
          "GET / HTTP/1.1\nA: b\r\n\r\n"s,
          "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"s,
          "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"s, "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n\r\n"s}) {
        const auto reader = read_head<RequestReader>(bytes, 8192, bytes.size());
        EXPECT_EQ(reader.fault(), HeadFault::malformed) << bytes;
        EXPECT_FALSE(reader.detail().empty());
        EXPECT_EQ(reader.consumed(), 0U);
    }
}

TEST(ResponseHeads, are_read_the_same_way) {
    EXPECT_EQ(response_head("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").result_int(),
              101U);
    EXPECT_EQ(response_head("HTTP/1.1 403 Forbidden\r\nContent-Length: 99999999999\r\n\r\n").result_int(),
              403U);
    EXPECT_EQ(response_head("HTTP/1.0 500 \r\n\r\nbody\r\n\r\n").result_int(), 500U);
    EXPECT_EQ(read_head<ResponseReader>("\x20\2\0\0"s, 8192, 1).fault(), HeadFault::not_http);
    EXPECT_EQ(read_head<ResponseReader>("HTTP/2 200\r\n\r\n", 8192, 6).fault(), HeadFault::not_http);
    EXPECT_EQ(read_head<ResponseReader>("HTTP/1.1 1x1 No\r\n\r\n", 8192).fault(), HeadFault::malformed);
}

}  // namespace
}  // namespace limpet::websocket::test
