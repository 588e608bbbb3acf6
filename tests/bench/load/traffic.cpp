// SPDX-License-Identifier: Apache-2.0
// Messages over many connections, each echoed, and how busy the machine was meanwhile.
//
//   traffic --connect ADDR:PORT,... [--connections N] [--payload BYTES] [--duration SECONDS] [--idle SECONDS]
//           [--rate PER_SECOND | --window N] [--prefix TEXT]
//
// --rate: so many messages a second in all, one after the other over the connections, in ticks of 1 ms: each
// is a packet of its own. Without it, saturation: --window messages of each connection are under way, and
// what came back is sent again, in one write. First the connections stand for --idle seconds, which tells the
// machine's own load. Prints one line of JSON.
#include <sys/epoll.h>

#include <array>
#include <ctime>

#include "busy.h"
#include "common.h"
#include "mqtt.h"

namespace {

using namespace load;

struct Session {
    Fd fd;
    std::string message;
    std::size_t received = 0;  ///< bytes of the echo that is incomplete
};

class Traffic {
  public:
    explicit Traffic(const Arguments& arguments)
        : rate_(arguments.count("rate", 0)),
          window_(arguments.count("window", 1)),
          duration_(static_cast<std::int64_t>(arguments.count("duration", 5)) * 1'000'000),
          epoll_(epoll_create1(EPOLL_CLOEXEC)) {
        const auto targets = arguments.addresses("connect");
        if (targets.empty()) fail("--connect ADDR:PORT is missing");
        sessions_.resize(arguments.count("connections", 200));
        for (std::size_t i = 0; i < sessions_.size(); ++i) {
            const std::string id = arguments.text("prefix", "traffic-") + std::to_string(10000 + i);
            const std::string topic = "bench/" + id;
            Session& session = sessions_[i];
            session.fd = open_session(targets[i % targets.size()], id, topic);
            session.message = publish_packet(topic, arguments.count("payload", 64));
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u64 = i;
            if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, session.fd.get(), &event) != 0) fail("epoll_ctl");
        }
        usleep(300'000);  // handoffs are over
    }

    void run(double idle_seconds) {
        const double idle = idle_load(idle_seconds);
        const BusyTime time;
        begin_ = now();
        if (rate_ == 0) saturate();
        while (now() - begin_ < duration_) turn();
        const double seconds = time.seconds();
        const double busy = time.busy() - idle * seconds;
        std::printf(
            "{\"sent\":%lu,\"echoed\":%lu,\"seconds\":%.4f,\"per_second\":%.1f,\"idle_load\":%.4f,"
            "\"busy_seconds\":%.4f,\"cpu_us\":%.4f}\n",
            sent_, echoed_, seconds, static_cast<double>(echoed_) / seconds, idle, busy,
            echoed_ == 0 ? 0 : busy * 1e6 / static_cast<double>(echoed_));
    }

  private:
    void saturate() {
        for (Session& session : sessions_)
            for (std::uint64_t i = 0; i < window_; ++i) publish(session, 1);
    }

    void turn() {
        if (rate_ != 0) send_due();
        std::array<epoll_event, 256> events;
        const timespec patience{0, rate_ != 0 ? nanoseconds_to_tick() : 100'000'000};
        const int count =
            epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &patience, nullptr);
        for (int i = 0; i < count; ++i) receive(sessions_[events[static_cast<std::size_t>(i)].data.u64]);
    }

    void send_due() {
        const auto ticks = static_cast<std::uint64_t>(now() - begin_) / 1000;
        const std::uint64_t due = ticks * rate_ / 1000;
        for (; sent_ < due;) publish(sessions_[sent_ % sessions_.size()], 1);
    }

    [[nodiscard]] long nanoseconds_to_tick() const { return (1000 - (now() - begin_) % 1000) * 1000; }

    void publish(Session& session, std::size_t messages) {
        static std::string batch;
        batch.clear();
        for (std::size_t i = 0; i < messages; ++i) batch += session.message;
        send_all(session.fd.get(), batch);
        sent_ += messages;
    }

    void receive(Session& session) {
        static std::array<char, 1 << 16> buffer;
        const ssize_t count = recv(session.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) fail("a connection ended under load");
        session.received += static_cast<std::size_t>(count);
        const std::size_t whole = session.received / session.message.size();
        session.received %= session.message.size();
        echoed_ += whole;
        if (rate_ == 0 && whole > 0) publish(session, whole);
    }

    std::uint64_t rate_, window_;
    std::int64_t duration_;  ///< microseconds
    Fd epoll_;
    std::vector<Session> sessions_;
    std::int64_t begin_ = 0;
    std::uint64_t sent_ = 0, echoed_ = 0;
};

}  // namespace

int main(int count, char** values) {
    const Arguments arguments(count, values, 1);
    Traffic traffic(arguments);
    traffic.run(static_cast<double>(arguments.count("idle", 1)));
    return 0;
}
