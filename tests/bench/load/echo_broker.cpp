// SPDX-License-Identifier: Apache-2.0
// A broker that costs next to nothing, so that it is not what is measured: CONNECT -> CONNACK, SUBSCRIBE ->
// SUBACK, PINGREQ -> PINGRESP, PUBLISH of QoS 0 comes back as it is, of QoS 1 is acknowledged, DISCONNECT
// closes.
//
//   echo_broker --listen ADDR:PORT,...
//
// Runs until it is ended from outside.
#include <sys/epoll.h>

#include <array>

#include "common.h"
#include "mqtt.h"

namespace {

using namespace load;

struct Connection {
    Fd fd;
    std::string input;   ///< the beginning of a packet whose end has not come
    std::string output;  ///< what the socket did not take; until it is gone, nothing more is read
};

class Broker {
  public:
    explicit Broker(const std::vector<Address>& addresses) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        if (addresses.empty()) fail("--listen ADDR:PORT is missing");
        for (const Address& address : addresses) listen_at(address);
    }

    [[noreturn]] void run() {
        std::array<epoll_event, 256> events;
        for (;;) {
            const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
            for (int i = 0; i < count; ++i) {
                const epoll_event& event = events[static_cast<std::size_t>(i)];
                if (is_listener(event.data.fd))
                    accept_some(event.data.fd);
                else if ((event.events & EPOLLOUT) != 0)
                    flush(connection(event.data.fd), {});
                else
                    receive(connection(event.data.fd));
            }
        }
    }

  private:
    void listen_at(const Address& address) {
        Fd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const int on = 1;
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd.get(), address.get(), address.length) != 0 || listen(fd.get(), 16384) != 0)
            fail("listen");
        watch(fd.get(), EPOLL_CTL_ADD, EPOLLIN);
        listeners_.push_back(std::move(fd));
    }

    [[nodiscard]] bool is_listener(int fd) const {
        for (const Fd& listener : listeners_)
            if (listener.get() == fd) return true;
        return false;
    }

    void accept_some(int listener) {
        for (int i = 0; i < 64; ++i) {
            Fd fd(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
            if (!fd.open()) return;
            const int on = 1;
            setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            const auto index = static_cast<std::size_t>(fd.get());
            if (connections_.size() <= index) connections_.resize(index + 1);
            watch(fd.get(), EPOLL_CTL_ADD, EPOLLIN);
            connections_[index] = Connection{std::move(fd), {}, {}};
        }
    }

    Connection& connection(int fd) { return connections_[static_cast<std::size_t>(fd)]; }

    void watch(int fd, int operation, std::uint32_t events) {
        epoll_event event{};
        event.events = events;
        event.data.fd = fd;
        if (epoll_ctl(epoll_.get(), operation, fd, &event) != 0) fail("epoll_ctl");
    }

    void receive(Connection& connection) {
        static std::array<char, 1 << 16> buffer;
        const ssize_t count = read(connection.fd.get(), buffer.data(), buffer.size());
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (count <= 0) return end(connection);
        std::string_view bytes(buffer.data(), static_cast<std::size_t>(count));
        if (!connection.input.empty()) {
            connection.input.append(bytes);
            bytes = connection.input;
        }
        std::string out;
        const std::size_t total = bytes.size();
        while (const auto packet = first_packet(bytes)) {
            if (!answer(*packet, bytes.substr(0, packet->size), out)) return end(connection);
            bytes.remove_prefix(packet->size);
        }
        if (bytes.size() != total || connection.input.empty()) connection.input = std::string(bytes);
        flush(connection, out);
    }

    /// Appends the answer to `out`; false where the client has said goodbye.
    static bool answer(const Packet& packet, std::string_view whole, std::string& out) {
        const auto number = packet.body.substr(0, 2);
        switch (packet.first & 0xf0) {
            case 0x10:
                out.append("\x20\2\0\0", 4);
                break;
            case 0x80:
                out.append("\x90\3", 2).append(number).append(1, '\0');
                break;
            case 0xc0:
                out.append("\xd0\0", 2);
                break;
            case 0x30:
                if ((packet.first & 0x06) == 0) {
                    out.append(whole);
                } else {
                    const auto topic = static_cast<std::size_t>(static_cast<std::uint8_t>(packet.body[0]))
                                           << 8 |
                                       static_cast<std::uint8_t>(packet.body[1]);
                    out.append("\x40\2", 2).append(packet.body.substr(2 + topic, 2));
                }
                break;
            case 0xe0:
                return false;
            default:
                break;
        }
        return true;
    }

    void flush(Connection& connection, std::string_view out) {
        const bool waited = !connection.output.empty();
        if (waited) out = connection.output;
        if (out.empty()) return;
        const ssize_t count = send(connection.fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN) return end(connection);
        connection.output = std::string(out.substr(count > 0 ? static_cast<std::size_t>(count) : 0));
        if (waited != !connection.output.empty())
            watch(connection.fd.get(), EPOLL_CTL_MOD, connection.output.empty() ? EPOLLIN : EPOLLOUT);
    }

    static void end(Connection& connection) { connection = Connection(); }

    Fd epoll_;
    std::vector<Fd> listeners_;
    std::vector<Connection> connections_;  ///< by descriptor
};

}  // namespace

int main(int count, char** values) {
    Broker(Arguments(count, values, 1).addresses("listen")).run();
}
