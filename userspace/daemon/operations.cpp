// SPDX-License-Identifier: Apache-2.0
// What operators do with brokers while clients are connected: add, remove, weigh, limit, drain, rebalance.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>

#include "config/values.h"
#include "daemon/difference.h"
#include "daemon/drain.h"
#include "daemon/mapping.h"
#include "daemon/rebalance.h"
#include "daemon/refuse.h"
#include "daemon/runtime.h"

namespace limpet::daemon {
namespace {

using admin::BrokerName;
using admin::Json;

// Above its fair share a broker may have so much before rebalancing takes it away.
constexpr double default_tolerance = 0.05;
constexpr double slowest = 0.01;  // connections a second
constexpr double fastest = 1'000'000;
constexpr std::chrono::hours longest_deadline{24 * 30};

template <class Things>
std::string names_of(const Things& things) {
    std::vector<std::string_view> names;
    for (const auto& thing : things) names.push_back(thing.name);
    return config::joined(names);
}

template <class Things>
Error unknown(const std::string& what, const std::string& name, const Things& things) {
    std::vector<std::string_view> names;
    for (const auto& thing : things) names.push_back(thing.name);
    const auto meant = config::nearest(name, names);
    const auto advice =
        meant.empty() ? "there are " + config::joined(names) : "did you mean " + config::quote(meant) + "?";
    return {"there is no " + what + " " + config::quote(name), advice, ENOENT};
}

/// The pool of this name, or the only one.
Result<config::Pool*> pool_in(config::Config& config, const std::optional<std::string>& name) {
    if (!name && config.pools.size() == 1) return &config.pools.front();
    if (!name) return refuse(EINVAL, "there are several pools", "say which one: " + names_of(config.pools));
    for (auto& pool : config.pools)
        if (pool.name == *name) return &pool;
    return std::unexpected(unknown("pool", *name, config.pools));
}

struct Found {
    config::Pool* pool = nullptr;
    config::Broker* broker = nullptr;
};

Result<Found> broker_in(config::Config& config, const BrokerName& name) {
    if (name.pool)
        if (auto pool = pool_in(config, name.pool); !pool) return std::unexpected(pool.error());
    std::vector<Found> found;
    std::vector<config::Broker> others;
    for (auto& pool : config.pools) {
        if (name.pool && pool.name != *name.pool) continue;
        for (auto& broker : pool.brokers)
            if (broker.name == name.broker) found.push_back({&pool, &broker});
        others.insert(others.end(), pool.brokers.begin(), pool.brokers.end());
    }
    if (found.empty()) return std::unexpected(unknown("broker", name.broker, others));
    if (found.size() == 1) return found.front();
    std::vector<std::string_view> pools;
    for (const auto& one : found) pools.push_back(one.pool->name);
    return refuse(EINVAL, "several pools have a broker " + config::quote(name.broker),
                  "say which pool: " + config::joined(pools));
}

Result<std::uint32_t> within(const char* what, std::uint64_t value, config::Bounds<std::int64_t> allowed,
                             const char* advice) {
    const auto low = static_cast<std::uint64_t>(allowed.low);
    const auto high = static_cast<std::uint64_t>(allowed.high);
    if (value < low || value > high)
        return refuse(EINVAL,
                      fmt::format("{} {} is out of range: it must be from {} to {}", what, value, low, high),
                      advice);
    return static_cast<std::uint32_t>(value);
}

Result<std::uint32_t> check_weight(std::uint64_t weight) {
    return within("weight", weight, config::bounds::weight, "to keep new clients away drain the broker");
}

Result<std::uint32_t> check_most(std::uint64_t most) {
    return within("max_connections", most, config::bounds::max_connections, "0 takes the limit away");
}

Result<void> check_pace(const admin::Pace& pace, bool may_be_zero) {
    if (pace.per_second && (*pace.per_second > fastest ||
                            (*pace.per_second < slowest && !(may_be_zero && *pace.per_second == 0))))
        return refuse(EINVAL, fmt::format("a rate of {} in a second is out of range", *pace.per_second),
                      fmt::format("it must be from {} to {}", slowest, fastest));
    if (pace.deadline && (pace.deadline->count() < 1 || *pace.deadline > longest_deadline))
        return refuse(EINVAL, fmt::format("a deadline of {} seconds is out of range", pace.deadline->count()),
                      "it must be from 1 second to 30 days");
    return {};
}

Json move_json(const MoveView& move) {
    Json json{{"id", move.id},
              {"kind", move_kind_name(move.kind)},
              {"pool", move.pool},
              {"broker", move.broker.empty() ? Json() : Json(move.broker)},
              {"state", move_state_name(move.state)},
              {"total", move.total},
              {"ended", move.ended},
              {"left", move.left},
              {"per_second", move.per_second},
              {"elapsed_seconds", move.elapsed.count()}};
    const bool known = move.state == MoveState::running && move.per_second > 0;
    json["eta_seconds"] = known ? Json(static_cast<double>(move.left) / move.per_second) : Json();
    return json;
}

std::vector<balancer::BrokerView> live_brokers(const balancer::Pool& pool, const config::Pool& configured) {
    auto views = pool.brokers();
    std::erase_if(views, [&](const balancer::BrokerView& view) {
        return std::ranges::none_of(
            configured.brokers, [&](const config::Broker& broker) { return broker.name == view.spec.name; });
    });
    return views;
}

}  // namespace

/// Takes a configuration over in which only pools differ; whatever is wrong with it is refused whole.
Result<Json> Runtime::change_pools(const config::Config& next, const BrokerName& name,
                                   const std::string& pool) {
    if (!ready_) return refuse(EBUSY, "the daemon is starting or stopping", "try again when it is ready");
    std::vector<config::Problem> problems;
    config::validate(next, problems);
    if (!problems.empty()) return refuse(EINVAL, problems.front().message, "nothing was changed");
    if (auto served = dataplane_->serve_transparent(transparent_families(next.pools)); !served)
        return std::unexpected(served.error());
    const auto changed = compare(config_, next).changed;
    pools_->apply(next, prepare_pools(next));
    config_.pools = next.pools;
    offers_->follow(config_);
    for (const auto& line : changed) spdlog::info("by the operator: {}", line);
    return Json{{"pool", pool}, {"broker", name.broker}, {"changed", changed}};
}

Result<Json> Runtime::brokers_add(const admin::NewBroker& wanted) {
    const std::lock_guard lock(mutex_);
    auto next = config_;
    const auto pool = pool_in(next, wanted.name.pool);
    if (!pool) return std::unexpected(pool.error());
    config::Broker broker;
    broker.name = wanted.name.broker;
    const auto good = config::check_name(broker.name);
    if (!good) return refuse(EINVAL, "name: " + good.error().what, good.error().advice);
    const auto address = config::parse_broker_address(wanted.address);
    if (!address) return refuse(EINVAL, "address: " + address.error().what, address.error().advice);
    broker.address = *address;
    const auto weight = check_weight(wanted.weight.value_or(broker.weight));
    if (!weight) return std::unexpected(weight.error());
    const auto most = check_most(wanted.max_connections.value_or(0));
    if (!most) return std::unexpected(most.error());
    broker.weight = *weight;
    broker.max_connections = *most;
    for (const auto& other : (*pool)->brokers) {
        if (other.name == broker.name)
            return refuse(EEXIST,
                          "pool " + config::quote((*pool)->name) + " has a broker " +
                              config::quote(broker.name) + " already",
                          "give the new one another name, or remove the old one first");
        if (other.address == broker.address)
            return refuse(EEXIST,
                          broker.address.text() + " is broker " + config::quote(other.name) + " of pool " +
                              config::quote((*pool)->name) + " already",
                          "a broker is there only once");
    }
    (*pool)->brokers.push_back(std::move(broker));
    return change_pools(next, wanted.name, (*pool)->name);
}

Result<Json> Runtime::brokers_remove(const BrokerName& name) {
    const std::lock_guard lock(mutex_);
    auto next = config_;
    const auto found = broker_in(next, name);
    if (!found) return std::unexpected(found.error());
    auto& brokers = found->pool->brokers;
    if (brokers.size() == 1)
        return refuse(
            EBUSY,
            config::quote(name.broker) + " is the last broker of pool " + config::quote(found->pool->name),
            "its clients would have nowhere to go: add another one first");
    brokers.erase(brokers.begin() + (found->broker - brokers.data()));
    return change_pools(next, name, found->pool->name);
}

Result<Json> Runtime::brokers_weight(const BrokerName& name, std::uint64_t weight) {
    const auto good = check_weight(weight);
    if (!good) return std::unexpected(good.error());
    const std::lock_guard lock(mutex_);
    auto next = config_;
    const auto found = broker_in(next, name);
    if (!found) return std::unexpected(found.error());
    found->broker->weight = *good;
    return change_pools(next, name, found->pool->name);
}

Result<Json> Runtime::brokers_maxconn(const BrokerName& name, std::uint64_t most) {
    const auto good = check_most(most);
    if (!good) return std::unexpected(good.error());
    const std::lock_guard lock(mutex_);
    auto next = config_;
    const auto found = broker_in(next, name);
    if (!found) return std::unexpected(found.error());
    found->broker->max_connections = *good;
    return change_pools(next, name, found->pool->name);
}

Result<Runtime::LiveBroker> Runtime::live_broker(const BrokerName& name) {
    const std::lock_guard lock(mutex_);
    const auto found = broker_in(config_, name);
    if (!found) return std::unexpected(found.error());
    LiveBroker live{.pool = pools_->find(found->pool->name), .view = {}, .others = 0};
    for (const auto& view : live_brokers(*live.pool, *found->pool)) {
        if (view.spec.name == name.broker)
            live.view = view;
        else if (view.state != balancer::BrokerState::draining)
            ++live.others;
    }
    return live;
}

Result<Json> Runtime::brokers_enable(const BrokerName& name) {
    const auto live = live_broker(name);
    if (!live) return std::unexpected(live.error());
    const auto pool = live->pool->name();
    moves_->cancel(MoveKind::drain, live->pool, name.broker);
    live->pool->set_draining(live->view.id, false);
    const bool was = live->view.state == balancer::BrokerState::draining;
    auto changed = Json::array();
    if (was) changed.push_back(fmt::format("pool {}: broker {}: takes new clients again", pool, name.broker));
    if (was) spdlog::info("by the operator: {}", changed.front().get<std::string>());
    return Json{{"pool", pool}, {"broker", name.broker}, {"changed", changed}};
}

Result<Json> Runtime::brokers_drain(const BrokerName& name, const admin::Pace& pace) {
    if (auto good = check_pace(pace, true); !good) return std::unexpected(good.error());
    const auto live = live_broker(name);
    if (!live) return std::unexpected(live.error());
    const auto pool = live->pool->name();
    if (live->others == 0)
        return refuse(EBUSY,
                      config::quote(name.broker) + " is the last broker of pool " + config::quote(pool) +
                          " that takes clients",
                      "they would have nowhere to go: add or enable another one first");
    live->pool->set_draining(live->view.id, true);
    spdlog::info("by the operator: pool {}: broker {} is drained, it has {} connections", pool, name.broker,
                 live->view.connections);
    MoveOrder order;
    order.pool = live->pool;
    order.broker = name.broker;
    order.from.push_back({live->view.id, live->view.spec.address, live->view.connections});
    order.total = live->view.connections;
    order.per_second = pace.per_second;
    order.deadline = pace.deadline;
    if (pace.per_second && *pace.per_second == 0 && !pace.deadline) {
        moves_->cancel(MoveKind::drain, live->pool, name.broker);
        return move_json(
            {0, MoveKind::drain, MoveState::done, pool, name.broker, order.total, 0, order.total, 0, {}});
    }
    return move_json(moves_->begin(std::move(order)));
}

Result<Json> Runtime::brokers_rebalance(const admin::Rebalance& wanted) {
    if (auto good = check_pace(wanted.pace, false); !good) return std::unexpected(good.error());
    const auto tolerance = wanted.tolerance.value_or(default_tolerance);
    if (tolerance > 10)
        return refuse(EINVAL, fmt::format("a tolerance of {} is out of range", tolerance),
                      "it is a part of the fair share, from 0 to 10: 0.05 is 5 %");
    std::vector<MoveOrder> orders;
    {
        const std::lock_guard lock(mutex_);
        if (wanted.pool)
            if (auto pool = pool_in(config_, wanted.pool); !pool) return std::unexpected(pool.error());
        for (const auto& pool : config_.pools) {
            if (wanted.pool && pool.name != *wanted.pool) continue;
            MoveOrder order;
            order.kind = MoveKind::rebalance;
            order.pool = pools_->find(pool.name);
            auto imbalance = imbalance_of(live_brokers(*order.pool, pool), tolerance);
            if (imbalance.from.empty()) continue;
            order.from = std::move(imbalance.from);
            order.to = std::move(imbalance.to);
            order.total = imbalance.total;
            order.by_placement =
                pool.strategy == config::Strategy::hash && pool.key == config::Key::client_id;
            order.per_second = wanted.pace.per_second;
            order.deadline = wanted.pace.deadline;
            orders.push_back(std::move(order));
        }
    }
    auto list = Json::array();
    for (auto& order : orders) list.push_back(move_json(moves_->begin(std::move(order))));
    return list;
}

Result<Json> Runtime::brokers_cancel(const std::optional<std::string>& broker,
                                     const std::optional<std::string>& pool_name) {
    if (broker) {
        const auto live = live_broker({*broker, pool_name});
        if (!live) return std::unexpected(live.error());
        if (live->view.state != balancer::BrokerState::draining)
            return refuse(ENOENT, "broker " + config::quote(*broker) + " is not drained",
                          "limpet brokers moves shows what is under way");
        return brokers_enable({*broker, pool_name});
    }
    std::vector<PoolPointer> pools;
    {
        const std::lock_guard lock(mutex_);
        if (pool_name)
            if (auto pool = pool_in(config_, pool_name); !pool) return std::unexpected(pool.error());
        for (const auto& pool : config_.pools)
            if (!pool_name || pool.name == *pool_name) pools.push_back(pools_->find(pool.name));
    }
    auto changed = Json::array();
    for (const auto& pool : pools)
        if (moves_->cancel(MoveKind::rebalance, pool, "") > 0)
            changed.push_back(fmt::format("pool {}: rebalancing is cancelled", pool->name()));
    if (changed.empty())
        return refuse(ENOENT, "nothing is rebalanced now", "limpet brokers moves shows what is under way");
    return Json{{"pool", pool_name ? Json(*pool_name) : Json()}, {"broker", Json()}, {"changed", changed}};
}

Result<Json> Runtime::brokers_moves() {
    auto list = Json::array();
    for (const auto& view : moves_->views()) list.push_back(move_json(view));
    return list;
}

}  // namespace limpet::daemon
