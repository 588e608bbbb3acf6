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
#include <unordered_set>

#include "common.h"
#include "peer.h"

namespace {

using namespace load;

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
        busy_.insert(descriptor);
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
            if (found == peers_.end()) {
                others.push_back(descriptor);
                continue;
            }
            found->second->readable();
            busy_.insert(descriptor);
        }
        const std::int64_t time = now();
        if (time > next_look_) look_at_all(time);
        for (auto each = busy_.begin(); each != busy_.end();) {
            Peer& peer = *peers_.at(*each);
            peer.work(time);
            if (peer.end() == Peer::End::none && !peer.idle()) {
                ++each;
                continue;
            }
            if (peer.end() != Peer::End::none) {
                account(peer);
                peers_.erase(*each);
            }
            each = busy_.erase(each);
        }
        return others;
    }

    /// From now on everybody may end.
    void release_all() {
        for (auto& [descriptor, peer] : peers_) {
            peer->release();
            busy_.insert(descriptor);
        }
    }

  private:
    /// Once a second: has anybody got stuck?
    void look_at_all(std::int64_t time) {
        next_look_ = time + 1'000'000;
        for (auto& [descriptor, peer] : peers_) {
            peer->give_up_if_hung(time);
            if (peer->end() != Peer::End::none) busy_.insert(descriptor);
        }
    }

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
    std::unordered_set<int> busy_;  ///< descriptors of those that have something to do
    std::int64_t next_look_ = 0;
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
                if (arguments.count("hold", 0) != 0) peer->hold();
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
    bool held = arguments.count("hold", 0) != 0;
    Crowd crowd;
    if (held) crowd.watch(STDIN_FILENO);
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
            if (held) peer->hold();
            peer->greet(connect_packet(
                "f" + std::to_string(started) + "-" + std::to_string(up) + "-" + std::to_string(down), 600));
            crowd.add(std::move(peer));
            ++started;
        }
        if (!crowd.turn().empty()) {  // only standard input is watched besides: it has ended
            held = false;
            crowd.forget(STDIN_FILENO);
            crowd.release_all();
        }
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
