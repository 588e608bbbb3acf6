// SPDX-License-Identifier: Apache-2.0
// Who is turned away before a broker is asked, with which bytes, and under which name.
#include <gtest/gtest.h>

#include "harness.h"

namespace limpet::session::test {
namespace {

struct Wrong {
    const char* name;
    Bytes first;    ///< what the client sends
    Bytes refusal;  ///< all that it must read, before the end of the stream
    Reason reason;
};

class WrongFirstBytes : public testing::TestWithParam<Wrong> {};

TEST_P(WrongFirstBytes, are_refused_in_words_and_counted_by_name) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, {.max_connect_size = 1024});
    const auto client = gateway.client();
    client.send(GetParam().first);
    EXPECT_EQ(client.receive_all(), GetParam().refusal) << "the client reads why it is refused, then the end";
    EXPECT_EQ(gateway.counted(GetParam().reason), 1u) << "the reason is counted under its name";
    client.finish_sending();
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); })) << "nothing is left of the connection";
    EXPECT_EQ(broker.connections(), 0) << "no broker is troubled with it";
}

// MQTT-3.1.1 3.1: fixed header, name, level, flags, keep-alive, then the client id.
const Bytes level_2 = {0x10, 0x0d, 0, 4, 'M', 'Q', 'T', 'T', 2, 2, 0, 60, 0, 1, 'a'};
const Bytes level_6 = {0x10, 0x0d, 0, 4, 'M', 'Q', 'T', 'T', 6, 2, 0, 60, 0, 1, 'a'};
const Bytes reserved_flag = {0x10, 0x0d, 0, 4, 'M', 'Q', 'T', 'T', 4, 3, 0, 60, 0, 1, 'a'};
const Bytes reserved_flag_5 = {0x10, 0x0e, 0, 4, 'M', 'Q', 'T', 'T', 5, 3, 0, 60, 0, 0, 1, 'a'};
const Bytes empty_id_kept_session = {0x10, 0x0c, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 60, 0, 0};
const Bytes large_311 = {0x10, 0xff, 0x7f, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0x3f, 0xf0};
const Bytes large_5 = {0x10, 0xff, 0x7f, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0x3f, 0xf0};

INSTANTIATE_TEST_SUITE_P(
    all, WrongFirstBytes,
    testing::Values(
        Wrong{"version_2", level_2, {0x20, 0x02, 0x00, 0x01}, LIMPET_REASON_CLOSE_VERSION},
        Wrong{"version_6", level_6, {0x20, 0x03, 0x00, 0x84, 0x00}, LIMPET_REASON_CLOSE_VERSION},
        Wrong{"malformed_311", reserved_flag, {}, LIMPET_REASON_CLOSE_MALFORMED},
        Wrong{"malformed_5", reserved_flag_5, {0x20, 0x03, 0x00, 0x81, 0x00}, LIMPET_REASON_CLOSE_MALFORMED},
        Wrong{"empty_id", empty_id_kept_session, {0x20, 0x02, 0x00, 0x02}, LIMPET_REASON_CLOSE_EMPTY_ID},
        Wrong{"too_large_311", large_311, {}, LIMPET_REASON_CLOSE_TOO_LARGE},
        Wrong{"too_large_5", large_5, {0x20, 0x03, 0x00, 0x95, 0x00}, LIMPET_REASON_CLOSE_TOO_LARGE},
        Wrong{"tls", {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, {}, LIMPET_REASON_CLOSE_TLS},
        Wrong{"http", bytes("GET / HTTP/1.1\r\n\r\n"), {}, LIMPET_REASON_CLOSE_HTTP},
        Wrong{"proxy_v1", bytes("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), {}, LIMPET_REASON_CLOSE_PROXY_V1},
        Wrong{"proxy_v2",
              bytes("\r\n\r\n") + Bytes{0} + bytes("\r\nQUIT\n!\x11"),
              {},
              LIMPET_REASON_CLOSE_PROXY_V2},
        Wrong{"ssh", bytes("SSH-2.0-OpenSSH_9.2\r\n"), {}, LIMPET_REASON_CLOSE_SSH},
        Wrong{"smtp", bytes("EHLO example.org\r\n"), {}, LIMPET_REASON_CLOSE_SMTP},
        Wrong{"not_mqtt", {0x30, 2, 0, 0}, {}, LIMPET_REASON_CLOSE_NOT_MQTT}),
    [](const auto& row) { return row.param.name; });

TEST(refusal, is_read_although_the_client_goes_on_sending) {
    Gateway gateway({nobody()}, {.max_connect_size = 1024});
    const auto client = gateway.client();
    client.send(large_5);
    client.send(Bytes(512 * 1024, 'x'));
    EXPECT_EQ(client.receive(5), (Bytes{0x20, 0x03, 0x00, 0x95, 0x00}))
        << "closing at once would answer the late bytes with RST, which takes the refusal away";
}

TEST(silent_client, is_closed_at_the_connect_timeout) {
    Gateway gateway({nobody()}, {.connect_timeout = std::chrono::milliseconds{150}});
    const auto begin = std::chrono::steady_clock::now();
    const auto client = gateway.client();
    EXPECT_TRUE(client.closed());
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds{140});
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT), 1u);
}

TEST(slow_connect, has_the_same_deadline_however_busily_it_drips) {
    Gateway gateway({nobody()}, {.connect_timeout = std::chrono::milliseconds{200}});
    const auto client = gateway.client();
    const auto packet = connect_packet(std::string(60000, 'i'));
    const auto begin = std::chrono::steady_clock::now();
    std::size_t sent = 0;
    while (sent < packet.size() && gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT) == 0 &&
           std::chrono::steady_clock::now() - begin < patience) {
        client.send({packet[sent++]});
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT), 1u)
        << "each byte must not renew the deadline";
    EXPECT_LT(sent, packet.size());
}

TEST(client_that_leaves_before_connect, is_counted_and_forgotten) {
    Gateway gateway({nobody()});
    auto client = gateway.client();
    client.send(Bytes{0x10});
    client.close();
    EXPECT_TRUE(eventually([&] { return gateway.counted(LIMPET_REASON_CLOSE_CLIENT_GONE) == 1; }));
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

}  // namespace
}  // namespace limpet::session::test
