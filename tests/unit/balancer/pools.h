// SPDX-License-Identifier: Apache-2.0
// What the tests of the balancer share: pools that are quickly written down, and simulated clients.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "balancer/balancer.h"

namespace limpet::balancer::test {

using Weights = std::vector<std::pair<std::string, std::uint32_t>>;

inline Endpoint address_of(unsigned number) {
    Endpoint endpoint;
    endpoint.address.bytes = {10, 92, static_cast<std::uint8_t>(number >> 8),
                              static_cast<std::uint8_t>(number)};
    endpoint.port = 1883;
    return endpoint;
}

inline PoolSpec pool_of(Strategy strategy, const Weights& weights) {
    PoolSpec spec;
    spec.name = "main";
    spec.strategy = strategy;
    unsigned number = 1;
    for (const auto& [name, weight] : weights) spec.brokers.push_back({name, address_of(number++), weight});
    return spec;
}

/// b1, b2, … of weight 1.
inline Weights equal(unsigned count) {
    Weights weights;
    for (unsigned i = 1; i <= count; ++i) weights.emplace_back("b" + std::to_string(i), 1);
    return weights;
}

inline std::string id_of(unsigned number) {
    return "device-" + std::to_string(number);
}

inline Client client_of(std::string_view id) {
    Client client;
    client.client_id = id;
    return client;
}

/// Chooses a broker for the id and connects there, as a session does; returns the broker's name.
inline Choice connect(Pool& pool, std::string_view id) {
    auto choice = pool.choose(client_of(id)).value();
    pool.begin_connection(choice.id);
    pool.remember(pool.hash_key(id), choice.id);
    return choice;
}

inline void disconnect(Pool& pool, std::string_view id, BrokerId broker,
                       std::chrono::seconds lifetime = std::chrono::seconds::zero(),
                       Clock::time_point now = Clock::now()) {
    pool.end_connection(broker);
    pool.release(pool.hash_key(id), lifetime, now);
}

inline BrokerView view(const Pool& pool, std::string_view name) {
    for (auto& broker : pool.brokers())
        if (broker.spec.name == name) return broker;
    return {};
}

inline std::map<std::string, std::uint64_t> connections(const Pool& pool) {
    std::map<std::string, std::uint64_t> counts;
    for (const auto& broker : pool.brokers()) counts[broker.spec.name] = broker.connections;
    return counts;
}

}  // namespace limpet::balancer::test
