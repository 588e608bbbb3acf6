// SPDX-License-Identifier: Apache-2.0
// Integrity under flood: clients and brokers that stream random bytes at each other from the first byte after
// CONNECT, and check every byte that arrives.
//
//   flood broker --listen ADDR:PORT,...  [--seed N]
//   flood client --connect ADDR:PORT --count N [--at-once N] [--bytes N] [--linger MS] [--seed N] [--source
//   ADDR,...]
//
// The client id carries what the other end needs to know: "f<number>-<bytes up>-<bytes down>". A broker
// answers CONNECT after 0 to 5 ms. Both print one line of JSON at their end: the client when all connections
// are over, the broker when its standard input ends and the connections that it still has are over.
#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <memory>
#include <set>
#include <unordered_map>

#include "common.h"
#include "stream.h"

namespace {

using namespace load;

constexpr std::int64_t connection_limit =
    30'000'000;  ///< microseconds without a byte until it counts as hung
constexpr std::size_t largest_chunk = 1400;
constexpr std::size_t burst_chunk = 65536;

struct Totals {
    std::uint64_t connections = 0;
    std::uint64_t whole = 0;     ///< every byte right, and an orderly end
    std::uint64_t mismatch = 0;  ///< a byte lost, doubled, moved or changed
    std::uint64_t cut = 0;       ///< ended too early
    std::uint64_t hung = 0;
    std::uint64_t refused = 0;  ///< no connection or no CONNACK 0
    std::uint64_t twice = 0;    ///< the broker saw the same client again
    std::uint64_t bytes = 0;    ///< checked
    std::string first;          ///< what was wrong first

    void print(std::int64_t begin) const {
        std::printf(
            "{\"connections\":%lu,\"whole\":%lu,\"mismatch\":%lu,\"cut\":%lu,\"hung\":%lu,\"refused\":%lu,"
            "\"twice\":%lu,\"bytes\":%lu,\"seconds\":%.3f,\"first\":\"%s\"}\n",
            connections, whole, mismatch, cut, hung, refused, twice, bytes,
            static_cast<double>(now() - begin) / 1e6, first.c_str());
    }
};

/// One end of one connection. Writes in chunks at small random distances, so that the handoff finds bytes
/// under way in both directions; every fourth connection sends as fast as it can instead.
class Peer {
  public:
    enum class End { none, whole, mismatch, cut, hung, refused };

    Peer(Fd fd, bool client, std::uint64_t seed) : fd_(std::move(fd)), client_(client), seed_(seed) {}

    /// The client knows from the start what the broker learns from CONNECT.
    void identify(std::uint64_t id, std::uint64_t up, std::uint64_t down) {
        id_ = id;
        out_total_ = client_ ? up : down;
        in_total_ = client_ ? down : up;
        out_ = Stream(seed_, id, client_);
        in_ = Stream(seed_, id, !client_);
        random_ = mix(seed_ ^ mix(id * 2 + (client_ ? 1 : 0)));
    }
    /// What is sent first; for every fourth connection the first bytes of the stream ride along.
    void greet(const std::string& connect) {
        if (id_ % 4 == 1) prepare();
        pending_.insert(0, connect);
    }
    void linger(std::int64_t microseconds) { linger_ = microseconds; }

    [[nodiscard]] int descriptor() const { return fd_.get(); }
    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] bool identified() const { return identified_ || client_; }
    [[nodiscard]] std::uint64_t checked() const { return received_; }
    [[nodiscard]] End end() const { return end_; }
    [[nodiscard]] const std::string& trouble() const { return trouble_; }

    void readable() {
        static std::array<char, 1 << 18> buffer;
        while (end_ == End::none) {
            const ssize_t count = read(fd_.get(), buffer.data(), buffer.size());
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
            last_byte_ = now();
            if (count < 0) return stop(End::cut, std::string("read: ") + std::strerror(errno));
            if (count == 0) return on_end_of_stream();
            take({buffer.data(), static_cast<std::size_t>(count)});
        }
    }

    /// Sends what is due; called again and again.
    void work() {
        const std::int64_t time = now();
        if (end_ == End::none && time - last_byte_ > connection_limit)
            stop(End::hung, "no byte for half a minute");
        while (end_ == End::none && time >= next_write_) {
            if (pending_.empty() && !prepare()) return finish(time);
            const ssize_t count = send(fd_.get(), pending_.data(), pending_.size(), MSG_NOSIGNAL);
            if (count < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
            if (count < 0)
                return stop(greeted_ ? End::cut : End::refused, std::string("send: ") + std::strerror(errno));
            last_byte_ = time;
            pending_.erase(0, static_cast<std::size_t>(count));
            greeted_ = true;
            if (pending_.empty() && !burst()) next_write_ = time + static_cast<std::int64_t>(draw() % 2000);
        }
    }

  private:
    std::uint64_t draw() { return random_ = mix(random_); }
    [[nodiscard]] bool burst() const { return id_ % 4 == 3; }

    /// The next chunk of the stream; false when there is nothing to say now.
    bool prepare() {
        if (!identified() || sent_ == out_total_ || (client_ && id_ % 4 == 2 && !answered_)) return false;
        const std::uint64_t wanted = burst() ? burst_chunk : 1 + draw() % largest_chunk;
        pending_.resize(std::min(wanted, out_total_ - sent_));
        out_.fill(sent_, pending_);
        sent_ += pending_.size();
        return true;
    }

    /// Everything is said: half-close, after the time that it wants to stay.
    void finish(std::int64_t time) {
        if (!identified() || sent_ != out_total_ || closed_ || !answered_) return;
        if (time < answered_at_ + linger_) return;
        closed_ = true;
        shutdown(fd_.get(), SHUT_WR);
        if (peer_closed_) stop(End::whole, {});
    }

    void take(std::span<const char> bytes) {
        if (!answered_ && !client_) return take_connect(bytes);
        if (!answered_) {
            header_.append(bytes.data(), std::min<std::size_t>(4 - header_.size(), bytes.size()));
            bytes = bytes.subspan(std::min(bytes.size(), header_.size() - had_));
            had_ = header_.size();
            if (had_ < 4) return;
            if (header_ != std::string_view("\x20\x02\0\0", 4)) return stop(End::refused, "CONNACK is not 0");
            answered();
        }
        check(bytes);
    }

    /// The broker's side of the beginning: CONNECT, which may come in pieces, and what follows it.
    void take_connect(std::span<const char> bytes) {
        header_.append(bytes.data(), bytes.size());
        std::size_t length = 0;
        std::size_t at = 1;
        for (unsigned shift = 0;; shift += 7, ++at) {
            if (at >= header_.size()) return;
            length |= static_cast<std::size_t>(header_[at] & 0x7f) << shift;
            if ((header_[at] & 0x80) == 0) break;
        }
        ++at;
        if (header_.size() < at + length) return;
        constexpr std::size_t id_offset = 12;  // name, level, flags, keep-alive, length of the id
        const std::string id = header_.substr(at + id_offset, length - id_offset);
        const auto first = id.find('-');
        const auto second = id.rfind('-');
        if (header_[0] != 0x10 || !id.starts_with('f') || first == second)
            return stop(End::mismatch, "CONNECT is not as it was sent: " + id);
        const std::string_view view = id;
        identify(number<std::uint64_t>(view.substr(1, first - 1)),
                 number<std::uint64_t>(view.substr(first + 1, second - first - 1)),
                 number<std::uint64_t>(view.substr(second + 1)));
        identified_ = true;
        pending_.assign("\x20\x02\0\0", 4);
        next_write_ = now() + static_cast<std::int64_t>(draw() % 5000);
        answered();
        const std::string rest = header_.substr(at + length);
        check(rest);
    }

    void answered() {
        answered_ = true;
        answered_at_ = now();
    }

    void check(std::span<const char> bytes) {
        if (bytes.empty()) return;
        if (received_ + bytes.size() > in_total_) return stop(End::mismatch, "more bytes than were sent");
        if (const auto wrong = in_.wrong(received_, bytes)) return stop(End::mismatch, *wrong);
        received_ += bytes.size();
    }

    void on_end_of_stream() {
        peer_closed_ = true;
        if (!answered_) return stop(End::refused, "closed before CONNACK");
        if (received_ != in_total_)
            return stop(End::cut,
                        "end after " + std::to_string(received_) + " of " + std::to_string(in_total_));
        if (closed_) stop(End::whole, {});
    }

    void stop(End end, const std::string& trouble) {
        end_ = end;
        if (end != End::whole)
            trouble_ = (client_ ? "client " : "broker ") + std::to_string(id_) + ": " + trouble;
    }

    Fd fd_;
    bool client_;
    std::uint64_t seed_;
    std::uint64_t id_ = 0;
    std::uint64_t random_ = 0;
    Stream out_, in_;
    std::uint64_t out_total_ = 0, in_total_ = 0, sent_ = 0, received_ = 0;
    std::string pending_;  ///< to be sent before anything else
    std::string header_;   ///< CONNECT or CONNACK as far as it has come
    std::size_t had_ = 0;
    std::int64_t next_write_ = 0, last_byte_ = now(), answered_at_ = 0, linger_ = 0;
    bool identified_ = false, answered_ = false, greeted_ = false, closed_ = false, peer_closed_ = false;
    End end_ = End::none;
    std::string trouble_;
};

/// All connections of this process.
class Crowd {
  public:
    Crowd() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

    void watch(int descriptor) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = descriptor;
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) fail("epoll_ctl");
    }
    void forget(int descriptor) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr); }
    Peer& add(std::unique_ptr<Peer> peer) {
        const int descriptor = peer->descriptor();
        watch(descriptor);
        return *(peers_[descriptor] = std::move(peer));
    }
    [[nodiscard]] std::size_t size() const { return peers_.size(); }
    [[nodiscard]] const Totals& totals() const { return totals_; }
    Totals& totals() { return totals_; }

    /// One round: what arrived, what is due, who is through. Returns descriptors that are not connections.
    std::vector<int> turn() {
        std::array<epoll_event, 512> events;
        std::vector<int> others;
        const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 1);
        for (int i = 0; i < count; ++i) {
            const int descriptor = events[static_cast<std::size_t>(i)].data.fd;
            const auto found = peers_.find(descriptor);
            if (found == peers_.end())
                others.push_back(descriptor);
            else
                found->second->readable();
        }
        for (auto each = peers_.begin(); each != peers_.end();) {
            each->second->work();
            if (each->second->end() == Peer::End::none) {
                ++each;
                continue;
            }
            account(*each->second);
            each = peers_.erase(each);
        }
        return others;
    }

  private:
    void account(const Peer& peer) {
        if (!peer.identified()) return;  // somebody looked whether we listen, and left
        ++totals_.connections;
        totals_.bytes += peer.checked();
        if (!seen_.insert(peer.id()).second) ++totals_.twice;
        switch (peer.end()) {
            case Peer::End::whole:
                ++totals_.whole;
                break;
            case Peer::End::mismatch:
                ++totals_.mismatch;
                break;
            case Peer::End::cut:
                ++totals_.cut;
                break;
            case Peer::End::hung:
                ++totals_.hung;
                break;
            default:
                ++totals_.refused;
                break;
        }
        if (totals_.first.empty()) totals_.first = peer.trouble();
    }

    Fd epoll_;
    std::unordered_map<int, std::unique_ptr<Peer>> peers_;
    std::set<std::uint64_t> seen_;
    Totals totals_;
};

int run_broker(const Arguments& arguments) {
    Crowd crowd;
    std::vector<Fd> listeners;
    for (const Address& address : arguments.addresses("listen")) {
        Fd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const int on = 1;
        setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd.get(), address.get(), address.length) != 0 || listen(fd.get(), 4096) != 0) fail("listen");
        crowd.watch(fd.get());
        listeners.push_back(std::move(fd));
    }
    crowd.watch(STDIN_FILENO);
    bool ending = false;
    const std::int64_t begin = now();
    std::printf("{\"listening\":%zu}\n", listeners.size());
    std::fflush(stdout);
    while (!ending || crowd.size() > 0) {
        for (const int descriptor : crowd.turn()) {
            if (descriptor == STDIN_FILENO) {
                ending = true;
                crowd.forget(STDIN_FILENO);
                continue;
            }
            for (;;) {
                Fd fd(accept4(descriptor, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
                if (!fd.open()) break;
                const int on = 1;
                setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                auto peer = std::make_unique<Peer>(std::move(fd), false, arguments.count("seed", 1));
                peer->linger(static_cast<std::int64_t>(arguments.count("linger", 300)) * 1000);
                crowd.add(std::move(peer));
            }
        }
    }
    crowd.totals().print(begin);
    return 0;
}

int run_client(const Arguments& arguments) {
    const auto targets = arguments.addresses("connect");
    auto sources = arguments.addresses("source");
    if (targets.empty()) fail("--connect ADDR:PORT is missing");
    if (sources.empty()) sources.emplace_back();
    const std::uint64_t count = arguments.count("count", 100);
    const std::uint64_t at_once = arguments.count("at-once", 200);
    const std::uint64_t bytes = arguments.count("bytes", 32768);
    const std::uint64_t seed = arguments.count("seed", 1);
    Crowd crowd;
    const std::int64_t begin = now();
    for (std::uint64_t started = 0; started < count || crowd.size() > 0;) {
        // A few in each round, so that connects and the others' streams are mixed.
        for (int batch = 0; batch < 8 && started < count && crowd.size() < at_once; ++batch) {
            Fd fd = start_connect(targets[started % targets.size()], sources[started % sources.size()]);
            if (!fd.open()) fail("connect");
            const std::uint64_t up = 1 + mix(seed ^ started) % (2 * bytes);
            const std::uint64_t down = 1 + mix(seed ^ ~started) % (2 * bytes);
            auto peer = std::make_unique<Peer>(std::move(fd), true, seed);
            peer->identify(started, up, down);
            peer->linger(static_cast<std::int64_t>(arguments.count("linger", 300)) * 1000);
            peer->greet(connect_packet(
                "f" + std::to_string(started) + "-" + std::to_string(up) + "-" + std::to_string(down), 60));
            crowd.add(std::move(peer));
            ++started;
        }
        crowd.turn();
    }
    crowd.totals().print(begin);
    return crowd.totals().whole == count ? 0 : 1;
}

}  // namespace

int main(int count, char** values) {
    const std::string_view role = count > 1 ? values[1] : "";
    if (role == "broker") return run_broker(Arguments(count, values, 2));
    if (role == "client") return run_client(Arguments(count, values, 2));
    std::fprintf(stderr, "flood: broker or client, and --name value\n");
    return 2;
}
