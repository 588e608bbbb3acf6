// SPDX-License-Identifier: Apache-2.0
#include "daemon/pools.h"

#include <algorithm>

#include "daemon/mapping.h"
#include "session/terms.h"

namespace limpet::daemon {
namespace {

std::uint64_t tuple_hash(const Endpoint& client, const Endpoint& listener) {
    const std::hash<Endpoint> hash;
    return hash(client) * 0x9e3779b97f4a7c15ULL ^ hash(listener);
}

// A broker that resets a connection this soon may be in trouble.
constexpr std::chrono::seconds early_life{5};

std::uint64_t connections_of(const balancer::Pool& pool) {
    std::uint64_t sum = 0;
    for (const auto& broker : pool.brokers()) sum += broker.connections;
    return sum;
}

}  // namespace

PoolPointer Pools::prepare(const balancer::PoolSpec& spec) const {
    const std::lock_guard lock(mutex_);
    const auto found = pools_.find(spec.name);
    if (found != pools_.end()) return found->second;
    // A pool that comes back finds what it knew.
    for (const auto& pool : former_pools_)
        if (pool->name() == spec.name) return pool;
    return std::make_shared<balancer::Pool>(spec, seed_);
}

void Pools::remember_former_addresses(const config::Pool& pool) {
    const auto found = pools_.find(pool.name);
    if (found == pools_.end()) return;
    for (const auto& view : found->second->brokers()) {
        const auto moved = std::ranges::any_of(pool.brokers, [&](const config::Broker& broker) {
            return broker.name == view.spec.name && broker.address != view.spec.address;
        });
        if (moved && view.connections > 0) former_addresses_[{pool.name, view.spec.address}] = view.id;
    }
}

void Pools::apply(const config::Config& config, const std::map<std::string, PoolPointer>& prepared) {
    const std::lock_guard lock(mutex_);
    auto before = std::exchange(pools_, {});
    for (const auto& pool : config.pools) {
        const auto old = before.find(pool.name);
        if (old != before.end()) {
            pools_.insert(before.extract(old));
            remember_former_addresses(pool);
        } else {
            pools_[pool.name] = prepared.at(pool.name);
            std::erase(former_pools_, prepared.at(pool.name));
        }
        pools_[pool.name]->update(pool_spec(pool));
    }
    std::erase_if(former_pools_, [](const PoolPointer& pool) { return connections_of(*pool) == 0; });
    for (auto& [name, pool] : before)
        if (connections_of(*pool) > 0) former_pools_.push_back(std::move(pool));
    pools_of_address_.clear();
    for (const auto& listener : config.listeners)
        pools_of_address_[listener.address] = config::pools_of(listener);
}

PoolPointer Pools::find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = pools_.find(name);
    return found == pools_.end() ? nullptr : found->second;
}

std::vector<PoolPointer> Pools::all() const {
    const std::lock_guard lock(mutex_);
    std::vector<PoolPointer> pools;
    for (const auto& [name, pool] : pools_) pools.push_back(pool);
    return pools;
}

std::optional<Pools::Owner> Pools::of_flow(const Endpoint& listener, const Endpoint& broker,
                                           std::uint64_t client_hash) const {
    const std::lock_guard lock(mutex_);
    return owner(listener, broker, client_hash);
}

std::vector<PoolPointer> Pools::pools_of_listener(const Endpoint& address) const {
    auto found = pools_of_address_.find(address);
    if (found == pools_of_address_.end()) {
        Endpoint any;
        any.address.family = address.address.family;
        any.port = address.port;
        found = pools_of_address_.find(any);
    }
    std::vector<PoolPointer> pools;
    if (found == pools_of_address_.end()) return pools;
    for (const auto& name : found->second)
        if (const auto pool = pools_.find(name); pool != pools_.end()) pools.push_back(pool->second);
    return pools;
}

std::optional<balancer::BrokerId> Pools::broker_in(const PoolPointer& pool, const Endpoint& address) const {
    const auto moved = former_addresses_.find({pool->name(), address});
    if (moved != former_addresses_.end()) return moved->second;
    return pool->find(address);
}

/// The listener's pools first; where a reload gave the listener another pool or took it away, any that knows
/// the broker. Of several the one where the client is connected.
std::optional<Pools::Owner> Pools::owner(const Endpoint& listener, const Endpoint& broker,
                                         std::uint64_t client_hash) const {
    auto candidates = pools_of_listener(listener);
    candidates.insert(candidates.end(), former_pools_.begin(), former_pools_.end());
    for (const auto& [name, pool] : pools_) candidates.push_back(pool);
    std::optional<Owner> first;
    for (const auto& pool : candidates) {
        const auto id = broker_in(pool, broker);
        if (!id || (first && first->first == pool)) continue;
        if (client_hash == 0 || pool->connected(client_hash)) return Owner{pool, *id};
        if (!first) first = Owner{pool, *id};
    }
    return first;
}

void Pools::adopt(const std::function<void(const Visitor&)>& walk) {
    walk([this](const dataplane::FlowView& flow) {
        const std::lock_guard lock(mutex_);
        begin(flow);
        return true;
    });
    const std::lock_guard lock(mutex_);
    adopting_ = false;
    adopted_count_ = adopted_.size();
    for (const auto& flow : ended_meanwhile_)
        if (adopted_.contains(tuple_hash(flow.client, flow.listener))) end(flow);
    adopted_ = {};
    ended_meanwhile_ = {};
}

void Pools::begin(const dataplane::FlowView& flow) {
    const auto known = owner(flow.listener, flow.broker, flow.client_hash);
    if (!known || !adopted_.insert(tuple_hash(flow.client, flow.listener)).second) return;
    known->first->begin_connection(known->second);
    if (flow.client_hash != 0)
        known->first->remember(flow.client_hash, known->second, session::stick_lifetime(flow.stick_seconds));
}

void Pools::flow_ended(const dataplane::FlowEnd& flow) {
    const std::lock_guard lock(mutex_);
    if (adopting_)
        ended_meanwhile_.push_back(flow);
    else
        end(flow);
}

void Pools::broker_reset(const dataplane::BrokerReset& reset) {
    if (reset.age >= early_life) return;
    std::optional<Owner> known;
    {
        const std::lock_guard lock(mutex_);
        known = owner(reset.listener, reset.broker, 0);
    }
    if (known)
        known->first->report_failure(known->second, balancer::Clock::now(), balancer::Trouble::reset,
                                     "it reset a client's connection right after CONNACK");
}

void Pools::end(const dataplane::FlowEnd& flow) const {
    const auto known = owner(flow.listener, flow.broker, flow.client_hash);
    if (!known) return;
    known->first->end_connection(known->second);
    if (flow.client_hash == 0) return;
    known->first->release(flow.client_hash, session::stick_lifetime(flow.stick_seconds),
                          balancer::Clock::now());
}

}  // namespace limpet::daemon
