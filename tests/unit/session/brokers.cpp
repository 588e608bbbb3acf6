// SPDX-License-Identifier: Apache-2.0
// Brokers that fail in every way, and the next one that the client gets without noticing.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "harness.h"

namespace limpet::session::test {
namespace {

const Bytes unavailable_311 = {0x20, 0x02, 0x00, 0x03};
const Bytes unavailable_5 = {0x20, 0x03, 0x00, 0x88, 0x00};

TEST(no_broker, is_said_in_the_clients_own_words) {
    Gateway gateway({nobody(), nobody()});
    const auto old = gateway.client();
    old.send(connect_packet("a"));
    EXPECT_EQ(old.receive_all(), unavailable_311);
    const auto fresh = gateway.client();
    fresh.send(connect_packet("b", mqtt::Version::v5));
    EXPECT_EQ(fresh.receive_all(), unavailable_5);
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NO_BROKER), 2u);
    EXPECT_EQ(gateway.counted(LIMPET_REASON_BROKER_CONNECT_FAILED), 4u)
        << "each broker was tried for each client";
}

/// Connects a client to a pool of a broker with the given fault and a good one, so often that the faulty one
/// must have been chosen first, and says whether each client was served.
void expect_next_broker_serves(const Endpoint& faulty, Reason reason) {
    Broker good(echo(accepted()));
    Gateway gateway({faulty, good.address()}, {.connack_timeout = std::chrono::milliseconds{600}});
    for (int turn = 0; turn < 2; ++turn) {
        const auto client = gateway.client();
        client.send(connect_packet("client") + bytes("behind"));
        EXPECT_EQ(client.receive(10), accepted() + bytes("behind"))
            << "the client must not notice the first broker";
    }
    EXPECT_GE(gateway.counted(reason), 1u);
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NO_BROKER), 0u);
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }))
        << "the connections of both brokers are given back";
}

TEST(broker_that_refuses_the_connect, is_left_for_the_next) {
    expect_next_broker_serves(nobody(), LIMPET_REASON_BROKER_CONNECT_FAILED);
}

TEST(broker_that_never_answers, is_left_for_the_next_within_the_connack_timeout) {
    Endpoint address;
    const auto listening = silent(address);
    expect_next_broker_serves(address, LIMPET_REASON_BROKER_CONNACK_TIMEOUT);
}

TEST(broker_that_drops_syns, is_left_for_the_next_within_the_connack_timeout) {
    // A full accept queue: further SYNs are dropped.
    Endpoint address;
    const auto listening = silent(address);
    ASSERT_EQ(::listen(listening.get(), 0), 0);
    std::vector<Fd> filling;
    sockaddr_storage storage{};
    const auto length = address.to_sockaddr(storage);
    for (int index = 0; index < 4; ++index) {
        filling.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        ::connect(filling.back().get(), reinterpret_cast<const sockaddr*>(&storage), length);
    }
    expect_next_broker_serves(address, LIMPET_REASON_BROKER_CONNECT_FAILED);
}

TEST(broker_that_closes_before_connack, is_left_for_the_next) {
    Broker closing([](Socket& socket) { static_cast<void>(read_connect(socket)); });
    expect_next_broker_serves(closing.address(), LIMPET_REASON_BROKER_CLOSED_EARLY);
}

TEST(broker_that_resets_before_connack, is_left_for_the_next) {
    Broker resetting([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.abort();
    });
    expect_next_broker_serves(resetting.address(), LIMPET_REASON_BROKER_CLOSED_EARLY);
}

TEST(broker_that_answers_with_something_else, is_left_for_the_next) {
    Broker garbling([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        static_cast<void>(socket.receive(1));
    });
    expect_next_broker_serves(garbling.address(), LIMPET_REASON_BROKER_PROTOCOL);
}

TEST(broker_that_is_busy, is_left_for_the_next) {
    Broker busy([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(Bytes{0x20, 0x02, 0x00, 0x03});
    });
    expect_next_broker_serves(busy.address(), LIMPET_REASON_BROKER_REFUSED);
}

TEST(only_broker, gets_the_whole_connack_timeout) {
    Broker slow([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        std::this_thread::sleep_for(std::chrono::milliseconds{700});
        socket.send(accepted());
        static_cast<void>(socket.receive(1));
    });
    Gateway gateway({slow.address()}, {.connack_timeout = std::chrono::milliseconds{1000}});
    const auto client = gateway.client();
    client.send(connect_packet("patient"));
    EXPECT_EQ(client.receive(4), accepted()) << "with nobody else to turn to, half the time is no limit";
    EXPECT_EQ(gateway.counted(LIMPET_REASON_BROKER_CONNACK_TIMEOUT), 0u);
}

TEST(brokers_that_never_answer, end_in_a_refusal_at_the_connack_timeout) {
    Endpoint first;
    Endpoint second;
    const auto listening = silent(first);
    const auto listening_too = silent(second);
    Gateway gateway({first, second}, {.connack_timeout = std::chrono::milliseconds{300}});
    const auto begin = std::chrono::steady_clock::now();
    const auto client = gateway.client();
    client.send(connect_packet("a", mqtt::Version::v5));
    EXPECT_EQ(client.receive_all(), unavailable_5);
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(took, std::chrono::milliseconds{290});
    EXPECT_LT(took, std::chrono::milliseconds{1500});
    EXPECT_EQ(gateway.counted(LIMPET_REASON_BROKER_CONNACK_TIMEOUT), 2u);
}

TEST(refusing_connack, reaches_the_client_as_it_is) {
    Broker refusing([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(Bytes{0x20, 0x02, 0x00, 0x05});
    });
    Gateway gateway({refusing.address()}, {.strategy = balancer::Strategy::sticky});
    const auto client = gateway.client();
    client.send(connect_packet("who"));
    EXPECT_EQ(client.receive_all(), (Bytes{0x20, 0x02, 0x00, 0x05}));
    client.finish_sending();
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
    EXPECT_EQ(gateway.pool().remembered(), 0u) << "a broker that refused a client is none to come back to";
}

TEST(last_broker_that_is_busy, speaks_to_the_client_itself) {
    Broker busy([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(Bytes{0x20, 0x02, 0x00, 0x03});
    });
    Gateway gateway({nobody(), busy.address(), nobody()}, {});
    const auto client = gateway.client();
    client.send(connect_packet("who"));
    EXPECT_EQ(client.receive_all(), (Bytes{0x20, 0x02, 0x00, 0x03}));
    client.finish_sending();
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NO_BROKER), 1u);
}

TEST(refused_client_that_stays, is_closed_after_the_connack_timeout) {
    Broker refusing([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(Bytes{0x20, 0x02, 0x00, 0x05});
    });
    Gateway gateway({refusing.address()}, {.connack_timeout = std::chrono::milliseconds{200}});
    const auto client = gateway.client();
    client.send(connect_packet("who"));
    EXPECT_EQ(client.receive_all(), (Bytes{0x20, 0x02, 0x00, 0x05}));
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); })) << "though the client has not closed its side";
}

TEST(assigned_client_id, is_what_the_pool_remembers) {
    // CONNACK of MQTT 5 with property 0x12, "abc".
    Broker assigning(echo({0x20, 0x09, 0x00, 0x00, 0x06, 0x12, 0x00, 0x03, 'a', 'b', 'c'}));
    Gateway gateway({assigning.address(), nobody()}, {.strategy = balancer::Strategy::sticky});
    const auto client = gateway.client();
    client.send(connect_packet("", mqtt::Version::v5));
    EXPECT_EQ(client.receive(11).size(), 11u);
    ASSERT_TRUE(eventually([&] { return gateway.pool().remembered() == 1; }));
    balancer::Client known;
    known.client_id = "abc";
    EXPECT_EQ(gateway.pool().lookup(known)->why, balancer::Why::remembered);
}

TEST(authentication, crosses_both_ways_before_connack) {
    Broker asking([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(Bytes{0xf0, 0x02, 0x18, 0x00});
        EXPECT_EQ(socket.receive(4), (Bytes{0xf0, 0x02, 0x18, 0x00})) << "the client's AUTH before CONNACK";
        socket.send(accepted5() + bytes("more"));
        static_cast<void>(socket.receive(1));
    });
    Gateway gateway({asking.address()});
    const auto client = gateway.client();
    client.send(connect_packet("a", mqtt::Version::v5));
    EXPECT_EQ(client.receive(4), (Bytes{0xf0, 0x02, 0x18, 0x00}));
    client.send(Bytes{0xf0, 0x02, 0x18, 0x00});
    EXPECT_EQ(client.receive(9), accepted5() + bytes("more"));
}

TEST(broker_that_fails_during_authentication, cannot_be_replaced) {
    Broker asking([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(Bytes{0xf0, 0x02, 0x18, 0x00});
        static_cast<void>(socket.receive(1));
    });
    Broker other(echo(accepted5()));
    Gateway gateway({asking.address(), other.address()});
    const auto client = gateway.client();
    client.send(connect_packet("a", mqtt::Version::v5));
    EXPECT_EQ(client.receive(4), (Bytes{0xf0, 0x02, 0x18, 0x00}));
    client.send("x");
    EXPECT_EQ(client.receive_all(), unavailable_5) << "the client has begun to talk to the first broker";
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_BROKER_GONE), 1u);
    EXPECT_EQ(other.connections(), 0);
}

}  // namespace
}  // namespace limpet::session::test
