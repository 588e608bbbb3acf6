// SPDX-License-Identifier: Apache-2.0
// What pools remember, as people ask for it and change it.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "config/values.h"
#include "daemon/refuse.h"
#include "daemon/runtime.h"

namespace limpet::daemon {
namespace {

using admin::Json;
using balancer::BrokerId;
using balancer::Pool;

constexpr std::chrono::hours longest_ttl{24 * 3650};

double in_seconds(std::chrono::duration<double> time) {
    return time.count();
}

std::unordered_map<BrokerId, std::string> broker_names(const Pool& pool) {
    std::unordered_map<BrokerId, std::string> names;
    for (const auto& broker : pool.brokers()) names[broker.id] = broker.spec.name;
    return names;
}

Result<BrokerId> broker_named(const Pool& pool, const std::string& name) {
    std::vector<std::string> names;
    for (const auto& broker : pool.brokers()) {
        if (broker.spec.name == name) return broker.id;
        names.push_back(broker.spec.name);
    }
    const std::vector<std::string_view> views(names.begin(), names.end());
    const auto meant = config::nearest(name, views);
    return refuse(
        ENOENT, "there is no broker " + config::quote(name) + " in pool " + config::quote(pool.name()),
        meant.empty() ? "there are " + config::joined(views) : "did you mean " + config::quote(meant) + "?");
}

Json stick_json(const std::string& pool, const std::string& broker, const Pool::Memory& memory,
                balancer::Clock::time_point now) {
    Json json{{"pool", pool},
              {"key", fmt::format("{:016x}", memory.key_hash)},
              {"broker", broker.empty() ? Json() : Json(broker)},
              {"connected", memory.connected},
              {"lifetime_seconds", memory.lifetime.count()},
              {"expires_in_seconds", Json()}};
    if (!memory.connected)
        json["expires_in_seconds"] = std::max(0.0, in_seconds(memory.since + memory.lifetime - now));
    return json;
}

/// What is looked up stands for whatever the pool's key is.
std::uint64_t key_hash_of(const Pool& pool, const std::string& client_id) {
    balancer::Client client;
    client.client_id = client_id;
    client.username = client_id;
    if (const auto address = IpAddress::parse(client_id)) client.source = *address;
    return pool.hash_key(pool.key_text(client));
}

}  // namespace

/// The pools that are meant: one by name, or all.
Result<std::vector<PoolPointer>> Runtime::pools_named(const std::optional<std::string>& name) const {
    if (!name) return pools_->all();
    if (auto pool = pools_->find(*name)) return std::vector{std::move(pool)};
    return refuse(ENOENT, "there is no pool " + config::quote(*name),
                  "limpet brokers lists those that exist");
}

/// The pool of this name, or the only one.
Result<PoolPointer> Runtime::one_pool(const std::optional<std::string>& name) const {
    auto pools = pools_named(name);
    if (!pools) return std::unexpected(pools.error());
    if (pools->size() == 1) return pools->front();
    return refuse(EINVAL, "there are several pools", "say which one is meant");
}

Result<Json> Runtime::stick_list(const admin::StickQuery& query) {
    const auto pools = pools_named(query.pool);
    if (!pools) return std::unexpected(pools.error());
    const auto now = balancer::Clock::now();
    auto list = Json::array();
    std::unordered_map<std::uint64_t, std::size_t> places;
    for (const auto& pool : *pools) {
        const auto pool_name = pool->name();  // asked before the pool is locked for the visit
        const auto names = broker_names(*pool);
        std::optional<BrokerId> wanted;
        if (query.broker) {
            const auto broker = broker_named(*pool, *query.broker);
            if (!broker && pools->size() == 1) return std::unexpected(broker.error());
            if (!broker) continue;
            wanted = *broker;
        }
        const auto full = [&] { return query.limit != 0 && list.size() >= query.limit; };
        std::size_t position = 0;
        for (bool more = true; more && !full();)
            more = pool->visit_memories(position, [&](const Pool::Memory& memory) {
                if (full() || (wanted && memory.broker != *wanted)) return;
                const auto name = names.find(memory.broker);
                if (memory.connected) places[memory.key_hash] = list.size();
                list.push_back(stick_json(pool_name, name == names.end() ? "" : name->second, memory, now));
            });
    }
    // Only a hash is kept of a key; who is connected in the kernel is known by name.
    if (!places.empty())
        dataplane_->for_each_flow([&](const dataplane::FlowView& flow) {
            if (const auto place = places.find(flow.client_hash); place != places.end())
                list[place->second]["client_id"] = flow.client_id;
            return true;
        });
    return list;
}

Result<Json> Runtime::stick_show(const std::string& client_id, const std::optional<std::string>& pool_name) {
    const auto pool = one_pool(pool_name);
    if (!pool) return std::unexpected(pool.error());
    const auto memory = (*pool)->memory(key_hash_of(**pool, client_id));
    if (!memory)
        return refuse(
            ENOENT,
            "pool " + config::quote((*pool)->name()) + " remembers no client " + config::quote(client_id),
            "limpet lookup says where it would go");
    const auto names = broker_names(**pool);
    const auto name = names.find(memory->broker);
    auto json =
        stick_json((*pool)->name(), name == names.end() ? "" : name->second, *memory, balancer::Clock::now());
    json["client_id"] = client_id;
    return json;
}

Result<Json> Runtime::stick_set(const admin::StickOrder& order) {
    const auto pool = one_pool(order.pool);
    if (!pool) return std::unexpected(pool.error());
    const auto broker = broker_named(**pool, order.broker);
    if (!broker) return std::unexpected(broker.error());
    const auto key = key_hash_of(**pool, order.client_id);
    if (key == 0) return refuse(EINVAL, "the client id is empty", "clients without an id are not remembered");
    const auto ttl = order.ttl.value_or(std::chrono::seconds::max());
    if (ttl.count() < 1 || (order.ttl && ttl > longest_ttl))
        return refuse(EINVAL, "a memory of that length is out of range",
                      "it must be from 1 second to 3650 days");
    if (const auto memory = (*pool)->memory(key); memory && memory->connected)
        (*pool)->move(key, *broker);
    else
        (*pool)->set_memory(key, *broker, ttl, balancer::Clock::now());
    spdlog::info("by the operator: pool {}: client {} is remembered at {}", (*pool)->name(),
                 config::quote(order.client_id), order.broker);
    return stick_show(order.client_id, order.pool);
}

Result<Json> Runtime::stick_clear(const admin::StickClearance& order) {
    if (order.client_id)
        if (auto pool = one_pool(order.pool); !pool) return std::unexpected(pool.error());
    const auto pools = pools_named(order.pool);
    if (!pools) return std::unexpected(pools.error());
    std::size_t cleared = 0;
    for (const auto& pool : *pools) {
        if (order.client_id) {
            if (pool->forget(key_hash_of(*pool, *order.client_id))) ++cleared;
            continue;
        }
        std::optional<BrokerId> broker;
        if (order.broker) {
            const auto found = broker_named(*pool, *order.broker);
            if (!found && pools->size() == 1) return std::unexpected(found.error());
            if (!found) continue;
            broker = *found;
        }
        cleared += pool->forget_all(broker);
    }
    if (cleared > 0) spdlog::info("by the operator: {} memories of clients were cleared", cleared);
    return Json{{"cleared", cleared}};
}

}  // namespace limpet::daemon
