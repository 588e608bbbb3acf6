// SPDX-License-Identifier: Apache-2.0
// Integrity under flood: clients and brokers that stream random bytes at each other from the first byte after
// CONNECT, and check every byte that arrives.
//
//   flood broker --listen ADDR:PORT,...  [--seed N] [--hold 1] [--report 1] [--probe SECONDS]
//   flood client --connect ADDR:PORT --count N [--at-once N] [--bytes N] [--seed N] [--source ADDR,...]
//                [--keep-alive SECONDS] [--hold 1] [--first N] [--until-whole 1] [--report 1] [--probe
//                SECONDS]
//
// --hold: nobody half-closes before standard input ends. --first: the number of the first connection.
// --until-whole: goes on, with new numbers, until so many connections were whole. --report: tells of every
// connection that was not whole its number, end, beginning and end (microseconds of CLOCK_MONOTONIC),
// endpoint and trouble.
// --probe: keep-alive probes after so many silent seconds.
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
    std::string report;         ///< of those that were not whole, as elements of a JSON array

    void print(std::int64_t begin) const {
        std::printf(
            "{\"connections\":%lu,\"whole\":%lu,\"mismatch\":%lu,\"cut\":%lu,\"hung\":%lu,\"refused\":%lu,"
            "\"twice\":%lu,\"bytes\":%lu,\"seconds\":%.3f,\"first\":\"%s\",\"report\":[%s]}\n",
            connections, whole, mismatch, cut, hung, refused, twice, bytes,
            static_cast<double>(now() - begin) / 1e6, first.c_str(), report.c_str());
    }
    void tell_of(const Peer& peer, std::string_view end) {
        report += (report.empty() ? "{\"id\":" : ",{\"id\":") + std::to_string(peer.id());
        report += ",\"end\":\"" + std::string(end) + "\",\"began\":" + std::to_string(peer.began());
        report += ",\"ended\":" + std::to_string(now()) + ",\"endpoint\":\"" + text_of(peer.endpoint());
        report += "\",\"trouble\":\"" + peer.trouble() + "\"}";
    }
};

/// All connections of this process.
class Crowd {
  public:
    explicit Crowd(const Arguments& arguments)
        : epoll_(epoll_create1(EPOLL_CLOEXEC)), reporting_(arguments.count("report", 0) != 0) {}

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
        const auto [count, name] = kind_of(peer.end());
        ++(totals_.*count);
        if (totals_.first.empty()) totals_.first = peer.trouble();
        if (reporting_ && peer.end() != Peer::End::whole) totals_.tell_of(peer, name);
    }

    using Kind = std::pair<std::uint64_t Totals::*, std::string_view>;
    static Kind kind_of(Peer::End end) {
        switch (end) {
            case Peer::End::whole:
                return {&Totals::whole, "whole"};
            case Peer::End::mismatch:
                return {&Totals::mismatch, "mismatch"};
            case Peer::End::cut:
                return {&Totals::cut, "cut"};
            case Peer::End::hung:
                return {&Totals::hung, "hung"};
            default:
                return {&Totals::refused, "refused"};
        }
    }

    Fd epoll_;
    bool reporting_;
    std::unordered_map<int, std::unique_ptr<Peer>> peers_;
    std::unordered_set<int> busy_;  ///< descriptors of those that have something to do
    std::int64_t next_look_ = 0;
    std::set<std::uint64_t> seen_;
    Totals totals_;
};

/// Somebody who only waits learns that the other side is gone, even if the RST that said so was lost.
void probe(int descriptor, std::uint64_t silent_seconds) {
    if (silent_seconds == 0) return;
    const int on = 1, tries = 5;
    const int silence = static_cast<int>(silent_seconds);
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &silence, sizeof silence);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
}

void take_connections(int listener, Crowd& crowd, const Arguments& arguments) {
    for (;;) {
        Address from;
        from.length = sizeof from.storage;
        Fd fd(accept4(listener, reinterpret_cast<sockaddr*>(&from.storage), &from.length,
                      SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd.open()) return;
        const int on = 1;
        setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        probe(fd.get(), arguments.count("probe", 0));
        auto peer = std::make_unique<Peer>(std::move(fd), false, arguments.count("seed", 1));
        peer->at(from);
        if (arguments.count("hold", 0) != 0) peer->hold();
        crowd.add(std::move(peer));
    }
}

int run_broker(const Arguments& arguments) {
    Crowd crowd(arguments);
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
            take_connections(descriptor, crowd, arguments);
        }
    }
    crowd.totals().print(begin);
    return 0;
}

/// Makes the client's connections, one number after the other.
class Starter {
  public:
    explicit Starter(const Arguments& arguments)
        : targets_(arguments.addresses("connect")),
          sources_(arguments.addresses("source")),
          bytes_(arguments.count("bytes", 32768)),
          seed_(arguments.count("seed", 1)),
          next_(arguments.count("first", 0)),
          probe_(arguments.count("probe", 0)),
          keep_alive_(static_cast<unsigned>(arguments.count("keep-alive", 600))) {
        if (targets_.empty()) fail("--connect ADDR:PORT is missing");
        if (sources_.empty()) sources_.emplace_back();
    }
    std::unique_ptr<Peer> start(bool held) {
        Fd fd = start_connect(targets_[next_ % targets_.size()], sources_[next_ % sources_.size()]);
        if (!fd.open()) fail("connect");
        probe(fd.get(), probe_);
        Address own;
        own.length = sizeof own.storage;
        getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own.storage), &own.length);
        const std::uint64_t up = 1 + mix(seed_ ^ next_) % (2 * bytes_);
        const std::uint64_t down = 1 + mix(seed_ ^ ~next_) % (2 * bytes_);
        auto peer = std::make_unique<Peer>(std::move(fd), true, seed_);
        peer->at(own);
        peer->identify(next_, up, down);
        if (held) peer->hold();
        peer->greet(connect_packet(
            "f" + std::to_string(next_) + "-" + std::to_string(up) + "-" + std::to_string(down),
            keep_alive_));
        ++next_;
        return peer;
    }

  private:
    std::vector<Address> targets_, sources_;
    std::uint64_t bytes_, seed_, next_, probe_;
    unsigned keep_alive_;
};

int run_client(const Arguments& arguments) {
    constexpr std::int64_t pause = 20'000;  // microseconds until somebody who failed is followed by another
    Starter starter(arguments);
    const std::uint64_t count = arguments.count("count", 100);
    const std::uint64_t at_once = arguments.count("at-once", 200);
    const bool until_whole = arguments.count("until-whole", 0) != 0;
    bool held = arguments.count("hold", 0) != 0;
    Crowd crowd(arguments);
    if (held) crowd.watch(STDIN_FILENO);
    const std::int64_t begin = now();
    const Totals& totals = crowd.totals();
    std::uint64_t started = 0;
    std::uint64_t failed = 0;
    std::int64_t next_start = 0;
    const auto wanted = [&] { return until_whole ? totals.whole + crowd.size() < count : started < count; };
    while (wanted() || crowd.size() > 0) {
        // A few in each round, so that connects and the others' streams are mixed.
        for (int batch = 0; batch < 8 && wanted() && crowd.size() < at_once && now() >= next_start; ++batch) {
            crowd.add(starter.start(held));
            ++started;
        }
        if (!crowd.turn().empty()) {  // only standard input is watched besides: it has ended
            held = false;
            crowd.forget(STDIN_FILENO);
            crowd.release_all();
        }
        const std::uint64_t failed_now = totals.connections - totals.whole;
        if (std::exchange(failed, failed_now) != failed_now) next_start = now() + pause;
    }
    totals.print(begin);
    return totals.whole == count ? 0 : 1;
}

}  // namespace

int main(int count, char** values) {
    const std::string_view role = count > 1 ? values[1] : "";
    if (role == "broker") return run_broker(Arguments(count, values, 2));
    if (role == "client") return run_client(Arguments(count, values, 2));
    std::fprintf(stderr, "flood: broker or client, and --name value\n");
    return 2;
}
