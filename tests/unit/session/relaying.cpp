// SPDX-License-Identifier: Apache-2.0
// Bytes that cross: in any split, in any amount, up to either end's last one.
#include <gtest/gtest.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <future>
#include <random>

#include "harness.h"

namespace limpet::session::test {
namespace {

Bytes noise(std::size_t count) {
    std::mt19937_64 random(42);
    Bytes data(count);
    for (auto& byte : data) byte = static_cast<std::uint8_t>(random());
    return data;
}

/// Sends until nothing more goes in for a while; returns how much went in.
std::size_t stuff(const Socket& client) {
    constexpr std::size_t endless = 512u * 1024 * 1024;
    const Bytes block(256 * 1024);
    std::size_t last = 0;
    std::size_t sent = 0;
    for (int quiet = 0; quiet < 20 && sent < endless; quiet = sent == last ? quiet + 1 : 0) {
        last = sent;
        sent += client.send_some(block);
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    EXPECT_LT(sent, endless) << "a sink that reads nothing must stop the source";
    return sent;
}

TEST(connect_byte_by_byte, is_understood) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    const int on = 1;
    setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (const auto byte : connect_packet("byte by byte")) client.send({byte});
    client.send("payload");
    EXPECT_EQ(client.receive(11), accepted() + bytes("payload"));
    EXPECT_TRUE(eventually([&] { return gateway.counted(LIMPET_REASON_RELAY_CONFIGURED) == 1; }))
        << "and the relay has its reason";
}

TEST(bytes_behind_connect, reach_the_broker_once_and_in_order) {
    std::promise<Bytes> received;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        auto first = socket.receive(6);
        socket.send(accepted());
        received.set_value(first + socket.receive_all());
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    client.send(connect_packet("early") + bytes("abc"));
    client.send("def");
    EXPECT_EQ(client.receive(4), accepted()) << "the broker waited for six bytes before it answered";
    client.send("ghi");
    client.finish_sending();
    EXPECT_EQ(received.get_future().get(), bytes("abcdefghi"));
}

TEST(connect_of_64_kib, is_served_up_to_the_cap) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    auto connect = connect_packet(std::string(65500, 'i'));
    ASSERT_LE(connect.size(), 64u * 1024);
    client.send(connect);
    EXPECT_EQ(client.receive(4), accepted());
}

TEST(every_byte, crosses_both_ways_while_both_ends_stream) {
    Broker broker([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        const auto data = noise(8'000'000);
        auto sending = std::async(std::launch::async, [&] { socket.send(data); });
        EXPECT_EQ(socket.receive(data.size()), data) << "client to broker";
        sending.get();
        static_cast<void>(socket.receive(1));
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    const auto data = noise(8'000'000);
    client.send(connect_packet("flood"));
    auto sending = std::async(std::launch::async, [&] { client.send(data); });
    EXPECT_EQ(client.receive(4), accepted());
    EXPECT_EQ(client.receive(data.size()), data) << "broker to client";
    sending.get();
    client.finish_sending();
    EXPECT_TRUE(client.closed());
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(half_close, is_passed_on_and_the_other_direction_goes_on) {
    Broker broker([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        const auto all = socket.receive_all();
        socket.send(bytes("after your end: ") + all);
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    client.send(connect_packet("half") + bytes("last words"));
    client.finish_sending();
    EXPECT_EQ(client.receive_all(), accepted() + bytes("after your end: last words"));
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(half_close_of_the_broker, is_passed_on_too) {
    std::promise<Bytes> received;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        socket.finish_sending();
        received.set_value(socket.receive_all());
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    client.send(connect_packet("half"));
    EXPECT_EQ(client.receive_all(), accepted());
    client.send("still here");
    client.finish_sending();
    EXPECT_EQ(received.get_future().get(), bytes("still here"));
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(reset_of_the_client, reaches_the_broker_as_a_reset) {
    std::promise<bool> was_reset;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        was_reset.set_value(socket.reset());
    });
    Gateway gateway({broker.address()});
    auto client = gateway.client();
    client.send(connect_packet("a"));
    EXPECT_EQ(client.receive(4), accepted());
    client.abort();
    EXPECT_TRUE(was_reset.get_future().get());
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(reset_of_the_broker, reaches_a_client_that_is_not_read_at_the_moment) {
    std::promise<void> stuffed;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        stuffed.get_future().wait();
        socket.abort();
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    client.send(connect_packet("a"));
    EXPECT_EQ(client.receive(4), accepted());
    static_cast<void>(stuff(client));
    stuffed.set_value();
    EXPECT_TRUE(client.reset());
}

// What is armed for a reset while a side is not read stays armed, and hears of every hang-up.
TEST(orderly_end, is_no_reset_where_the_client_was_stopped_before) {
    std::promise<std::size_t> stuffed;
    std::promise<bool> was_reset;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        const auto count = stuffed.get_future().get();
        EXPECT_EQ(socket.receive(count).size(), count);
        socket.finish_sending();
        was_reset.set_value(socket.reset());
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    client.send(connect_packet("stopped"));
    EXPECT_EQ(client.receive(4), accepted());
    stuffed.set_value(stuff(client));
    EXPECT_TRUE(client.receive_all().empty()) << "the broker's end comes through";
    client.finish_sending();
    EXPECT_FALSE(was_reset.get_future().get());
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(broker_that_does_not_read, stops_the_client_and_costs_bounded_memory) {
    std::promise<void> enough;
    auto told = enough.get_future().share();
    std::promise<std::size_t> total;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        told.wait();
        total.set_value(socket.receive_all().size());
    });
    Gateway gateway({broker.address()});
    const auto client = gateway.client();
    client.send(connect_packet("a"));
    EXPECT_EQ(client.receive(4), accepted());
    const auto before = mallinfo2().uordblks;
    const auto sent = stuff(client);
    EXPECT_LT(mallinfo2().uordblks, before + 2u * 1024 * 1024)
        << "what waits is in the sockets, not in the heap";
    enough.set_value();
    client.finish_sending();
    EXPECT_EQ(total.get_future().get(), sent) << "and all of it arrives once the broker reads";
}

TEST(client_that_floods_before_connack, is_read_no_further_than_the_bound) {
    std::promise<void> enough;
    auto told = enough.get_future().share();
    std::promise<std::size_t> total;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        told.wait();
        socket.send(accepted());
        total.set_value(socket.receive_all().size());
    });
    Gateway gateway({broker.address()}, {.connack_timeout = patience});
    const auto client = gateway.client();
    client.send(connect_packet("a"));
    const auto before = mallinfo2().uordblks;
    const Bytes block(256 * 1024);
    std::size_t sent = 0;
    std::size_t last = 0;
    for (int quiet = 0; quiet < 20; quiet = sent == last ? quiet + 1 : 0) {
        last = sent;
        sent += client.send_some(block);
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
        ASSERT_LT(sent, 512u * 1024 * 1024) << "without CONNACK the client must be stopped";
    }
    EXPECT_LT(mallinfo2().uordblks, before + 2u * 1024 * 1024);
    enough.set_value();
    EXPECT_EQ(client.receive(4), accepted());
    client.finish_sending();
    EXPECT_EQ(total.get_future().get(), sent);
}

TEST(quiet_relays, hold_little_memory) {
    Broker broker([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        static_cast<void>(socket.receive(1));
    });
    Gateway gateway({broker.address()});
    std::vector<Socket> clients;
    const auto join = [&](int count) {
        for (int index = 0; index < count; ++index) {
            clients.push_back(gateway.client());
            clients.back().send(connect_packet("client " + std::to_string(clients.size())));
            EXPECT_EQ(clients.back().receive(4), accepted());
        }
        EXPECT_TRUE(eventually([&] { return gateway.counts().relayed == clients.size(); }));
    };
    join(20);
    const auto before = mallinfo2().uordblks;
    join(200);
    const auto each = (mallinfo2().uordblks - before) / 200;
    RecordProperty("bytes_per_relay", static_cast<int>(each));
    std::printf("%zu bytes of heap per quiet relay, the test's own broker and client included\n", each);
    EXPECT_LT(each, 8u * 1024) << "no buffers while nothing moves";
}

TEST(tcp_listener, relays_whatever_comes_without_reading_it) {
    Broker broker([](Socket& socket) {
        socket.send("welcome");
        socket.send(socket.receive(5));
    });
    Gateway gateway({nobody(), broker.address()},
                    {.protocol = Protocol::tcp, .key = balancer::Key::source_ip});
    const auto client = gateway.client();
    EXPECT_EQ(client.receive(7), bytes("welcome")) << "the broker may speak first";
    client.send("hello");
    EXPECT_EQ(client.receive_all(), bytes("hello"));
}

TEST(tcp_listener_without_a_broker, closes) {
    Gateway gateway({nobody()}, {.protocol = Protocol::tcp});
    const auto client = gateway.client();
    EXPECT_TRUE(client.closed());
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NO_BROKER), 1u);
}

TEST(listener_on_ipv6, serves_a_broker_on_ipv4) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, {.address = "[::1]:0"});
    const auto client = gateway.client();
    client.send(connect_packet("six") + bytes("x"));
    EXPECT_EQ(client.receive(5), accepted() + bytes("x"));
}

TEST(client_id, comes_back_to_its_broker) {
    Broker first(echo(accepted()));
    Broker second(echo(accepted()));
    Broker third(echo(accepted()));
    Gateway gateway({first.address(), second.address(), third.address()},
                    {.strategy = balancer::Strategy::sticky, .workers = 2});
    const auto total = [&] {
        return std::vector{first.connections(), second.connections(), third.connections()};
    };
    const auto visit = [&] {
        for (int index = 0; index < 30; ++index) {
            const auto client = gateway.client();
            client.send(connect_packet("client " + std::to_string(index)));
            ASSERT_EQ(client.receive(4), accepted());
        }
    };
    visit();
    const auto once = total();
    visit();
    const auto twice = total();
    for (std::size_t index = 0; index < 3; ++index) EXPECT_EQ(twice[index], 2 * once[index]);
}

}  // namespace
}  // namespace limpet::session::test
