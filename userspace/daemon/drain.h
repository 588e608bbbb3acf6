// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/moves.h"
#include "daemon/relayed_ending.h"

namespace limpet::daemon {

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
