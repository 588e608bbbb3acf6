// SPDX-License-Identifier: Apache-2.0
#include "daemon/rebalance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace limpet::daemon {

/// Hands out places at brokers that have room; asked from workers' threads too.
struct Rebalancing::Destinations {
    std::mutex mutex;
    std::vector<Room> rooms;
    std::size_t next = 0;

    std::optional<balancer::BrokerId> take() {
        const std::lock_guard lock(mutex);
        for (std::size_t tried = 0; tried < rooms.size(); ++tried) {
            auto& room = rooms[next++ % rooms.size()];
            if (room.count == 0) continue;
            --room.count;
            return room.id;
        }
        return std::nullopt;
    }
};

Imbalance imbalance_of(const std::vector<balancer::BrokerView>& brokers, double tolerance) {
    double connections = 0;
    double weight = 0;
    const auto counts = [](const balancer::BrokerView& broker) {
        return broker.state == balancer::BrokerState::up && broker.spec.weight > 0;
    };
    for (const auto& broker : brokers) {
        if (!counts(broker)) continue;
        connections += static_cast<double>(broker.connections);
        weight += broker.spec.weight;
    }
    Imbalance result;
    for (const auto& broker : brokers) {
        if (!counts(broker)) continue;
        const auto share = connections * broker.spec.weight / weight;
        const auto has = static_cast<double>(broker.connections);
        const auto fair = static_cast<std::uint64_t>(std::ceil(share));
        // A share of 2.3 is kept with 3: no broker has a part of a connection.
        if (has > std::max(share * (1 + tolerance), std::ceil(share)))
            result.from.push_back({broker.id, broker.spec.address, broker.connections - fair});
        else if (has < std::floor(share))
            result.to.push_back({broker.id, static_cast<std::uint64_t>(std::floor(share) - has)});
    }
    if (result.to.empty()) result.from.clear();
    for (const auto& from : result.from) result.total += from.count;
    return result;
}

Rebalancing::Rebalancing(MoveOrder order, dataplane::Dataplane& dataplane, session::Workers& workers,
                         Pools& pools)
    : Move(std::move(order)),
      dataplane_(dataplane),
      workers_(workers),
      pools_(pools),
      destinations_(std::make_shared<Destinations>()),
      pacer_(0, begun_) {
    destinations_->rooms = order_.to;
    for (const auto& from : order_.from) wanted_.push_back(from.count);
    per_second_ = pace(begun_);
    pacer_ = Pacer(per_second_, begun_);
}

std::uint64_t Rebalancing::left() const {
    return std::accumulate(wanted_.begin(), wanted_.end(), std::uint64_t{0});
}

bool Rebalancing::step(Clock::time_point now) {
    if (!found_) find_flows();
    if (const auto fresh = pace(now); order_.deadline && fresh == 0 && per_second_ != 0) {
        per_second_ = 0;
        pacer_ = Pacer(0, now);
    }
    for (auto due = pacer_.due(now); due > 0 && !flows_.empty(); --due) {
        end_flow(flows_.back());
        flows_.pop_back();
        pacer_.spend(1);
    }
    return flows_.empty() && end_relayed(now);
}

void Rebalancing::find_flows() {
    found_ = true;
    auto wanted = wanted_;
    dataplane_.for_each_flow([&](const dataplane::FlowView& flow) {
        const auto owner = pools_.of_flow(flow.listener, flow.broker, flow.client_hash);
        if (!owner || owner->first != order_.pool) return true;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            if (order_.from[i].id != owner->second || wanted[i] == 0) continue;
            if (order_.by_placement && !belongs_elsewhere(flow, owner->second)) continue;
            --wanted[i];
            flows_.push_back({flow.client, flow.listener, flow.client_hash, i});
        }
        return std::ranges::any_of(wanted, [](std::uint64_t count) { return count > 0; });
    });
}

/// Only an id that is known whole can be placed.
bool Rebalancing::belongs_elsewhere(const dataplane::FlowView& flow, balancer::BrokerId here) const {
    if (flow.client_id.empty() || flow.client_id.size() != flow.id_length) return false;
    balancer::Client client;
    client.client_id = flow.client_id;
    client.source = flow.client.address;
    const auto home = order_.pool->placement(client);
    return home && home->id != here;
}

void Rebalancing::end_flow(const Flow& flow) {
    --wanted_[flow.from];
    if (const auto to = destinations_->take()) order_.pool->move(flow.client_hash, *to);
    if (dataplane_.kill_flow(flow.client, flow.listener, LIMPET_REASON_END_REBALANCED)) ++ended_;
}

bool Rebalancing::end_relayed(Clock::time_point now) {
    // What hashing would place elsewhere is told by the whole id, which a relayed session does not keep.
    if (order_.by_placement) return true;
    for (; relayed_of_ < order_.from.size(); ++relayed_of_, relayed_.reset()) {
        auto& wanted = wanted_[relayed_of_];
        if (wanted == 0) continue;
        if (!relayed_) {
            relayed_ = std::make_unique<RelayedEnding>(workers_, order_.pool, order_.from[relayed_of_].id,
                                                       LIMPET_REASON_END_REBALANCED);
            relayed_->eviction().before = [pool = order_.pool,
                                           destinations = destinations_](std::uint64_t client_hash) {
                if (const auto to = destinations->take()) pool->move(client_hash, *to);
            };
        }
        const auto ended = std::min(relayed_->step(std::min(wanted, pacer_.due(now))), wanted);
        wanted -= ended;
        ended_ += ended;
        pacer_.spend(ended);
        if (wanted > 0 && !relayed_->over()) return false;
    }
    return true;
}

void Rebalancing::stop() {
    flows_.clear();
    if (relayed_) relayed_->stop();
}

}  // namespace limpet::daemon
