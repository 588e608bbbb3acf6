// SPDX-License-Identifier: Apache-2.0
#include "daemon/drain.h"

namespace limpet::daemon {
namespace {

// Connections that were being set up have left for the kernel, or know that they will not, by then.
constexpr std::chrono::milliseconds pass_interval{500};

}  // namespace

std::uint64_t connections_of(const balancer::Pool& pool, balancer::BrokerId broker) {
    for (const auto& view : pool.brokers())
        if (view.id == broker) return view.connections;
    return 0;
}

Drain::Drain(MoveOrder order, dataplane::Dataplane& dataplane, session::Workers& workers, Pools& pools)
    : Move(std::move(order)), dataplane_(dataplane), workers_(workers), pools_(pools) {}

std::uint64_t Drain::left() const {
    return connections_of(*order_.pool, order_.from.front().id);
}

bool Drain::step(Clock::time_point now) {
    if (part_ == Part::begin) begin_pass(now);
    if (part_ == Part::spliced) {
        const auto progress = dataplane_.ending_progress(flow_order_);
        if (progress) spliced_ = progress->ended;
        if (progress && !progress->done) return false;
        part_ = Part::relayed;
        pacer_ = std::make_unique<Pacer>(pace(now), now);
    }
    if (part_ == Part::relayed) {
        const auto ended = relayed_ending_->step(pacer_->due(now));
        relayed_ += ended;
        pacer_->spend(ended);
        if (!relayed_ending_->over()) return false;
        part_ = Part::settle;
    }
    if (left() == 0) return true;
    if (now - pass_begun_ >= pass_interval) part_ = Part::begin;
    return false;
}

void Drain::begin_pass(Clock::time_point now) {
    before_ += spliced_ + relayed_;
    spliced_ = relayed_ = 0;
    pass_begun_ = now;
    const auto& from = order_.from.front();
    dataplane::EndOrder end;
    end.broker = from.address;
    end.reason = LIMPET_REASON_END_DRAINED;
    end.per_second = pace(now);
    // Another pool may have a broker of this address: its connections are not meant.
    end.meant = [&pools = pools_, pool = order_.pool, id = from.id, address = from.address](
                    const Endpoint& listener, std::uint64_t client_hash) {
        const auto owner = pools.of_flow(listener, address, client_hash);
        return owner && owner->first == pool && owner->second == id;
    };
    flow_order_ = dataplane_.end_flows(end);
    part_ = Part::spliced;
    relayed_ending_ =
        std::make_unique<RelayedEnding>(workers_, order_.pool, from.id, LIMPET_REASON_END_DRAINED);
}

void Drain::stop() {
    dataplane_.cancel_ending(flow_order_);
    if (relayed_ending_) relayed_ending_->stop();
}

}  // namespace limpet::daemon
