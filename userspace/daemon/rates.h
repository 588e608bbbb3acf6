// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace limpet::daemon {

/// How fast a counter grows: the mean over the last few seconds. Not thread-safe.
class Rate {
  public:
    using Clock = std::chrono::steady_clock;

    void sample(std::uint64_t value, Clock::time_point now) {
        samples_[next_ % samples_.size()] = {value, now};
        ++next_;
    }
    [[nodiscard]] double per_second() const {
        if (next_ < 2) return 0;
        const auto& last = samples_[(next_ - 1) % samples_.size()];
        const auto& first = next_ <= samples_.size() ? samples_[0] : samples_[next_ % samples_.size()];
        const std::chrono::duration<double> time = last.when - first.when;
        return time.count() > 0 ? static_cast<double>(last.value - first.value) / time.count() : 0;
    }

  private:
    struct Sample {
        std::uint64_t value = 0;
        Clock::time_point when;
    };
    std::array<Sample, 6> samples_{};
    std::size_t next_ = 0;
};

}  // namespace limpet::daemon
