// SPDX-License-Identifier: Apache-2.0
// Connections set up and ended as fast as it goes: TCP, CONNECT, CONNACK, DISCONNECT, and the next one.
//
//   storm --connect ADDR:PORT,... --count N [--window N] [--source ADDR,...] [--prefix TEXT] [--idle SECONDS]
//
// At most --window of them are under way at once. Prints one line of JSON; times are microseconds.
#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "busy.h"
#include "common.h"

namespace {

using namespace load;

constexpr std::int64_t patience = 10'000'000;  ///< microseconds until a connection counts as failed

struct Attempt {
    Fd fd;
    std::uint64_t number = 0;
    std::int64_t begin = 0;
    std::size_t answered = 0;  ///< bytes of CONNACK
    bool greeted = false;
};

class Storm {
  public:
    explicit Storm(const Arguments& arguments)
        : targets_(arguments.addresses("connect")),
          sources_(arguments.addresses("source")),
          prefix_(arguments.text("prefix", "storm-")),
          count_(arguments.count("count", 1000)),
          attempts_(arguments.count("window", 64)),
          epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        if (targets_.empty()) fail("--connect ADDR:PORT is missing");
        if (sources_.empty()) sources_.emplace_back();
        times_.reserve(count_);
    }

    void run(double idle_seconds) {
        const double idle = idle_load(idle_seconds);
        const BusyTime time;
        for (Attempt& attempt : attempts_) start(attempt);
        while (under_way_ > 0) turn();
        report(time.seconds(), idle, time.busy() - idle * time.seconds());
    }

  private:
    void start(Attempt& attempt) {
        attempt = Attempt();
        while (next_ < count_) {
            attempt.number = next_++;
            attempt.begin = now();
            attempt.fd = start_connect(targets_[attempt.number % targets_.size()],
                                       sources_[attempt.number % sources_.size()]);
            if (!attempt.fd.open()) {
                ++failed_;
                continue;
            }
            ++under_way_;
            epoll_event event{};
            event.events = EPOLLIN | EPOLLOUT | EPOLLET;
            event.data.ptr = &attempt;
            if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, attempt.fd.get(), &event) != 0) fail("epoll_ctl");
            return;
        }
    }

    void turn() {
        std::array<epoll_event, 128> events;
        const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 500);
        for (int i = 0; i < count; ++i) {
            Attempt& attempt = *static_cast<Attempt*>(events[static_cast<std::size_t>(i)].data.ptr);
            const auto happened = events[static_cast<std::size_t>(i)].events;
            if ((happened & (EPOLLERR | EPOLLHUP)) != 0)
                finish(attempt, false);
            else if (!attempt.greeted && (happened & EPOLLOUT) != 0)
                greet(attempt);
            else if ((happened & EPOLLIN) != 0)
                receive(attempt);
        }
        if (count == 0) give_up();
    }

    void greet(Attempt& attempt) {
        attempt.greeted = true;
        const std::string packet = connect_packet(prefix_ + std::to_string(attempt.number), 600);
        if (send(attempt.fd.get(), packet.data(), packet.size(), MSG_NOSIGNAL) < 0) finish(attempt, false);
    }

    void receive(Attempt& attempt) {
        std::array<char, 16> buffer;
        const ssize_t count = read(attempt.fd.get(), buffer.data(), buffer.size());
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) return finish(attempt, false);
        attempt.answered += static_cast<std::size_t>(count);
        if (attempt.answered < 4) return;
        if (attempt.answered == 4 && buffer[static_cast<std::size_t>(count) - 1] == 0) {
            times_.push_back(now() - attempt.begin);
            send(attempt.fd.get(), "\xE0\0", 2, MSG_NOSIGNAL);
            finish(attempt, true);
        } else {
            finish(attempt, false);
        }
    }

    void finish(Attempt& attempt, bool well) {
        --under_way_;
        if (!well) ++failed_;
        start(attempt);
    }

    void give_up() {
        for (Attempt& attempt : attempts_)
            if (attempt.fd.open() && now() - attempt.begin > patience) finish(attempt, false);
    }

    void report(double seconds, double idle, double busy) {
        std::sort(times_.begin(), times_.end());
        const auto quantile = [this](double share) {
            return times_.empty()
                       ? 0L
                       : times_[static_cast<std::size_t>(share * static_cast<double>(times_.size() - 1))];
        };
        const double served = static_cast<double>(times_.size());
        std::printf(
            "{\"served\":%zu,\"failed\":%lu,\"seconds\":%.4f,\"per_second\":%.1f,\"p50\":%ld,\"p99\":%ld,"
            "\"idle_load\":%.4f,\"busy_seconds\":%.4f,\"cpu_us\":%.3f}\n",
            times_.size(), failed_, seconds, served / seconds, quantile(0.5), quantile(0.99), idle, busy,
            served == 0 ? 0 : busy * 1e6 / served);
    }

    std::vector<Address> targets_, sources_;
    std::string prefix_;
    std::uint64_t count_;
    std::vector<Attempt> attempts_;
    Fd epoll_;
    std::vector<std::int64_t> times_;  ///< connect to CONNACK
    std::uint64_t next_ = 0, under_way_ = 0, failed_ = 0;
};

}  // namespace

int main(int count, char** values) {
    const Arguments arguments(count, values, 1);
    Storm storm(arguments);
    storm.run(static_cast<double>(arguments.count("idle", 1)));
    return 0;
}
