// SPDX-License-Identifier: Apache-2.0
// Payloads through MQTT in either direction, by the clock and byte for byte.
//
//   transfer broker --listen ADDR:PORT,...
//   transfer client --connect ADDR:PORT --id TEXT
//
// Both print a line of JSON when they are ready, and one for each line of standard input:
//   client: up N      publishes N bytes and waits for the PINGRESP behind them
//           down N    subscribes to "down/N" and is sent N bytes
//   broker: read      connections, bytes that came, and what was wrong with them
// At the end of its input the client says DISCONNECT, half-closes and waits for the other side's end. Bytes
// are those of Stream, seeded by the client id and counted on from one transfer to the next; they are made
// before and checked after the clock runs.
#include <sys/uio.h>

#include <iostream>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "common.h"
#include "stream.h"

namespace {

using namespace load;

constexpr std::size_t publish_payload = 65536;
constexpr long patience = 30;  // seconds without a byte until a connection counts as hung
constexpr std::string_view topic{"\0\4data", 6};

std::uint64_t seed_of(std::string_view id) {
    std::uint64_t seed = 0;
    for (const char letter : id) seed = mix(seed ^ static_cast<unsigned char>(letter));
    return seed;
}

std::string header(char first, std::size_t length) {
    std::string out(1, first);
    for (;; length >>= 7) {  // MQTT-3.1.1 2.2.3
        out += static_cast<char>((length & 0x7f) | (length > 0x7f ? 0x80 : 0));
        if (length <= 0x7f) return out;
    }
}

/// A connection that reads and writes whole packets, and waits for them.
class Wire {
  public:
    struct Packet {
        char first;
        std::span<const char> body;  ///< until the next call of read()
    };

    explicit Wire(Fd fd) : fd_(std::move(fd)), buffer_(1u << 18) {
        const timeval limit{patience, 0};
        setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        const int on = 1;
        setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    [[nodiscard]] int descriptor() const { return fd_.get(); }

    /// False, with errno, when the connection is broken.
    bool write(std::string_view head, std::span<const char> tail = {}) {
        while (!head.empty() || !tail.empty()) {
            std::array<iovec, 2> parts{{{const_cast<char*>(head.data()), head.size()},
                                        {const_cast<char*>(tail.data()), tail.size()}}};
            msghdr message{};
            message.msg_iov = parts.data();
            message.msg_iovlen = parts.size();
            const ssize_t count = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
            if (count < 0) return false;
            const auto sent = static_cast<std::size_t>(count);
            const std::size_t of_head = std::min(sent, head.size());
            head.remove_prefix(of_head);
            tail = tail.subspan(sent - of_head);
        }
        return true;
    }

    /// Nothing at the other side's end (errno 0) or when the connection is broken (errno).
    std::optional<Packet> read() {
        begin_ += std::exchange(used_, 0);
        for (;;) {
            if (auto packet = whole()) return packet;
            if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
            end_ -= std::exchange(begin_, 0);
            errno = 0;
            if (end_ == buffer_.size()) return std::nullopt;  // longer than anything that is sent here
            const ssize_t count = recv(fd_.get(), buffer_.data() + end_, buffer_.size() - end_, 0);
            if (count <= 0) return std::nullopt;
            end_ += static_cast<std::size_t>(count);
        }
    }

  private:
    std::optional<Packet> whole() {
        std::size_t length = 0;
        std::size_t at = begin_ + 1;
        for (unsigned shift = 0;; shift += 7, ++at) {
            if (at >= end_) return std::nullopt;
            length |= static_cast<std::size_t>(buffer_[at] & 0x7f) << shift;
            if ((buffer_[at] & 0x80) == 0) break;
        }
        ++at;
        if (end_ - begin_ < at - begin_ + length) return std::nullopt;
        used_ = at - begin_ + length;
        return Packet{buffer_[begin_], std::span(buffer_).subspan(at, length)};
    }

    Fd fd_;
    std::vector<char> buffer_;
    std::size_t begin_ = 0, end_ = 0, used_ = 0;
};

/// One direction of one connection, at the end that sends.
class Source {
  public:
    Source(std::uint64_t seed, bool from_client) : stream_(seed, 0, from_client) {}
    void prepare(std::size_t count) {
        bytes_.resize(count);
        stream_.fill(position_, bytes_);
        position_ += count;
    }
    bool send(Wire& wire) const {
        for (std::span<const char> rest(bytes_); !rest.empty();) {
            const auto payload = rest.first(std::min(rest.size(), publish_payload));
            if (!wire.write(header('\x30', topic.size() + payload.size()) + std::string(topic), payload))
                return false;
            rest = rest.subspan(payload.size());
        }
        return true;
    }

  private:
    Stream stream_;
    std::uint64_t position_ = 0;
    std::vector<char> bytes_;
};

/// And at the end that receives.
class Sink {
  public:
    Sink(std::uint64_t seed, bool from_client) : stream_(seed, 0, from_client) {}
    /// False for a packet that is no PUBLISH of ours.
    bool take(const Wire::Packet& packet) {
        const std::string_view body(packet.body.data(), packet.body.size());
        if (packet.first != '\x30' || !body.starts_with(topic)) return false;
        const auto payload = packet.body.subspan(topic.size());
        bytes_.insert(bytes_.end(), payload.begin(), payload.end());
        return true;
    }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    /// What is wrong with what came since the last time; nothing when it is right.
    std::optional<std::string> check() {
        auto wrong = stream_.wrong(position_, bytes_);
        position_ += bytes_.size();
        bytes_.clear();
        return wrong;
    }

  private:
    Stream stream_;
    std::uint64_t position_ = 0;
    std::vector<char> bytes_;
};

struct Totals {
    std::mutex mutex;
    std::uint64_t connections = 0, bytes = 0, wrong = 0;
    std::string first;

    void add(std::uint64_t count, const std::optional<std::string>& trouble) {
        const std::lock_guard guard(mutex);
        bytes += count;
        if (!trouble) return;
        ++wrong;
        if (first.empty()) first = *trouble;
    }
} totals;

/// The client id of a CONNECT's body (MQTT 3.1.1).
std::string client_id(std::span<const char> body) {
    constexpr std::size_t before = 12;  // name, level, flags, keep-alive, length of the id
    return body.size() < before ? std::string() : std::string(body.data() + before, body.size() - before);
}

void serve(Fd fd) {
    Wire wire(std::move(fd));
    const auto connect = wire.read();
    if (!connect || connect->first != '\x10') return;  // somebody looked whether we listen, and how
    const std::uint64_t seed = seed_of(client_id(connect->body));
    Source down(seed, false);
    Sink up(seed, true);
    {
        const std::lock_guard guard(totals.mutex);
        ++totals.connections;
    }
    if (!wire.write({"\x20\2\0\0", 4})) return;
    while (const auto packet = wire.read()) {
        if (packet->first == '\xE0') break;
        if (packet->first == '\xC0') {
            if (!wire.write({"\xD0\0", 2})) break;
            const std::size_t count = up.size();
            totals.add(count, up.check());
        } else if (packet->first == '\x82') {
            constexpr std::size_t before = 2 + 2 + 5;  // packet id, length, "down/"
            const std::string filter(packet->body.data() + before, packet->body.size() - before - 1);
            down.prepare(number<std::size_t>(filter));
            if (!wire.write({"\x90\3\0\1\0", 5}) || !down.send(wire)) break;
        } else if (!up.take(*packet)) {
            totals.add(0, "a packet that nobody sent");
            break;
        }
    }
}

[[noreturn]] void accept_all(Fd listener) {
    for (;;) {
        Fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (fd.open()) std::thread(serve, std::move(fd)).detach();
    }
}

int run_broker(const Arguments& arguments) {
    for (const Address& address : arguments.addresses("listen")) {
        Fd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int on = 1;
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd.get(), address.get(), address.length) != 0 || listen(fd.get(), 1024) != 0) fail("listen");
        std::thread(accept_all, std::move(fd)).detach();
    }
    std::printf("{\"listening\":true}\n");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        const std::lock_guard guard(totals.mutex);
        std::printf("{\"connections\":%lu,\"bytes\":%lu,\"wrong\":%lu,\"first\":\"%s\"}\n",
                    totals.connections, totals.bytes, totals.wrong, totals.first.c_str());
        std::fflush(stdout);
    }
    std::_Exit(0);  // with the threads of whoever is still connected
}

void report_connected(int descriptor) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) fail("TCP_INFO");
    const auto has = [&](unsigned option) { return (info.tcpi_options & option) != 0 ? "true" : "false"; };
    std::printf(
        "{\"event\":\"connected\",\"timestamps\":%s,\"sack\":%s,\"window_scale\":%s,\"announced_mss\":%u,"
        "\"send_mss\":%u}\n",
        has(TCPI_OPT_TIMESTAMPS), has(TCPI_OPT_SACK), has(TCPI_OPT_WSCALE), info.tcpi_advmss,
        info.tcpi_snd_mss);
}

void report_transfer(const char* event, std::size_t bytes, std::int64_t begin, std::int64_t end) {
    std::printf("{\"event\":\"%s\",\"bytes\":%zu,\"seconds\":%.6f}\n", event, bytes,
                static_cast<double>(std::max<std::int64_t>(end - begin, 1)) / 1e6);
}

Wire::Packet expect(Wire& wire, const char* what) {
    auto packet = wire.read();
    if (!packet) fail(std::string("waiting for ") + what + (errno == 0 ? ": the other side closed" : ""));
    return *packet;
}

void send_up(Wire& wire, Source& up, std::size_t count) {
    up.prepare(count);
    const std::int64_t begin = now();
    if (!up.send(wire) || !wire.write({"\xC0\0", 2})) fail("sending");
    if (expect(wire, "PINGRESP").first != '\xD0') fail("not answered by PINGRESP");
    report_transfer("up", count, begin, now());
}

void fetch_down(Wire& wire, Sink& down, std::size_t count) {
    const std::string filter = "down/" + std::to_string(count);
    std::string body{"\0\1\0", 3};
    body += static_cast<char>(filter.size());
    body += filter + '\0';
    if (!wire.write(header('\x82', body.size()) + body)) fail("subscribing");
    if (expect(wire, "SUBACK").first != '\x90') fail("not answered by SUBACK");
    const std::int64_t begin = now();
    while (down.size() < count)
        if (!down.take(expect(wire, "PUBLISH"))) fail("a packet that nobody sent");
    const std::int64_t end = now();
    errno = 0;
    if (const auto wrong = down.check()) fail("down: " + *wrong);
    report_transfer("down", count, begin, end);
}

int run_client(const Arguments& arguments) {
    const auto targets = arguments.addresses("connect");
    const std::string id = arguments.text("id");
    if (targets.size() != 1 || id.empty()) fail("--connect ADDR:PORT and --id TEXT");
    Fd fd(socket(targets[0].family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int descriptor = fd.get();
    Wire wire(std::move(fd));
    if (connect(descriptor, targets[0].get(), targets[0].length) != 0) fail("connect");
    if (!wire.write(connect_packet(id, 600))) fail("CONNECT");
    const auto answer = expect(wire, "CONNACK");
    if (answer.first != '\x20' || answer.body.size() != 2 || answer.body[1] != 0) fail("CONNACK is not 0");
    report_connected(descriptor);
    std::fflush(stdout);
    Source up(seed_of(id), true);
    Sink down(seed_of(id), false);
    for (std::string line; std::getline(std::cin, line);) {
        errno = 0;
        if (line.starts_with("up "))
            send_up(wire, up, number<std::size_t>(std::string_view(line).substr(3)));
        else if (line.starts_with("down "))
            fetch_down(wire, down, number<std::size_t>(std::string_view(line).substr(5)));
        else
            fail("unknown command " + line);
        std::fflush(stdout);
    }
    const bool said = wire.write({"\xE0\0", 2}) && shutdown(descriptor, SHUT_WR) == 0;
    const bool orderly = said && !wire.read() && errno == 0;
    std::printf("{\"event\":\"left\",\"orderly\":%s}\n", orderly ? "true" : "false");
    return 0;
}

}  // namespace

int main(int count, char** values) {
    const std::string_view role = count > 1 ? values[1] : "";
    if (role == "broker") return run_broker(Arguments(count, values, 2));
    if (role == "client") return run_client(Arguments(count, values, 2));
    std::fprintf(stderr, "transfer: broker or client, and --name value\n");
    return 2;
}
