// SPDX-License-Identifier: Apache-2.0
#include "daemon/discovered.h"

#include <algorithm>

namespace limpet::daemon {
namespace {

using discovery::Found;
using discovery::Source;

// Origin of what comes of brokers_from; no broker can be called that.
const std::string files_origin = "*";

bool is_reachable(const config::Config& config, const config::Pool& pool, const Endpoint& address) {
    return std::ranges::none_of(config.listeners, [&](const config::Listener& listener) {
        if (listener.address == address) return true;
        return pool.transparent && listener.pool == pool.name &&
               listener.address.address.family != address.address.family;
    });
}

void add(const config::Config& config, config::Pool& pool, const std::vector<Found>& found,
         const std::string& origin) {
    for (const auto& one : found) {
        const auto same = [&](const config::Broker& broker) {
            return broker.name == one.name || broker.address == one.address;
        };
        if (std::ranges::any_of(pool.brokers, same) || !is_reachable(config, pool, one.address)) continue;
        config::Broker broker;
        broker.name = one.name;
        broker.address = one.address;
        broker.weight = one.weight;
        broker.rank = one.rank;
        broker.origin = origin;
        pool.brokers.push_back(std::move(broker));
    }
}

void leave_out_discovered(config::Pool& pool) {
    std::erase_if(pool.brokers, [](const config::Broker& broker) { return !broker.origin.empty(); });
}

}  // namespace

std::vector<Source> sources_of(const std::vector<config::Pool>& pools) {
    std::vector<Source> sources;
    for (const auto& pool : pools) {
        for (const auto& broker : pool.hosts)
            sources.push_back({pool.name, broker.name,
                               broker.host.is_service() ? Source::Kind::services : Source::Kind::addresses,
                               broker.host.name, broker.host.port, broker.weight});
        if (!pool.brokers_from.empty())
            sources.push_back({pool.name, {}, Source::Kind::files, pool.brokers_from, 0, 1});
    }
    return sources;
}

Result<std::vector<Found>> read_brokers(const std::string& path) {
    auto brokers = config::load_brokers(path);
    if (!brokers) return std::unexpected(brokers.error());
    std::vector<Found> found;
    for (auto& broker : *brokers) {
        const auto same = [&](const Found& other) {
            return other.name == broker.name || other.address == broker.address;
        };
        if (std::ranges::any_of(found, same))
            return fail(
                path + " has broker " + broker.name + " or its address " + broker.address.text() + " twice",
                "leave one of them out");
        found.push_back({std::move(broker.name), broker.address, broker.weight, 0});
    }
    return found;
}

void take_discovered(config::Config& config, const discovery::Discovery& discovery) {
    for (auto& pool : config.pools) {
        leave_out_discovered(pool);
        for (const auto& host : pool.hosts)
            add(config, pool, discovery.brokers(pool.name, host.name), host.name);
        if (!pool.brokers_from.empty()) add(config, pool, discovery.brokers(pool.name, {}), files_origin);
    }
}

std::vector<config::Pool> without_discovered(std::vector<config::Pool> pools) {
    for (auto& pool : pools) leave_out_discovered(pool);
    return pools;
}

}  // namespace limpet::daemon
