// SPDX-License-Identifier: Apache-2.0
#include "daemon/broker_watch.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/mapping.h"

namespace limpet::daemon {
namespace {

using balancer::BrokerState;

// Connections that were on their way into the kernel when their broker was found dead are looked for again.
constexpr std::chrono::seconds look_again{3};

}  // namespace

BrokerWatch::BrokerWatch(dataplane::Dataplane& dataplane, Pools& pools, Moves& moves)
    : dataplane_(dataplane), pools_(pools), moves_(moves) {
    monitor_ =
        std::make_unique<health::Monitor>(dataplane, [this](const health::Report& report) { heard(report); });
}

BrokerWatch::~BrokerWatch() {
    monitor_.reset();
    for (const auto& pool : followed_) pool->on_trouble({});
}

void BrokerWatch::follow(const std::vector<config::Pool>& pools) {
    {
        const std::lock_guard lock(mutex_);
        terms_.clear();
        for (const auto& pool : pools) terms_[pool.name] = pool;
    }
    look();
}

void BrokerWatch::tick() {
    look();
    const std::lock_guard lock(mutex_);
    for (auto& [name, known] : brokers_)
        if (known.dead && Clock::now() - known.ordered >= look_again) end_connections(known);
}

void BrokerWatch::look() {
    const auto pools = pools_.all();
    const std::lock_guard lock(mutex_);
    std::map<Name, Known> fresh;
    std::vector<health::Target> targets;
    for (const auto& pool : pools) {
        const auto pool_name = pool->name();
        const auto terms = terms_.find(pool_name);
        if (terms == terms_.end()) continue;
        for (const auto& broker : pool->brokers()) {
            const Name name(pool_name, broker.spec.name);
            auto& known = fresh[name];
            if (const auto old = brokers_.find(name); old != brokers_.end() && old->second.pool == pool &&
                                                      old->second.address == broker.spec.address)
                known = old->second;
            known.pool = pool;
            known.id = broker.id;
            known.address = broker.spec.address;
            known.end_rate = terms->second.health.end_rate;
            targets.push_back({pool_name, broker.spec.name, broker.spec.address, health_terms(terms->second),
                               probe_terms(terms->second)});
        }
    }
    for (const auto& pool : followed_)
        if (std::ranges::find(pools, pool) == pools.end()) pool->on_trouble({});
    for (const auto& pool : pools) {
        if (std::ranges::find(followed_, pool) != followed_.end()) continue;
        pool->on_trouble([this, name = pool->name(), raw = pool.get()](balancer::BrokerId id) {
            for (const auto& broker : raw->brokers())
                if (broker.id == id) monitor_->doubt(name, broker.spec.name);
        });
    }
    followed_ = pools;
    brokers_ = std::move(fresh);
    if (targets == targets_) return;
    targets_ = targets;
    monitor_->follow(std::move(targets));
}

void BrokerWatch::heard(const health::Report& report) {
    const std::lock_guard lock(mutex_);
    const auto found = brokers_.find({report.pool, report.broker});
    if (found == brokers_.end() || found->second.address != report.address) return;
    auto& known = found->second;
    known.well = report.error.empty();
    known.pool->set_health(known.id, report.up, report.error, Clock::now());
    if (!report.changed) return;
    log_change(report, known);
    const auto terms = terms_.find(report.pool);
    known.dead = !report.up && terms != terms_.end() && is_believed(report, probe_terms(terms->second));
    if (known.dead)
        end_connections(known);
    else
        spare_connections(known);
}

/// A probe that may be set up wrongly must have had a good answer once; a mere connect to the clients' own
/// port needs no proof.
bool BrokerWatch::is_believed(const health::Report& report, const health::ProbeTerms& probe) {
    return report.ever_passed || (probe.kind == health::Kind::tcp && probe.port == 0);
}

bool BrokerWatch::has_survivor(const balancer::Pool& pool) const {
    const auto pool_name = pool.name();
    return std::ranges::any_of(pool.brokers(), [&](const balancer::BrokerView& broker) {
        const auto known = brokers_.find({pool_name, broker.spec.name});
        return broker.state == BrokerState::up && broker.spec.weight > 0 && known != brokers_.end() &&
               known->second.well;
    });
}

void BrokerWatch::log_change(const health::Report& report, const Known& known) const {
    if (report.up)
        spdlog::info("broker {} ({}) of pool {} is up", report.broker, known.address.text(), report.pool);
    else
        spdlog::warn("broker {} ({}) of pool {} is down: {}", report.broker, known.address.text(),
                     report.pool, report.error);
}

/// Its clients hear it now, and not at their keep-alive. Where no other broker is well they stay: a reset
/// would lead them nowhere, and it may be the gateway that cannot reach anybody (the last answers of the
/// others are bad then, even before they count as down).
void BrokerWatch::end_connections(Known& known) {
    if (!has_survivor(*known.pool)) return;
    const auto under_way = known.order ? dataplane_.ending_progress(known.order) : std::nullopt;
    if (under_way && !under_way->done) return;
    known.ordered = Clock::now();
    known.order = dataplane_.end_flows(
        {.broker = known.address, .reason = LIMPET_REASON_END_BROKER_DOWN, .per_second = known.end_rate});
    moves_.end_relayed(known.pool, known.id, LIMPET_REASON_END_BROKER_DOWN, known.end_rate);
}

/// It lives: who was not ended yet stays.
void BrokerWatch::spare_connections(Known& known) {
    if (known.order == 0) return;
    dataplane_.cancel_ending(std::exchange(known.order, 0));
    moves_.cancel_relayed(known.pool, known.id);
}

}  // namespace limpet::daemon
