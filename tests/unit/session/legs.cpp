// SPDX-License-Identifier: Apache-2.0
// Legs with something over their sockets: bytes and ends cross as they do between plain ones.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "harness.h"
#include "session/relay.h"

namespace limpet::session::test {
namespace {

/// A channel with every inconvenience that one may have: it holds what it read, takes little at a time, takes
/// nothing every second time, and says goodbye at the second request.
class Awkward : public Channel {
  public:
    explicit Awkward(int socket) : socket_(socket) {}

    Read read(std::span<std::uint8_t> into) override {
        if (held_.empty()) {
            std::array<std::uint8_t, 1000> fresh{};
            const auto read = read_some(socket_, fresh);
            if (read.kind != Read::Kind::bytes) return read;
            for (std::size_t index = 0; index < read.count; ++index)
                held_.push_back(static_cast<std::uint8_t>(fresh[index] ^ mask));
        }
        const auto count = std::min({held_.size(), into.size(), std::size_t{7}});
        std::copy_n(held_.begin(), count, into.begin());
        held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(count));
        return {Read::Kind::bytes, count};
    }
    std::ptrdiff_t write(std::span<const std::uint8_t> bytes) override {
        if ((busy_ = !busy_)) return 0;
        std::array<std::uint8_t, 5> masked{};
        const auto count = std::min(bytes.size(), masked.size());
        for (std::size_t index = 0; index < count; ++index)
            masked[index] = static_cast<std::uint8_t>(bytes[index] ^ mask);
        return write_some(socket_, std::span(masked).first(count));
    }
    bool end() override { return std::exchange(asked_, true); }
    [[nodiscard]] bool buffered() const override { return !held_.empty(); }

    static constexpr std::uint8_t mask = 0x5a;

  private:
    int socket_;
    Bytes held_;
    bool busy_ = false;
    bool asked_ = false;
};

/// A leg and the peer that it leads to.
struct Side {
    explicit Side(boost::asio::io_context& loop) : leg(loop.get_executor()) {
        std::array<int, 2> pair{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
        EXPECT_TRUE(leg.take(Fd(pair[0])));
        peer = Fd(pair[1]);
    }
    Leg leg;
    Fd peer;
};

Bytes masked(Bytes text) {
    for (auto& byte : text) byte ^= Awkward::mask;
    return text;
}

TEST(legs_under_a_channel, move_every_byte_and_the_end) {
    boost::asio::io_context loop;
    Side client(loop);
    Side broker(loop);
    client.leg.cover(std::make_unique<Awkward>(client.leg.socket()));
    broker.leg.cover(std::make_unique<Awkward>(broker.leg.socket()));
    EXPECT_FALSE(client.leg.plain());
    Bytes data(20'000);
    for (std::size_t index = 0; index < data.size(); ++index)
        data[index] = static_cast<std::uint8_t>(index * 7);
    ASSERT_EQ(write_some(client.peer.get(), masked(data)), static_cast<std::ptrdiff_t>(data.size()));
    ::shutdown(client.peer.get(), SHUT_WR);
    Direction direction;
    Bytes scratch(4096);
    Bytes arrived;
    int turns = 0;
    bool waited_for_the_sink = false;
    while (!direction.passed_on && ++turns < 100'000) {
        ASSERT_TRUE(pump(client.leg, broker.leg, direction, scratch));
        waited_for_the_sink |= direction.ended && direction.idle() && direction.wants_sink();
        const auto read = read_some(broker.peer.get(), scratch);
        arrived.insert(arrived.end(), scratch.begin(),
                       scratch.begin() + static_cast<std::ptrdiff_t>(read.count));
    }
    EXPECT_EQ(arrived, masked(data));
    EXPECT_TRUE(waited_for_the_sink) << "the end is passed on only when the sink could say so";
    EXPECT_EQ(read_some(broker.peer.get(), scratch).kind, Read::Kind::end);
}

TEST(leg_that_holds_bytes, says_so_until_they_are_read) {
    boost::asio::io_context loop;
    Side side(loop);
    side.leg.cover(std::make_unique<Awkward>(side.leg.socket()));
    EXPECT_FALSE(side.leg.buffered());
    const auto sent = bytes("ten bytes.");
    ASSERT_EQ(write_some(side.peer.get(), sent), 10);
    Bytes into(64);
    EXPECT_EQ(side.leg.read(into).count, 7u);
    EXPECT_TRUE(side.leg.buffered());
    EXPECT_EQ(side.leg.read(into).count, 3u);
    EXPECT_FALSE(side.leg.buffered());
    EXPECT_EQ(side.leg.read(into).kind, Read::Kind::nothing);
}

TEST(leg_uncovered, is_plain_again) {
    boost::asio::io_context loop;
    Side side(loop);
    side.leg.cover(std::make_unique<Awkward>(side.leg.socket()));
    static_cast<void>(side.leg.uncover());
    EXPECT_TRUE(side.leg.plain());
    ASSERT_EQ(side.leg.write(bytes("as it is")), 8);
    Bytes into(64);
    const auto read = read_some(side.peer.get(), into);
    into.resize(read.count);
    EXPECT_EQ(into, bytes("as it is"));
}

}  // namespace
}  // namespace limpet::session::test
