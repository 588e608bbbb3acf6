// SPDX-License-Identifier: Apache-2.0
// Relayed connections that the operator ends, in the client's own words where it has some.
#include <gtest/gtest.h>

#include "harness.h"

namespace limpet::session::test {
namespace {

std::shared_ptr<Eviction> evict(Gateway& gateway, std::size_t broker, std::int64_t count) {
    auto eviction = std::make_shared<Eviction>();
    eviction->pool = gateway.shared_pool();
    eviction->broker = gateway.pool().brokers().at(broker).id;
    eviction->allowed = count;
    gateway.workers().evict(eviction);
    EXPECT_TRUE(eventually([&] { return eviction->looking == 0; }));
    return eviction;
}

std::vector<Socket> clients(Gateway& gateway, std::size_t count, mqtt::Version version,
                            const Bytes& connack) {
    std::vector<Socket> sockets;
    for (std::size_t i = 0; i < count; ++i) {
        sockets.push_back(gateway.client());
        sockets.back().send(connect_packet("client-" + std::to_string(i), version));
        EXPECT_EQ(sockets.back().receive(connack.size()), connack);
    }
    EXPECT_TRUE(eventually([&] { return gateway.counts().relayed == count; }));
    return sockets;
}

TEST(evicted_client_of_mqtt_5, is_told_to_use_another_server) {
    Broker broker(echo(accepted5()));
    Gateway gateway({broker.address()});
    const auto sockets = clients(gateway, 1, mqtt::Version::v5, accepted5());
    EXPECT_EQ(evict(gateway, 0, 1)->ended, 1u);
    EXPECT_EQ(sockets[0].receive_all(), (Bytes{0xE0, 0x01, 0x9C}));
    EXPECT_EQ(gateway.counted(LIMPET_REASON_END_DRAINED), 1u);
}

TEST(evicted_client_of_mqtt_5, is_reset_in_the_middle_of_a_packet) {
    Broker broker([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted5() + Bytes{0x30, 0x05, 0x00});  // a PUBLISH of which four bytes are missing
        static_cast<void>(socket.receive_all());
    });
    Gateway gateway({broker.address()});
    const auto sockets = clients(gateway, 1, mqtt::Version::v5, accepted5());
    EXPECT_EQ(sockets[0].receive(3), (Bytes{0x30, 0x05, 0x00}));
    EXPECT_EQ(evict(gateway, 0, 1)->ended, 1u);
    EXPECT_TRUE(sockets[0].reset()) << "words of ours would be taken for the packet's rest";
}

TEST(evicted_client_of_311, is_reset) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()});
    const auto sockets = clients(gateway, 1, mqtt::Version::v311, accepted());
    EXPECT_EQ(evict(gateway, 0, 1)->ended, 1u);
    EXPECT_TRUE(sockets[0].reset());
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(eviction, ends_as_many_as_it_may_of_the_broker_that_it_means) {
    Broker first(echo(accepted()));
    Broker second(echo(accepted()));
    Gateway gateway({first.address(), second.address()}, {.workers = 2});
    const auto sockets = clients(gateway, 10, mqtt::Version::v311, accepted());
    const auto eviction = evict(gateway, 0, 3);
    EXPECT_EQ(eviction->ended, 3u);
    EXPECT_EQ(eviction->left, 2u);
    EXPECT_TRUE(eventually([&] { return gateway.connections_of(0) == 2; }));
    EXPECT_EQ(gateway.connections_of(1), 5u);
}

}  // namespace
}  // namespace limpet::session::test
