// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/moves.h"

namespace limpet::daemon {

/// Ends the relayed connections of a broker at a pace.
class RelayedEnding {
  public:
    RelayedEnding(session::Workers& workers, PoolPointer pool, balancer::BrokerId broker, Reason reason);
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

/// Empties a broker: first what is spliced, then what is relayed, in one pace; and again as long as
/// connections come to be that had chosen the broker before.
class Drain : public Move {
  public:
    Drain(MoveOrder order, dataplane::Dataplane& dataplane, session::Workers& workers, Pools& pools);
    [[nodiscard]] bool step(Clock::time_point now) override;
    void stop() override;
    [[nodiscard]] std::uint64_t ended() const override { return before_ + spliced_ + relayed_; }
    [[nodiscard]] std::uint64_t left() const override;

  private:
    enum class Part { begin, spliced, relayed, settle };

    void begin_pass(Clock::time_point now);

    dataplane::Dataplane& dataplane_;
    session::Workers& workers_;
    Pools& pools_;
    Part part_ = Part::begin;
    std::uint64_t flow_order_ = 0;
    std::uint64_t before_ = 0;   // ended in earlier passes
    std::uint64_t spliced_ = 0;  // and in this one
    std::uint64_t relayed_ = 0;
    Clock::time_point pass_begun_;
    std::unique_ptr<Pacer> pacer_;
    std::unique_ptr<RelayedEnding> relayed_ending_;
};

/// A broker's connections now.
[[nodiscard]] std::uint64_t connections_of(const balancer::Pool& pool, balancer::BrokerId broker);

}  // namespace limpet::daemon
