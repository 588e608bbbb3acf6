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
            return balancer::Key::source_ip;
        case config::Key::certificate_cn:
            return balancer::Key::certificate_cn;
        case config::Key::sni:
            break;
    }
    return balancer::Key::sni;
}

session::Protocol protocol_of(config::Protocol protocol) {
    switch (protocol) {
        case config::Protocol::mqtt:
        case config::Protocol::mqtts:
            break;
        case config::Protocol::ws:
        case config::Protocol::wss:
            return session::Protocol::ws;
        case config::Protocol::tcp:
            return session::Protocol::tcp;
        case config::Protocol::tls_passthrough:
            return session::Protocol::tls_passthrough;
    }
    return session::Protocol::mqtt;
}

session::Destination destination_of(const std::string& name, const std::vector<config::Pool>& terms,
                                    const std::map<std::string, PoolPointer>& pools, const TlsTerms& tls) {
    session::Destination destination;
    if (name.empty()) return destination;
    destination.pool = pools.at(name);
    destination.tls = tls.client(name);
    const auto pool = std::ranges::find(terms, name, &config::Pool::name);
    if (pool == terms.end()) return destination;
    destination.transparent = pool->transparent;
    destination.proxy_header = pool->proxy_protocol;
    destination.broker_attempts = pool->broker_attempts;
    if (pool->websocket) destination.websocket = {.path = pool->path, .host = pool->host};
    return destination;
}

session::Rate rate_of(const config::Rate& rate) {
    return {.most = rate.most, .time = rate.time};
}

mqtt::Refusal refusal_of(config::DenyReason reason) {
    switch (reason) {
        case config::DenyReason::bad_user_name_or_password:
            return mqtt::Refusal::bad_user_name;
        case config::DenyReason::not_authorized:
            break;
        case config::DenyReason::banned:
            return mqtt::Refusal::banned;
        case config::DenyReason::client_id_not_valid:
            return mqtt::Refusal::client_id_rejected;
        case config::DenyReason::server_unavailable:
            return mqtt::Refusal::server_unavailable;
        case config::DenyReason::server_busy:
            return mqtt::Refusal::server_busy;
        case config::DenyReason::quota_exceeded:
            return mqtt::Refusal::quota_exceeded;
        case config::DenyReason::connection_rate_exceeded:
            return mqtt::Refusal::rate_exceeded;
        case config::DenyReason::use_another_server:
            return mqtt::Refusal::use_another_server;
    }
    return mqtt::Refusal::not_authorized;
}

session::Rule rule_of(const config::Rule& rule, const std::vector<config::Pool>& terms,
                      const std::map<std::string, PoolPointer>& pools, const TlsTerms& tls) {
    session::Rule result;
    result.name = rule.name;
    result.conditions.sources = rule.sources;
    result.conditions.client_ids = rule.client_ids;
    result.conditions.usernames = rule.usernames;
    for (const auto level : rule.versions)
        result.conditions.versions.push_back(static_cast<mqtt::Version>(level));
    result.conditions.keep_alive_below = rule.keep_alive_below;
    result.conditions.keep_alive_above = rule.keep_alive_above;
    if (rule.deny) result.refusal = refusal_of(rule.reason);
    result.destination = destination_of(rule.pool, terms, pools, tls);
    return result;
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
    spec.max_connections = pool.max_connections;
    spec.slow_start = pool.health.slow_start;
    for (const auto& broker : pool.brokers)
        spec.brokers.push_back({.name = broker.name,
                                .address = broker.address,
                                .weight = broker.weight,
                                .max_connections = broker.max_connections,
                                .rank = broker.rank});
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
    if (pool.proxy_protocol)
        terms.proxy_header = from.proxy_command == config::ProxyCommand::local
                                 ? proxy_protocol::Command::local
                                 : proxy_protocol::Command::proxy;
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

session::Listener listener_of(const config::Listener& listener, const std::vector<config::Pool>& terms,
                              const std::map<std::string, PoolPointer>& pools, const TlsTerms& tls) {
    session::Listener result;
    result.name = listener.name;
    result.address = listener.address;
    result.protocol = protocol_of(listener.protocol);
    result.connect_timeout = listener.connect_timeout;
    result.connack_timeout = listener.connack_timeout;
    result.max_connect_size = listener.max_connect_size;
    result.proxy_from = listener.proxy_from;
    result.upgrade.paths = listener.websocket.paths;
    result.upgrade.origins = listener.websocket.origins;
    for (const auto& [name, value] : listener.websocket.headers)
        result.upgrade.headers.push_back({.name = name, .value = value});
    result.identity = {.user_name = listener.identity.username,
                       .password = listener.identity.password,
                       .client_id = listener.identity.client_id,
                       .required_client_id = listener.identity.require_client_id,
                       .replace = listener.identity.replace};
    result.destination = destination_of(listener.pool, terms, pools, tls);
    result.rates = {.all = rate_of(listener.connect_rate),
                    .source = rate_of(listener.source_connect_rate),
                    .client = rate_of(listener.client_connect_rate),
                    .hold_off = listener.hold_off};
    for (const auto& rule : listener.rules) result.rules.push_back(rule_of(rule, terms, pools, tls));
    for (const auto& route : listener.routes)
        result.routes.push_back({.server_name = route.sni,
                                 .sources = route.sources,
                                 .destination = destination_of(route.pool, terms, pools, tls)});
    result.max_handshakes = listener.tls.max_handshakes;
    return result;
}

std::string_view protocol_name(config::Protocol protocol) {
    switch (protocol) {
        case config::Protocol::mqtt:
            break;
        case config::Protocol::mqtts:
            return "mqtts";
        case config::Protocol::ws:
            return "ws";
        case config::Protocol::wss:
            return "wss";
        case config::Protocol::tcp:
            return "tcp";
        case config::Protocol::tls_passthrough:
            return "tls_passthrough";
    }
    return "mqtt";
}

std::string_view mode_name(config::Mode mode) {
    return dataplane::mode_name(mode_of(mode));
}

}  // namespace limpet::daemon
