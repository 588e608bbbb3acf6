// SPDX-License-Identifier: Apache-2.0
// Who goes where by name or address, of TLS that nobody opens, and who is turned away.
#include <gtest/gtest.h>

#include "harness.h"

namespace limpet::session::test {
namespace {

using namespace std::chrono_literals;

/// Sends its name and then back what it receives.
Broker::Script named(const std::string& name) {
    return [name](Socket& socket) {
        socket.send(name);
        for (auto part = socket.receive_some(); !part.empty(); part = socket.receive_some())
            socket.send(part);
    };
}

Bytes sized(std::size_t width, const Bytes& content) {
    Bytes head;
    for (; width > 0; --width) head.push_back(static_cast<std::uint8_t>(content.size() >> (8 * (width - 1))));
    return head + content;
}

/// A ClientHello that asks for a name, or for none, in records of `piece` bytes.
Bytes client_hello(const std::string& name, std::size_t piece = 16'384) {
    const Bytes extensions =
        name.empty() ? Bytes{} : Bytes{0, 0} + sized(2, sized(2, Bytes{0} + sized(2, bytes(name))));
    const Bytes body = Bytes{3, 3} + Bytes(32, 0xaa) + Bytes{0} + sized(2, {0x13, 0x01}) + sized(1, {0}) +
                       sized(2, extensions);
    const Bytes message = Bytes{1} + sized(3, body);
    Bytes records;
    for (std::size_t at = 0; at < message.size(); at += piece) {
        const auto begin = message.begin() + static_cast<std::ptrdiff_t>(at);
        const auto size = static_cast<std::ptrdiff_t>(std::min(piece, message.size() - at));
        records = records + Bytes{22, 3, 1} + sized(2, Bytes(begin, begin + size));
    }
    return records;
}

Route to_name(std::string name) {
    Route route;
    route.server_name = std::move(name);
    return route;
}

GatewayOptions passthrough(std::vector<std::pair<Route, Endpoint>> routes) {
    GatewayOptions options;
    options.protocol = Protocol::tls_passthrough;
    options.routes = std::move(routes);
    return options;
}

TEST(name, of_a_route_with_a_star_is_any_one_label) {
    EXPECT_TRUE(matches("a.example.org", "a.example.org"));
    EXPECT_FALSE(matches("a.example.org", "b.example.org"));
    EXPECT_TRUE(matches("*.example.org", "a.example.org"));
    EXPECT_FALSE(matches("*.example.org", "example.org"));
    EXPECT_FALSE(matches("*.example.org", "a.b.example.org"));
    EXPECT_FALSE(matches("*.example.org", ".example.org"));
    EXPECT_FALSE(matches("*.example.org", ""));
}

TEST(tls_that_is_passed_on, goes_where_its_name_leads_in_any_pieces_and_unchanged) {
    Broker first(named("first"));
    Broker stars(named("stars"));
    Broker others(named("other"));
    const auto routes = std::vector{std::pair(to_name("a.example.org"), first.address()),
                                    std::pair(to_name("*.example.org"), stars.address())};
    Gateway gateway({others.address()}, passthrough(routes));
    struct Asked {
        std::string name;
        std::string answer;
    };
    for (const auto& [name, answer] : {Asked{"A.Example.ORG", "first"},
                                       {"b.example.org", "stars"},
                                       {"example.net", "other"},
                                       {"", "other"}}) {
        for (const std::size_t piece : {16'384u, 7u}) {
            const auto hello = client_hello(name, piece);
            const auto behind = bytes("and what follows");
            const auto whole = gateway.client();
            whole.send(hello + behind);
            EXPECT_EQ(whole.receive(5), bytes(answer)) << name;
            EXPECT_EQ(whole.receive(hello.size() + behind.size()), hello + behind);
            const auto dripping = gateway.client();
            for (const auto byte : hello) dripping.send(Bytes{byte});
            EXPECT_EQ(dripping.receive(5 + hello.size()), bytes(answer) + hello) << name;
        }
    }
}

TEST(tls_without_a_route, is_told_that_its_name_is_not_known) {
    Broker broker(named("a"));
    auto options = passthrough({{to_name("a.example.org"), broker.address()}});
    options.pool_for_the_rest = false;
    Gateway gateway({nobody()}, options);
    const auto client = gateway.client();
    client.send(client_hello("b.example.org"));
    EXPECT_EQ(client.receive_all(), (Bytes{0x15, 3, 3, 0, 2, 2, 112})) << "RFC 6066 3: unrecognized_name";
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NO_ROUTE), 1u);
    EXPECT_EQ(broker.connections(), 0);
}

TEST(what_is_no_tls, is_turned_away_by_name) {
    Broker broker(named("a"));
    Gateway gateway({broker.address()}, passthrough({}));
    for (const auto& wrong : {connect_packet("plain"), bytes("GET / HTTP/1.1\r\n\r\n")}) {
        const auto client = gateway.client();
        client.send(wrong);
        EXPECT_TRUE(client.closed());
    }
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NOT_TLS), 2u);
    auto broken = client_hello("a.example.org");
    broken[48] = 0xff;  // the length of a list that is not so long
    const auto client = gateway.client();
    client.send(broken);
    EXPECT_EQ(client.receive_all(), (Bytes{0x15, 3, 3, 0, 2, 2, 50})) << "RFC 8446 6.2: decode_error";
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_CLIENT_HELLO), 1u);
    EXPECT_EQ(broker.connections(), 0);
}

TEST(hello_that_stops_halfway, is_closed_at_the_connect_timeout) {
    auto options = passthrough({});
    options.connect_timeout = 150ms;
    Gateway gateway({nobody()}, options);
    const auto client = gateway.client();
    client.send(Bytes{22, 3, 1, 2, 0, 1});
    EXPECT_TRUE(client.closed());
    EXPECT_TRUE(eventually([&] { return gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT) == 1; }));
}

TEST(route_by_address, leads_every_protocol) {
    Broker near(named("near"));
    Broker rest(named("rest"));
    Route from_here;
    from_here.sources = {*Network::parse("127.0.0.0/8")};
    Route from_elsewhere;
    from_elsewhere.sources = {*Network::parse("10.0.0.0/8"), *Network::parse("::/0")};
    GatewayOptions options;
    options.protocol = Protocol::tcp;
    options.routes = {{from_elsewhere, nobody()}, {from_here, near.address()}};
    Gateway gateway({rest.address()}, options);
    EXPECT_EQ(gateway.client().receive(4), bytes("near"));
    EXPECT_EQ(rest.connections(), 0);
}

TEST(clients_of_whom_nothing_is_known, stick_by_their_address) {
    Broker first(named("first"));
    Broker second(named("first"));
    GatewayOptions options = passthrough({});
    options.strategy = balancer::Strategy::sticky;
    Gateway gateway({first.address(), second.address()}, options);
    for (int turn = 0; turn < 6; ++turn) {
        const auto client = gateway.client();
        client.send(client_hello("a.example.org"));
        ASSERT_EQ(client.receive(5), bytes("first"));
    }
    EXPECT_EQ(first.connections() * second.connections(), 0)
        << "one address, one broker, although the key is client_id";
}

TEST(clients_of_one_name, stick_to_one_broker_where_the_name_is_the_key) {
    Broker first(named("first"));
    Broker second(named("first"));
    GatewayOptions options = passthrough({});
    options.strategy = balancer::Strategy::sticky;
    options.key = balancer::Key::sni;
    Gateway gateway({first.address(), second.address()}, options);
    std::vector<Socket> clients;
    for (int turn = 0; turn < 4; ++turn) {
        clients.push_back(gateway.client());
        clients.back().send(client_hello("tenant.example.org"));
        ASSERT_EQ(clients.back().receive(5), bytes("first"));
    }
    EXPECT_EQ(first.connections() * second.connections(), 0);
    EXPECT_TRUE(gateway.pool().connected(gateway.pool().hash_key("tenant.example.org")));
}

}  // namespace
}  // namespace limpet::session::test
