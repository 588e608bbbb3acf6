// SPDX-License-Identifier: Apache-2.0
#include "daemon/mapping.h"

#include <algorithm>
#include <thread>

namespace limpet::daemon {
namespace {

dataplane::Mode mode_of(config::Mode mode) {
    switch (mode) {
        case config::Mode::automatic:
            return dataplane::Mode::automatic;
        case config::Mode::xdp:
            return dataplane::Mode::xdp;
        case config::Mode::tc:
            return dataplane::Mode::tc;
        case config::Mode::relay:
            break;
    }
    return dataplane::Mode::relay;
}

balancer::Strategy strategy_of(config::Strategy strategy) {
    switch (strategy) {
        case config::Strategy::sticky:
            return balancer::Strategy::sticky;
        case config::Strategy::hash:
            return balancer::Strategy::hash;
        case config::Strategy::least_connections:
            return balancer::Strategy::least_connections;
        case config::Strategy::round_robin:
            return balancer::Strategy::round_robin;
        case config::Strategy::random:
            return balancer::Strategy::random;
        case config::Strategy::power_of_two:
            break;
    }
    return balancer::Strategy::power_of_two;
}

balancer::Key key_of(config::Key key) {
    switch (key) {
        case config::Key::client_id:
            return balancer::Key::client_id;
        case config::Key::username:
            return balancer::Key::username;
        case config::Key::source_ip:
            break;
    }
    return balancer::Key::source_ip;
}

health::Kind probe_kind_of(config::Probe probe) {
    switch (probe) {
        case config::Probe::tcp:
            return health::Kind::tcp;
        case config::Probe::mqtt:
            return health::Kind::mqtt;
        case config::Probe::http:
            break;
    }
    return health::Kind::http;
}

mqtt::Version mqtt_version_of(config::MqttVersion version) {
    switch (version) {
        case config::MqttVersion::v31:
            return mqtt::Version::v31;
        case config::MqttVersion::v311:
            return mqtt::Version::v311;
        case config::MqttVersion::v5:
            break;
    }
    return mqtt::Version::v5;
}

}  // namespace

unsigned worker_count(const config::Config& config) {
    if (config.daemon.workers != 0) return config.daemon.workers;
    return std::max(1u, std::thread::hardware_concurrency());
}

dataplane::Options dataplane_options(const config::Config& config, bool flush) {
    const auto& from = config.dataplane;
    dataplane::Options options;
    options.mode = mode_of(from.mode);
    options.interfaces = from.interfaces;
    options.bpffs = from.bpffs;
    options.max_flows = from.max_flows;
    options.source_addresses = from.source_addresses;
    options.first_source_port = from.first_source_port;
    options.last_source_port = from.last_source_port;
    options.hold_timeout = from.hold_timeout;
    options.handoff_tries = from.handoff_tries;
    options.idle_timeout = from.idle_timeout;
    options.probe_after = from.probe_after;
    options.closing_timeout = from.closing_timeout;
    options.retire_grace = from.retire_grace;
    options.workers = worker_count(config);
    options.transparent = transparent_families(config.pools);
    options.start_fresh = flush;
    return options;
}

session::Options session_options(const config::Config& config) {
    session::Options options;
    options.workers = worker_count(config);
    options.idle_timeout = config.dataplane.idle_timeout;
    return options;
}

balancer::PoolSpec pool_spec(const config::Pool& pool) {
    balancer::PoolSpec spec;
    spec.name = pool.name;
    spec.strategy = strategy_of(pool.strategy);
    spec.unknown = strategy_of(pool.unknown);
    spec.key = key_of(pool.key);
    spec.stick_minimum = pool.stick_minimum;
    spec.stick_maximum = pool.stick_maximum;
    spec.stick_capacity = pool.stick_capacity;
    spec.retry_down = pool.retry_down;
    spec.slow_start = pool.health.slow_start;
    for (const auto& broker : pool.brokers)
        spec.brokers.push_back(
            {.name = broker.name, .address = broker.address, .weight = broker.weight, .rank = broker.rank});
    return spec;
}

health::Terms health_terms(const config::Pool& pool) {
    const auto& from = pool.health;
    health::Terms terms;
    terms.interval = from.interval;
    terms.fast_interval = from.fast_interval;
    terms.rise = from.rise;
    terms.fall = from.fall;
    terms.initially_up = from.initially_up;
    terms.always = from.always;
    return terms;
}

health::ProbeTerms probe_terms(const config::Pool& pool) {
    const auto& from = pool.health;
    health::ProbeTerms terms;
    terms.kind = probe_kind_of(from.probe);
    terms.timeout = from.timeout;
    terms.port = from.port;
    terms.mqtt.version = mqtt_version_of(from.mqtt_version);
    terms.mqtt.client_id = from.client_id;
    if (!from.username.empty()) terms.mqtt.username = from.username;
    if (!from.password.empty()) terms.mqtt.password = from.password;
    terms.http.path = from.path;
    terms.http.status = from.status;
    terms.http.host = from.host;
    return terms;
}

dataplane::Families transparent_families(const std::vector<config::Pool>& pools) {
    dataplane::Families families;
    for (const auto& pool : pools) {
        if (!pool.transparent) continue;
        for (const auto& broker : pool.brokers)
            (broker.address.address.family == 4 ? families.v4 : families.v6) = true;
    }
    return families;
}

const config::Pool& pool_named(const std::vector<config::Pool>& pools, const std::string& name) {
    static const config::Pool none;
    const auto found = std::ranges::find(pools, name, &config::Pool::name);
    return found == pools.end() ? none : *found;
}

session::Listener listener_of(const config::Listener& listener, std::shared_ptr<balancer::Pool> pool,
                              const config::Pool& terms) {
    session::Listener result;
    result.name = listener.name;
    result.address = listener.address;
    result.protocol =
        listener.protocol == config::Protocol::tcp ? session::Protocol::tcp : session::Protocol::mqtt;
    result.connect_timeout = listener.connect_timeout;
    result.connack_timeout = listener.connack_timeout;
    result.max_connect_size = listener.max_connect_size;
    result.pool = std::move(pool);
    result.transparent = terms.transparent;
    result.broker_attempts = terms.broker_attempts;
    return result;
}

std::string_view protocol_name(config::Protocol protocol) {
    return protocol == config::Protocol::tcp ? "tcp" : "mqtt";
}

std::string_view mode_name(config::Mode mode) {
    return dataplane::mode_name(mode_of(mode));
}

}  // namespace limpet::daemon
