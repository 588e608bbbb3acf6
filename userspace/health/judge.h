// SPDX-License-Identifier: Apache-2.0
// What probes say of one broker: when to ask next, and from which answer on it counts as up or down. Knows no
// sockets; time is told.
#pragma once

#include <chrono>
#include <optional>

namespace limpet::health {

using Clock = std::chrono::steady_clock;

struct Terms {
    std::chrono::milliseconds interval{5000};      ///< between the beginnings of two probes, ± 10 %
    std::chrono::milliseconds fast_interval{500};  ///< while the answers differ from the verdict
    unsigned rise = 2;                             ///< good answers in a row that make a broker up
    unsigned fall = 3;                             ///< bad ones that make it down
    bool initially_up = true;
    /// False: a broker that is up is only asked after doubt().
    bool always = true;

    bool operator==(const Terms&) const = default;
};

class Judge {
  public:
    /// `up`: what it counts as at first. `spread` from 0 to 1: how much of the first second (or interval)
    /// passes until the first probe, so that not all brokers are asked at once.
    Judge(const Terms& terms, bool up, Clock::time_point now, double spread);

    [[nodiscard]] bool up() const { return up_; }
    /// Whether a probe ever had a good answer: a probe that cannot succeed says nothing about a death.
    [[nodiscard]] bool ever_passed() const { return ever_passed_; }
    /// When to probe; nothing: not before somebody doubts.
    [[nodiscard]] std::optional<Clock::time_point> next() const { return next_; }

    /// A probe that began at `begin` has its answer now. `jitter` from -1 to 1. True: the verdict changed.
    bool answered(bool good, Clock::time_point begin, Clock::time_point now, double jitter);
    /// This host could not ask; it tries again.
    void not_asked(Clock::time_point now) { next_ = now + terms_.interval; }
    /// Real clients have trouble with the broker: it is asked at once, but no faster than fast_interval.
    void doubt(Clock::time_point now);
    /// Other terms from now on; the verdict stays.
    void change_terms(const Terms& terms, Clock::time_point now);

  private:
    Terms terms_;
    bool up_;
    bool ever_passed_ = false;
    unsigned against_ = 0;  // answers in a row that differ from the verdict
    std::optional<Clock::time_point> last_begin_;
    std::optional<Clock::time_point> next_;
};

}  // namespace limpet::health
