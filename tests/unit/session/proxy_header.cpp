// SPDX-License-Identifier: Apache-2.0
// PROXY headers on both sides: who may send one, whom the broker hears of, and by whose address clients are
// told apart.
#include <gtest/gtest.h>

#include <mutex>

#include "harness.h"
#include "proxy_protocol/header.h"

namespace limpet::session::test {
namespace {

using proxy_protocol::Header;

const std::vector<Network> loopback{*Network::parse("127.0.0.0/8")};
const std::vector<Network> elsewhere{*Network::parse("10.0.0.0/8")};
const Bytes v1_line = bytes("PROXY TCP4 192.0.2.7 198.51.100.1 40000 1883\r\n");

Bytes v2_header(Header header) {
    return proxy_protocol::write_v2(header).value();
}

Header told(std::string_view source = "192.0.2.7:40000") {
    Header header;
    header.addresses = {*Endpoint::parse(source), *Endpoint::parse("198.51.100.1:1883")};
    return header;
}

/// What brokers were told: they read a header, then go on as echo().
class Listening {
  public:
    [[nodiscard]] Broker::Script script() {
        return [this](Socket& socket) {
            Bytes head = socket.receive(16);
            if (head.size() == 16)
                head = head + socket.receive(static_cast<std::size_t>(head[14]) << 8 | head[15]);
            const auto parsed = proxy_protocol::parse_header({head.data(), head.size()});
            {
                const std::lock_guard lock(mutex_);
                headers_.push_back(parsed.header);
                whole_ = whole_ && parsed.status == Status::complete;
            }
            echo(accepted())(socket);
        };
    }
    [[nodiscard]] std::vector<Header> headers() {
        const std::lock_guard lock(mutex_);
        EXPECT_TRUE(whole_) << "a broker must get a whole header in front of everything else";
        return headers_;
    }

  private:
    std::mutex mutex_;
    std::vector<Header> headers_;
    bool whole_ = true;
};

void expect_served(const Socket& client) {
    ASSERT_EQ(client.receive(4), accepted());
    client.send("and on");
    EXPECT_EQ(client.receive(6), bytes("and on"));
}

TEST(proxy_header, tells_the_broker_of_the_client_and_of_where_it_came_to) {
    Listening listening;
    Broker broker(listening.script());
    Gateway gateway({broker.address()}, {.proxy_header = true});
    const auto client = gateway.client();
    client.send(connect_packet("a"));
    expect_served(client);
    const auto headers = listening.headers();
    ASSERT_EQ(headers.size(), 1u);
    ASSERT_TRUE(headers[0].addresses);
    EXPECT_EQ(headers[0].addresses->source, *local_endpoint(client.get()));
    EXPECT_EQ(headers[0].addresses->destination, gateway.address());
    EXPECT_TRUE(headers[0].checksum) << "and the checksum was right, or it would not read";
    ASSERT_TRUE(headers[0].unique_id);
    EXPECT_EQ(headers[0].unique_id->size(), 16u);
}

TEST(proxy_header, has_an_id_for_each_connection) {
    Listening listening;
    Broker broker(listening.script());
    Gateway gateway({broker.address()}, {.proxy_header = true});
    for (const auto* id : {"a", "b"}) {
        const auto client = gateway.client();
        client.send(connect_packet(id));
        expect_served(client);
    }
    const auto headers = listening.headers();
    ASSERT_EQ(headers.size(), 2u);
    EXPECT_NE(headers[0].unique_id, headers[1].unique_id);
}

TEST(proxy_header, comes_first_on_a_tcp_listener_whose_client_says_nothing) {
    Broker broker([](Socket& socket) {
        const auto head = socket.receive(16);
        socket.send(head.size() == 16 ? "greetings" : "nothing");
    });
    Gateway gateway({broker.address()}, {.protocol = Protocol::tcp, .proxy_header = true});
    EXPECT_EQ(gateway.client().receive(9), bytes("greetings"));
}

TEST(proxy_header, goes_to_the_next_broker_too) {
    Listening listening;
    Broker silent_one([](Socket& socket) { static_cast<void>(socket.receive(16)); });
    Broker good(listening.script());
    Gateway gateway({silent_one.address(), good.address()}, {.proxy_header = true});
    for (int turn = 0; turn < 2; ++turn) {
        const auto client = gateway.client();
        client.send(connect_packet("a"));
        expect_served(client);
    }
    EXPECT_EQ(listening.headers().size(), 2u);
    EXPECT_GE(gateway.counted(LIMPET_REASON_BROKER_CLOSED_EARLY), 1u);
}

class TrustedHeader : public testing::TestWithParam<std::pair<const char*, Bytes>> {};

TEST_P(TrustedHeader, may_come_in_any_pieces_and_is_passed_on) {
    Listening listening;
    Broker broker(listening.script());
    Gateway gateway({broker.address()}, {.proxy_from = loopback, .proxy_header = true});
    const auto& header = GetParam().second;
    const auto client = gateway.client();
    for (const auto byte : header) client.send(Bytes{byte});
    client.send(connect_packet("a"));
    expect_served(client);
    const auto whole = gateway.client();
    whole.send(header + connect_packet("b") + bytes("behind"));
    EXPECT_EQ(whole.receive(10), accepted() + bytes("behind"));
    for (const auto& heard : listening.headers()) {
        ASSERT_TRUE(heard.addresses);
        EXPECT_EQ(heard.addresses->source.text(), "192.0.2.7:40000");
        EXPECT_EQ(heard.addresses->destination.text(), "198.51.100.1:1883");
    }
}

INSTANTIATE_TEST_SUITE_P(all, TrustedHeader,
                         testing::Values(std::pair("v1", v1_line), std::pair("v2", v2_header(told()))),
                         [](const auto& row) { return row.param.first; });

TEST(trusted_header, hands_its_vectors_on) {
    Listening listening;
    Broker broker(listening.script());
    Gateway gateway({broker.address()}, {.proxy_from = loopback, .proxy_header = true});
    auto header = told();
    header.authority = "broker.example.org";
    header.alpn = "mqtt";
    header.unique_id = Bytes{1, 2, 3};
    header.tls.emplace().version = "TLSv1.3";
    const auto client = gateway.client();
    client.send(v2_header(header) + connect_packet("a"));
    expect_served(client);
    const auto headers = listening.headers();
    ASSERT_EQ(headers.size(), 1u);
    header.checksum = true;
    EXPECT_EQ(headers[0], header);
}

TEST(trusted_header, of_the_proxys_own_check_leaves_its_own_address) {
    Listening listening;
    Broker broker(listening.script());
    Gateway gateway({broker.address()}, {.proxy_from = loopback, .proxy_header = true});
    Header local;
    local.command = proxy_protocol::Command::local;
    for (const auto& header : {v2_header(local), bytes("PROXY UNKNOWN\r\n")}) {
        const auto client = gateway.client();
        client.send(header + connect_packet("a"));
        expect_served(client);
        EXPECT_EQ(listening.headers().back().addresses->source, *local_endpoint(client.get()));
    }
}

TEST(trusted_header, says_by_which_address_clients_stick) {
    Broker first(echo(accepted()));
    Broker second(echo(accepted()));
    Gateway gateway(
        {first.address(), second.address()},
        {.strategy = balancer::Strategy::sticky, .key = balancer::Key::source_ip, .proxy_from = loopback});
    for (int turn = 0; turn < 6; ++turn) {
        const auto client = gateway.client();
        client.send(v2_header(told()) + connect_packet("id" + std::to_string(turn)));
        expect_served(client);
    }
    EXPECT_EQ(first.connections() * second.connections(), 0) << "one address, one broker";
    EXPECT_TRUE(gateway.pool().connected(gateway.pool().hash_key("192.0.2.7")) ||
                gateway.pool().remembered() == 1u);
}

struct Refused {
    const char* name;
    std::vector<Network> trusted;
    Protocol protocol;
    Bytes first;
    Reason reason;
};

class HeaderThatIsRefused : public testing::TestWithParam<Refused> {};

TEST_P(HeaderThatIsRefused, has_a_name_and_reaches_no_broker) {
    const auto& row = GetParam();
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, {.protocol = row.protocol, .proxy_from = row.trusted});
    const auto client = gateway.client();
    client.send(row.first);
    EXPECT_TRUE(client.closed());
    EXPECT_EQ(gateway.counted(row.reason), 1u);
    EXPECT_EQ(broker.connections(), 0);
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

Bytes with_wrong_checksum() {
    auto header = told();
    header.checksum = true;
    auto written = v2_header(header);
    written[20] ^= 1;  // in an address
    return written;
}

INSTANTIATE_TEST_SUITE_P(
    all, HeaderThatIsRefused,
    testing::Values(
        Refused{"v1_of_a_stranger", elsewhere, Protocol::mqtt, v1_line, LIMPET_REASON_CLOSE_PROXY_UNTRUSTED},
        Refused{"v2_of_a_stranger", elsewhere, Protocol::mqtt, v2_header(told()),
                LIMPET_REASON_CLOSE_PROXY_UNTRUSTED},
        Refused{"stranger_where_nothing_is_read", elsewhere, Protocol::tcp, v2_header(told()),
                LIMPET_REASON_CLOSE_PROXY_UNTRUSTED},
        Refused{"nobody_was_asked", {}, Protocol::mqtt, v2_header(told()), LIMPET_REASON_CLOSE_PROXY_V2},
        Refused{"none_where_one_must_be", loopback, Protocol::mqtt, connect_packet("a"),
                LIMPET_REASON_CLOSE_PROXY_HEADER},
        Refused{"bad_v1", loopback, Protocol::mqtt, bytes("PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n"),
                LIMPET_REASON_CLOSE_PROXY_HEADER},
        Refused{"wrong_checksum", loopback, Protocol::mqtt, with_wrong_checksum(),
                LIMPET_REASON_CLOSE_PROXY_HEADER},
        Refused{"too_long", loopback, Protocol::mqtt,
                bytes("\r\n\r\n") + Bytes{0} + bytes("\r\nQUIT\n!\x11\xff\xff"),
                LIMPET_REASON_CLOSE_PROXY_HEADER}),
    [](const auto& row) { return row.param.name; });

TEST(stranger_without_a_header, is_served_where_proxies_may_come_too) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, {.proxy_from = elsewhere});
    const auto client = gateway.client();
    client.send(connect_packet("a"));
    expect_served(client);
}

TEST(proxy_that_says_half_a_header, is_closed_at_the_connect_timeout) {
    Gateway gateway({nobody()}, {.connect_timeout = std::chrono::milliseconds{150}, .proxy_from = loopback});
    const auto client = gateway.client();
    client.send("PROXY TCP4 ");
    EXPECT_TRUE(client.closed());
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT), 1u);
}

}  // namespace
}  // namespace limpet::session::test
