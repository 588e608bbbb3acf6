// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "daemon/drain.h"
#include "daemon/moves.h"

namespace limpet::daemon {

/// Who has too much and who too little: brokers above their share by more than `tolerance` (a part of it)
/// give up what is above the share. Only brokers that take clients count; empty where all are within.
struct Imbalance {
    std::vector<Surplus> from;
    std::vector<Room> to;
    std::uint64_t total = 0;  ///< connections to be moved
};
[[nodiscard]] Imbalance imbalance_of(const std::vector<balancer::BrokerView>& brokers, double tolerance);

/// Ends what brokers have above their share. Where the pool remembers clients their memory is moved first, so
/// that they come back to a broker that has room.
class Rebalancing : public Move {
  public:
    Rebalancing(MoveOrder order, dataplane::Dataplane& dataplane, session::Workers& workers, Pools& pools);
    [[nodiscard]] bool step(Clock::time_point now) override;
    void stop() override;
    [[nodiscard]] std::uint64_t ended() const override { return ended_; }
    [[nodiscard]] std::uint64_t left() const override;

  private:
    struct Flow {
        Endpoint client;
        Endpoint listener;
        std::uint64_t client_hash = 0;
        std::size_t from = 0;  // index of order_.from
    };
    struct Destinations;

    void find_flows();
    [[nodiscard]] bool belongs_elsewhere(const dataplane::FlowView& flow, balancer::BrokerId here) const;
    void end_flow(const Flow& flow);
    /// The relayed ones of one broker after the other; true: that was the last.
    [[nodiscard]] bool end_relayed(Clock::time_point now);

    dataplane::Dataplane& dataplane_;
    session::Workers& workers_;
    Pools& pools_;
    std::shared_ptr<Destinations> destinations_;
    std::vector<std::uint64_t> wanted_;  // of each of order_.from, still to be ended
    std::vector<Flow> flows_;            // to be ended, from the back
    bool found_ = false;
    std::uint64_t ended_ = 0;
    Pacer pacer_;
    double per_second_ = 0;
    std::size_t relayed_of_ = 0;  // index of order_.from
    std::unique_ptr<RelayedEnding> relayed_;
};

}  // namespace limpet::daemon
