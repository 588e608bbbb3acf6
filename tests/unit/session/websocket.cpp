// SPDX-License-Identifier: Apache-2.0
// MQTT over WebSocket: the handshakes of both sides, frames in any fragmentation, and bytes that cross whole
// whichever side speaks it.
#include <gtest/gtest.h>

#include "harness.h"
#include "websocket/frame.h"
#include "websocket/handshake.h"

namespace limpet::session::test {
namespace {

using namespace std::chrono_literals;
using websocket::Opcode;

constexpr websocket::MaskKey key{0x37, 0xFA, 0x21, 0x3D};

std::string request(const std::string& path = "/mqtt", const std::string& more = {}) {
    return "GET " + path +
           " HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
           "Sec-WebSocket-Protocol: mqtt\r\n" +
           more + "\r\n";
}

Bytes framed(const Bytes& payload, bool masked = true, bool final = true, Opcode opcode = Opcode::binary) {
    Bytes out;
    websocket::append_frame(out, opcode, {payload.data(), payload.size()},
                            masked ? std::optional(key) : std::nullopt, final);
    return out;
}

std::string read_head(const Socket& socket) {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
        const auto next = socket.receive(1);
        if (next.empty()) return head;
        head += static_cast<char>(next[0]);
    }
    return head;
}

/// One side of a connection that speaks frames; what it reads is the stream inside them. A server answers
/// pings.
class Frames {
  public:
    Frames(const Socket& socket, websocket::Sender peer) : socket_(socket), peer_(peer), reader_(peer) {}

    Bytes receive(std::size_t count) {
        while (have_.size() < count && read_more()) {
        }
        const auto end = have_.begin() + static_cast<std::ptrdiff_t>(std::min(count, have_.size()));
        Bytes taken(have_.begin(), end);
        have_.erase(have_.begin(), end);
        return taken;
    }
    /// The code of the close frame that ends the stream; 0: it ends without.
    std::uint16_t closed() {
        while (code_ == 0 && read_more()) {
        }
        return code_;
    }
    [[nodiscard]] Bytes pong() const { return pong_; }

  private:
    bool read_more() {
        auto raw = socket_.receive_some();
        if (raw.empty()) return false;
        std::span<std::uint8_t> left(raw);
        for (auto event = reader_.read(left); event.kind != websocket::Event::Kind::more;
             event = reader_.read(left)) {
            if (event.kind == websocket::Event::Kind::invalid) {
                ADD_FAILURE() << websocket::fault_sentence(reader_.fault());
                return false;
            }
            if (event.kind == websocket::Event::Kind::data)
                have_.insert(have_.end(), event.payload.begin(), event.payload.end());
            if (event.kind == websocket::Event::Kind::ping && peer_ == websocket::Sender::client)
                socket_.send(framed({event.payload.begin(), event.payload.end()}, false, true, Opcode::pong));
            if (event.kind == websocket::Event::Kind::pong)
                pong_.assign(event.payload.begin(), event.payload.end());
            if (event.kind == websocket::Event::Kind::close) code_ = event.code;
        }
        return true;
    }

    const Socket& socket_;
    websocket::Sender peer_;
    websocket::Unwrapper reader_;
    Bytes have_;
    Bytes pong_;
    std::uint16_t code_ = 0;
};

/// A client whose request was taken and that has sent `first` behind it, in one segment.
Frames opened(const Socket& client, const Bytes& first) {
    client.send(bytes(request()) + first);
    static_cast<void>(read_head(client));
    return {client, websocket::Sender::server};
}

GatewayOptions web(bool brokers_too = false) {
    GatewayOptions options;
    options.protocol = Protocol::ws;
    options.brokers_speak_websocket = brokers_too;
    return options;
}

/// A broker that speaks WebSocket: CONNACK to a CONNECT, and back what it hears.
Broker::Script web_echo() {
    return [](Socket& socket) {
        const auto head = read_head(socket);
        EXPECT_NE(head.find("GET /mqtt HTTP/1.1\r\n"), std::string::npos) << head;
        EXPECT_NE(head.find("X-Forwarded-For: 127.0.0.1\r\n"), std::string::npos) << head;
        const auto at = head.find("Sec-WebSocket-Key: ") + 19;
        socket.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: " +
            websocket::accept_of(head.substr(at, 24)) + "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
        Frames frames(socket, websocket::Sender::client);
        Bytes connect;
        for (auto next = frames.receive(1); !next.empty(); next = frames.receive(1)) {
            connect = connect + next;
            if (mqtt::parse_connect({connect.data(), connect.size()}, 1 << 20).status == Status::complete)
                break;
        }
        socket.send(framed(accepted(), false));
        for (auto next = frames.receive(1); !next.empty(); next = frames.receive(1))
            socket.send(framed(next, false));
    };
}

class WebSocketClient : public testing::TestWithParam<bool> {
  protected:
    WebSocketClient()
        : broker_(GetParam() ? web_echo() : echo(accepted())),
          gateway_({broker_.address()}, web(GetParam())) {}

    Broker broker_;
    Gateway gateway_;
};

TEST_P(WebSocketClient, connects_in_any_fragmentation_and_loses_no_byte) {
    const auto connect = connect_packet("browser");
    for (const std::size_t piece : {1u, 3u, 1000u}) {
        const auto client = gateway_.client();
        client.send(request());
        const auto head = read_head(client);
        ASSERT_TRUE(head.starts_with("HTTP/1.1 101 ")) << head;
        EXPECT_NE(head.find("Sec-WebSocket-Protocol: mqtt\r\n"), std::string::npos);
        // Fragments of a message, a ping between them, and the beginning of what is behind CONNECT in the
        // last.
        const auto stream = connect + bytes("behind");
        for (std::size_t at = 0; at < stream.size(); at += piece) {
            const auto begin = stream.begin() + static_cast<std::ptrdiff_t>(at);
            const Bytes part(begin, begin + static_cast<std::ptrdiff_t>(std::min(piece, stream.size() - at)));
            client.send(framed(part, true, at + piece >= stream.size(),
                               at == 0 ? Opcode::binary : Opcode::continuation));
            if (at == 0) client.send(framed(bytes("hi"), true, true, Opcode::ping));
        }
        Frames frames(client, websocket::Sender::server);
        EXPECT_EQ(frames.receive(10), accepted() + bytes("behind"));
        client.send(framed(bytes("and on")));
        EXPECT_EQ(frames.receive(6), bytes("and on"));
        EXPECT_EQ(frames.pong(), bytes("hi")) << "from whoever looks into the frames by then";
    }
}

TEST_P(WebSocketClient, goes_on_from_the_middle_of_a_frame) {
    const auto client = gateway_.client();
    client.send(request());
    static_cast<void>(read_head(client));
    const Bytes large(100'000, 'x');
    const auto frame = framed(connect_packet("large") + large);
    const auto half = frame.begin() + 5'000;
    client.send(Bytes(frame.begin(), half));
    Frames frames(client, websocket::Sender::server);
    EXPECT_EQ(frames.receive(4), accepted()) << "CONNECT is whole long before its frame is";
    client.send(Bytes(half, frame.end()));
    EXPECT_EQ(frames.receive(large.size()), large);
}

TEST_P(WebSocketClient, may_send_everything_in_one_segment) {
    const auto client = gateway_.client();
    auto frames = opened(client, framed(connect_packet("hasty") + bytes("1")) + framed(bytes("23")));
    EXPECT_EQ(frames.receive(7), accepted() + bytes("123"));
}

INSTANTIATE_TEST_SUITE_P(brokers, WebSocketClient, testing::Bool(),
                         [](const auto& row) { return row.param ? "of_websocket" : "of_plain_mqtt"; });

TEST(websocket_unwrapped_for_the_broker, is_a_relay_with_a_name_and_closes_on_both_sides) {
    std::atomic<bool> heard_all = false;
    Broker broker([&](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted());
        const auto last = socket.receive(4);
        socket.send(bytes("too late for the client"));
        heard_all = last == bytes("last") && !socket.reset();
    });
    Gateway gateway({broker.address()}, web());
    const auto client = gateway.client();
    auto frames = opened(client, framed(connect_packet("a")));
    EXPECT_EQ(frames.receive(4), accepted());
    EXPECT_TRUE(eventually([&] { return gateway.counted(LIMPET_REASON_RELAY_LISTENER) == 1; }));
    // As clients do behind DISCONNECT: all in one segment, and then they wait for the server to close.
    Bytes close = framed(bytes("last"));
    websocket::append_close(close, websocket::CloseCode::going_away, {}, key);
    client.send(close);
    EXPECT_EQ(frames.closed(), 1000) << "a close frame is answered";
    EXPECT_TRUE(client.closed());
    EXPECT_TRUE(eventually([&] { return heard_all.load(); })) << "the broker sees an orderly end";
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(pings_in_great_numbers, are_answered_within_bounds_and_hold_nothing_up) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, web());
    const auto client = gateway.client();
    auto frames = opened(client, framed(connect_packet("a")));
    EXPECT_EQ(frames.receive(4), accepted());
    Bytes flood;
    for (int count = 0; count < 50'000; ++count) websocket::append_frame(flood, Opcode::ping, {}, key);
    client.send(flood);
    client.send(framed(bytes("data")));
    EXPECT_EQ(frames.receive(4), bytes("data"));
}

TEST(frame_that_is_wrong_in_the_middle, ends_both_sides_under_a_name) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, web());
    const auto client = gateway.client();
    auto frames = opened(client, framed(connect_packet("a")));
    EXPECT_EQ(frames.receive(4), accepted());
    client.send(framed(bytes("no mask"), false));
    EXPECT_EQ(frames.closed(), 1002);
    EXPECT_TRUE(client.closed());
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_FRAME), 1u);
    EXPECT_TRUE(eventually([&] { return gateway.at_rest(); }));
}

TEST(broker_that_leaves, is_told_to_a_websocket_by_a_close_frame) {
    Broker broker([](Socket& socket) {
        static_cast<void>(read_connect(socket));
        socket.send(accepted() + bytes("bye"));
    });
    Gateway gateway({broker.address()}, web());
    const auto client = gateway.client();
    auto frames = opened(client, framed(connect_packet("a")));
    EXPECT_EQ(frames.receive(7), accepted() + bytes("bye"));
    EXPECT_EQ(frames.closed(), 1000);
}

TEST(plain_client, is_served_by_brokers_of_websocket_too) {
    Broker broker(web_echo());
    GatewayOptions options;
    options.brokers_speak_websocket = true;
    Gateway gateway({broker.address()}, options);
    const auto client = gateway.client();
    client.send(connect_packet("plain") + bytes("behind"));
    EXPECT_EQ(client.receive(10), accepted() + bytes("behind"));
}

struct NotOpened {
    const char* name;
    std::string request;
    std::string status;  ///< empty: closed without a word
};

class RequestThatOpensNothing : public testing::TestWithParam<NotOpened> {};

TEST_P(RequestThatOpensNothing, gets_a_proper_answer_and_a_name) {
    Broker broker(echo(accepted()));
    auto options = web();
    options.upgrade.paths = {"/mqtt"};
    options.upgrade.origins = {"https://example.org"};
    Gateway gateway({broker.address()}, options);
    const auto client = gateway.client();
    client.send(GetParam().request);
    const auto answer = client.receive_all();
    const std::string text(answer.begin(), answer.end());
    if (GetParam().status.empty())
        EXPECT_EQ(text, "");
    else
        EXPECT_TRUE(text.starts_with("HTTP/1.1 " + GetParam().status + " ")) << text;
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_NOT_WEBSOCKET), 1u);
    EXPECT_EQ(broker.connections(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    all, RequestThatOpensNothing,
    testing::Values(NotOpened{"plain_get", "GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n", "426"},
                    NotOpened{"wrong_path", request("/other"), "404"},
                    NotOpened{"post", "POST /mqtt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "405"},
                    NotOpened{"malformed", "GET /mqtt HTTP/1.1\r\nbroken header\r\n\r\n", "400"},
                    NotOpened{"foreign_page", request("/mqtt", "Origin: https://example.net\r\n"), "403"},
                    NotOpened{"endless", "GET /mqtt HTTP/1.1\r\nX: " + std::string(9000, 'x'), "431"},
                    NotOpened{"no_http", std::string("\x10\x0c\0\x04MQTT", 8), ""}),
    [](const auto& row) { return row.param.name; });

TEST(client_of_a_page_that_is_allowed, connects) {
    Broker broker(echo(accepted()));
    auto options = web();
    options.upgrade.origins = {"https://example.org"};
    options.upgrade.headers = {{.name = "X-Tenant", .value = "blue"}};
    Gateway gateway({broker.address()}, options);
    const auto client = gateway.client();
    client.send(request("/any", "Origin: https://example.org\r\nX-Tenant: blue\r\n"));
    EXPECT_TRUE(read_head(client).starts_with("HTTP/1.1 101 "));
}

TEST(refusal_of_a_websocket_client, is_mqtt_in_a_frame_and_then_a_close_frame) {
    Gateway gateway({nobody()}, web());
    const auto client = gateway.client();
    auto frames = opened(client, framed(connect_packet("a", mqtt::Version::v5)));
    EXPECT_EQ(frames.receive(5), (Bytes{0x20, 0x03, 0x00, 0x88, 0x00}));
    EXPECT_EQ(frames.closed(), 1000);
}

class WrongFrames : public testing::TestWithParam<std::pair<const char*, std::pair<Bytes, std::uint16_t>>> {};

TEST_P(WrongFrames, are_answered_by_a_close_frame_and_counted) {
    Broker broker(echo(accepted()));
    Gateway gateway({broker.address()}, web());
    const auto& [first, code] = GetParam().second;
    const auto client = gateway.client();
    auto frames = opened(client, first);
    EXPECT_EQ(frames.closed(), code);
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_FRAME), 1u);
    EXPECT_EQ(broker.connections(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    all, WrongFrames,
    testing::Values(std::pair("not_masked",
                              std::pair(framed(connect_packet("a"), false), std::uint16_t{1002})),
                    std::pair("text", std::pair(framed(connect_packet("a"), true, true, Opcode::text),
                                                std::uint16_t{1003})),
                    std::pair("reserved_bits", std::pair(Bytes{0xc2, 0x80, 0, 0, 0, 0}, std::uint16_t{1002})),
                    std::pair("continuation_of_nothing",
                              std::pair(framed(connect_packet("a"), true, true, Opcode::continuation),
                                        std::uint16_t{1002}))),
    [](const auto& row) { return row.param.first; });

TEST(half_an_upgrade, is_closed_at_the_connect_timeout) {
    auto options = web();
    options.connect_timeout = 150ms;
    Gateway gateway({nobody()}, options);
    const auto client = gateway.client();
    client.send("GET /mqtt HTTP/1.1\r\nHost: a\r\n");
    EXPECT_TRUE(client.closed());
    EXPECT_TRUE(eventually([&] { return gateway.counted(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT) == 1; }));
}

TEST(broker_without_websocket, is_left_for_the_next) {
    Broker wrong([](Socket& socket) {
        static_cast<void>(read_head(socket));
        socket.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    Broker right(web_echo());
    Gateway gateway({wrong.address(), right.address()}, web(true));
    for (int turn = 0; turn < 2; ++turn) {
        const auto client = gateway.client();
        auto frames = opened(client, framed(connect_packet("a")));
        EXPECT_EQ(frames.receive(4), accepted());
    }
    EXPECT_GE(gateway.counted(LIMPET_REASON_BROKER_PROTOCOL), 1u);
}

}  // namespace
}  // namespace limpet::session::test
