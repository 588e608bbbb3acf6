// SPDX-License-Identifier: Apache-2.0
// How busy the whole machine was: all cores, everything that ran, from /proc/stat.
#pragma once

#include <sys/sysinfo.h>
#include <unistd.h>

#include <cstdio>

#include "common.h"

namespace load {

/// Started at construction. The kernel keeps idle time to the microsecond and shows it in hundredths of a
/// second, so busy is what was neither idle nor taken away by a host below us (steal): sums of user and
/// system time would be samples of a 10 ms clock.
class BusyTime {
  public:
    BusyTime() : begin_(now()), free_(free_seconds()) {}
    /// Seconds of wall clock since the start.
    [[nodiscard]] double seconds() const { return static_cast<double>(now() - begin_) / 1e6; }
    /// Seconds of processor time that all cores together were busy since the start.
    [[nodiscard]] double busy() const { return seconds() * get_nprocs() - (free_seconds() - free_); }

  private:
    static double free_seconds() {
        std::FILE* file = std::fopen("/proc/stat", "re");
        unsigned long long user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0,
                           steal = 0;
        if (file == nullptr || std::fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice,
                                           &system, &idle, &wait, &irq, &softirq, &steal) != 8)
            fail("/proc/stat");
        std::fclose(file);
        return static_cast<double>(idle + wait + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
    }

    std::int64_t begin_;
    double free_;
};

/// The share of busy time that the machine spends without our load: nothing is done for so long.
inline double idle_load(double seconds) {
    if (seconds <= 0) return 0;
    const BusyTime time;
    usleep(static_cast<useconds_t>(seconds * 1e6));
    return time.busy() / time.seconds();
}

}  // namespace load
