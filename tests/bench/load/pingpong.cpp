// SPDX-License-Identifier: Apache-2.0
// The round trip of one connection: a PUBLISH goes out, the next one when it has come back.
//
//   pingpong --connect ADDR:PORT [--payload BYTES] [--count N] [--warm-up N] [--id TEXT]
//
// Prints one line of JSON; times are microseconds.
#include <algorithm>
#include <chrono>

#include "common.h"
#include "mqtt.h"

namespace {

using namespace load;

double round_trip(int fd, const std::string& message) {
    const auto begin = std::chrono::steady_clock::now();
    send_all(fd, message);
    receive_all(fd, message.size());
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int count, char** values) {
    const Arguments arguments(count, values, 1);
    const auto targets = arguments.addresses("connect");
    if (targets.empty()) fail("--connect ADDR:PORT is missing");
    const std::string id = arguments.text("id", "pingpong");
    const std::string topic = "bench/" + id;
    const Fd fd = open_session(targets.front(), id, topic);
    const std::string message = publish_packet(topic, arguments.count("payload", 64));
    usleep(200'000);  // a handoff is over
    for (std::uint64_t i = 0; i < arguments.count("warm-up", 500); ++i) round_trip(fd.get(), message);
    std::vector<double> times(arguments.count("count", 10000));
    if (times.empty()) fail("--count is 0");
    for (double& time : times) time = round_trip(fd.get(), message);
    std::sort(times.begin(), times.end());
    const auto quantile = [&times](double share) {
        return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
    };
    std::printf("{\"count\":%zu,\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f}\n", times.size(), quantile(0.5),
                quantile(0.99), times.back());
    send_all(fd.get(), std::string_view("\xE0\0", 2));
    return 0;
}
