// SPDX-License-Identifier: Apache-2.0
// Accepting: pausing, refusing for lack of room, stopping, new terms for an address.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "harness.h"
#include "session/gate.h"

namespace limpet::session::test {
namespace {

TEST(descriptor_gate, has_a_distance_between_stopping_and_going_on) {
    DescriptorGate gate(1000, 100);
    gate.take(599);
    EXPECT_TRUE(gate.has_room(0));
    gate.take(1);
    EXPECT_FALSE(gate.has_room(0)) << "70 %";
    EXPECT_FALSE(gate.full(99));
    EXPECT_TRUE(gate.full(100)) << "what the data path still holds counts";
    gate.give(200);
    EXPECT_TRUE(gate.has_room(0));
}

TEST(storm_above_the_descriptor_limit, pauses_and_goes_on_until_everybody_was_served) {
    Broker broker([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        static_cast<void>(socket.receive_all());
    });
    // Room for about twenty sessions beside what the test has open itself.
    Gateway gateway({broker.address()},
                    {.descriptor_limit = (open_descriptors() + 40) * 10 / 8, .pause_patience = patience});
    std::vector<Socket> clients;
    for (int index = 0; index < 60; ++index) {
        clients.push_back(gateway.client());
        clients.back().send(connect_packet("client " + std::to_string(index)));
    }
    ASSERT_TRUE(eventually([&] { return gateway.counted(LIMPET_REASON_ACCEPT_PAUSED) > 0; }));
    EXPECT_LT(gateway.counts().accepted, 60u) << "the others wait in the listen queue";
    for (auto& client : clients) {
        EXPECT_EQ(client.receive(4), accepted()) << "served as soon as others have gone";
        client.close();
    }
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(clients_that_wait_too_long_for_room, are_refused_by_name) {
    Broker broker(echo(accepted5()));
    Gateway gateway({broker.address()}, {.descriptor_limit = (open_descriptors() + 40) * 10 / 8,
                                         .pause_patience = std::chrono::milliseconds{50}});
    std::vector<Socket> clients;
    std::size_t served = 0;
    std::size_t refused = 0;
    for (int index = 0; index < 60; ++index) {
        clients.push_back(gateway.client());
        clients.back().send(connect_packet("client " + std::to_string(index), mqtt::Version::v5));
    }
    for (auto& client : clients) {
        const auto answer = client.receive(5);
        if (answer == accepted5()) ++served;
        if (answer != Bytes{0x20, 0x03, 0x00, 0x89, 0x00}) continue;
        ++refused;
        client.close();
    }
    EXPECT_EQ(served + refused, 60u) << "nobody hangs";
    EXPECT_GT(refused, 0u);
    EXPECT_GT(served, 0u);
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_RESOURCES), refused);
}

TEST(stop, closes_what_is_left_after_the_grace_and_counts_it) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()});
    const auto relayed = gateway.client();
    relayed.send(connect_packet("a"));
    EXPECT_EQ(relayed.receive(4), accepted());
    const auto waiting = gateway.client();
    ASSERT_TRUE(eventually([&] { return gateway.counts().accepted == 2; }));
    gateway.workers().stop();
    EXPECT_TRUE(relayed.closed());
    EXPECT_TRUE(waiting.closed());
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_SHUTDOWN), 2u);
    EXPECT_TRUE(gateway.at_rest());
    EXPECT_THROW(static_cast<void>(gateway.client()), std::runtime_error) << "nobody listens any more";
}

TEST(closed_listener, takes_no_clients_and_keeps_those_it_has) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, {.workers = 2});
    const auto client = gateway.client();
    client.send(connect_packet("a"));
    EXPECT_EQ(client.receive(4), accepted());
    gateway.workers().close(gateway.address());
    EXPECT_TRUE(eventually([&] {
        try {
            static_cast<void>(gateway.client());
            return false;
        } catch (const std::runtime_error&) {
            return true;
        }
    }));
    client.send("still");
    EXPECT_EQ(client.receive(5), bytes("still"));
}

TEST(opening_an_address_again, gives_new_clients_the_new_terms) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, {.connect_timeout = patience});
    Listener listener;
    listener.name = "test";
    listener.address = gateway.address();
    listener.connect_timeout = std::chrono::milliseconds{50};
    listener.destination.pool = std::make_shared<balancer::Pool>(balancer::PoolSpec{}, 1);
    ASSERT_TRUE(gateway.workers().open(listener));
    std::vector<Socket> clients;
    EXPECT_TRUE(eventually([&] {
        clients.push_back(gateway.client());
        return gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT) > 0;
    })) << "the first may still have come in under the old terms, which wait for long";
}

TEST(address_of_another_host, cannot_be_listened_on_and_the_error_says_why) {
    const auto opened = open_listening_socket(*Endpoint::parse("192.0.2.77:1883"));
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().line().find("no interface of this host has the address 192.0.2.77"),
              std::string::npos)
        << opened.error().line();
}

TEST(address_of_another_daemon, cannot_be_listened_on_though_its_port_may_be_shared) {
    Gateway first({nobody()});
    Gateway second({nobody()});
    Listener listener;
    listener.name = "late";
    listener.address = first.address();
    listener.destination.pool = std::make_shared<balancer::Pool>(balancer::PoolSpec{}, 1);
    const auto opened = second.workers().open(listener);
    ASSERT_FALSE(opened) << "the kernel would spread clients over both daemons";
    EXPECT_NE(opened.error().line().find("another program listens there already"), std::string::npos)
        << opened.error().line();
}

TEST(own_addresses, may_overlap) {
    Gateway gateway({nobody()});
    Listener listener;
    listener.name = "all";
    listener.address = *Endpoint::parse("0.0.0.0:" + std::to_string(gateway.address().port));
    listener.destination.pool = std::make_shared<balancer::Pool>(balancer::PoolSpec{}, 1);
    EXPECT_TRUE(gateway.workers().open(listener));
}

TEST(accepted_sockets, inherit_no_delay_from_the_listening_one) {
    const auto listening = open_listening_socket(*Endpoint::parse("127.0.0.1:0"));
    ASSERT_TRUE(listening);
    const auto client = Socket::to(*local_endpoint(listening->get()));
    ASSERT_TRUE(eventually([&] {
        const Fd accepted(::accept4(listening->get(), nullptr, nullptr, SOCK_CLOEXEC));
        int value = 0;
        socklen_t length = sizeof value;
        return accepted && getsockopt(accepted.get(), IPPROTO_TCP, TCP_NODELAY, &value, &length) == 0 &&
               value == 1;
    })) << "Nagle would hold back the last segment before the handoff";
}

}  // namespace
}  // namespace limpet::session::test
