// SPDX-License-Identifier: Apache-2.0
// Ends connections that are relayed to one broker, at a pace.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "balancer/balancer.h"
#include "base/reason.h"
#include "session/worker.h"

namespace limpet::daemon {

/// A bucket that is filled at a pace: how many may be ended by now.
class Pacer {
  public:
    using Clock = std::chrono::steady_clock;
    /// `per_second` 0: no limit.
    Pacer(double per_second, Clock::time_point now) : per_second_(per_second), last_(now) {}
    /// No more than a second's worth is saved up while nothing is ended.
    [[nodiscard]] std::uint64_t due(Clock::time_point now);
    void spend(std::uint64_t count);

  private:
    double per_second_;
    double allowance_ = 0;
    Clock::time_point last_;
};

class RelayedEnding {
  public:
    RelayedEnding(session::Workers& workers, std::shared_ptr<balancer::Pool> pool, balancer::BrokerId broker,
                  Reason reason);
    /// Gives leave for `due` more; returns how many were ended since the last call.
    std::uint64_t step(std::uint64_t due);
    /// Every worker has looked and seen nobody who is left.
    [[nodiscard]] bool over() const;
    void stop() { eviction_->allowed = 0; }

    session::Eviction& eviction() { return *eviction_; }

  private:
    session::Workers& workers_;
    std::shared_ptr<session::Eviction> eviction_;
    std::uint64_t told_ = 0;
    bool looked_ = false;
};

}  // namespace limpet::daemon
