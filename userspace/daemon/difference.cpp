// SPDX-License-Identifier: Apache-2.0
#include "daemon/difference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "config/values.h"
#include "daemon/mapping.h"

namespace limpet::daemon {
namespace {

std::string text_of(const std::string& value) {
    return value.empty() ? "\"\"" : value;
}
std::string text_of(bool value) {
    return value ? "true" : "false";
}
std::string text_of(std::uint64_t value) {
    return std::to_string(value);
}
std::string text_of(std::chrono::seconds value) {
    return fmt::format("{}s", value.count());
}
std::string text_of(std::chrono::milliseconds value) {
    const auto count = value.count();
    return count % 1000 == 0 ? fmt::format("{}s", count / 1000) : fmt::format("{}ms", count);
}
std::string text_of(const Endpoint& value) {
    return value.text();
}
std::string text_of(config::Mode value) {
    return std::string(mode_name(value));
}
std::string text_of(config::Protocol value) {
    return std::string(protocol_name(value));
}
std::string text_of(config::Strategy value) {
    config::Pool pool;
    pool.strategy = value;
    return std::string(balancer::strategy_name(pool_spec(pool).strategy));
}
std::string text_of(config::Key value) {
    config::Pool pool;
    pool.key = value;
    return std::string(balancer::key_name(pool_spec(pool).key));
}
std::string text_of(config::Probe value) {
    config::Pool pool;
    pool.health.probe = value;
    return std::string(health::kind_name(probe_terms(pool).kind));
}
std::string text_of(config::ProxyCommand value) {
    return value == config::ProxyCommand::local ? "local" : "proxy";
}
std::string text_of(config::MqttVersion value) {
    switch (value) {
        case config::MqttVersion::v31:
            return "3.1";
        case config::MqttVersion::v311:
            return "3.1.1";
        case config::MqttVersion::v5:
            break;
    }
    return "5";
}
std::string text_of(const config::HostName& value) {
    return value.is_service() ? "srv+" + value.name : fmt::format("{}:{}", value.name, value.port);
}
std::string text_of(const std::vector<std::string>& values) {
    return fmt::format("[{}]", fmt::join(values, ", "));
}
std::string text_of(const config::Rate& value) {
    return config::rate_text(value);
}
std::string text_of(const std::optional<std::chrono::seconds>& value) {
    return value ? text_of(*value) : "none";
}
std::string text_of(config::DenyReason value) {
    for (const auto& [name, reason] : config::deny_reason_names())
        if (reason == value) return std::string(name);
    return "unknown";
}
std::string text_of(const std::vector<unsigned>& values) {
    return fmt::format("[{}]", fmt::join(values, ", "));
}
template <class Value>
std::string text_of(const std::vector<Value>& values) {
    std::vector<std::string> texts;
    for (const auto& value : values) texts.push_back(value.text());
    return text_of(texts);
}

std::string text_of(const std::optional<TextTemplate>& value) {
    return value ? value->text() : "none";
}

std::vector<std::string> route_texts(const config::Listener& listener) {
    std::vector<std::string> texts;
    for (const auto& route : listener.routes)
        texts.push_back(fmt::format("{}{}{} to {}", route.sni,
                                    route.sni.empty() || route.sources.empty() ? "" : " ",
                                    route.sources.empty() ? "" : text_of(route.sources), route.pool));
    return texts;
}

/// Compares the values of one thing, a line for each that differs.
class Lines {
  public:
    Lines(std::vector<std::string>& lines, std::string prefix) : lines_(lines), prefix_(std::move(prefix)) {}

    template <class Value>
    void compare(std::string_view name, const Value& before, const Value& after) {
        if (before == after) return;
        lines_.push_back(fmt::format("{}{}: {} -> {}", prefix_, name, text_of(before), text_of(after)));
    }

  private:
    std::vector<std::string>& lines_;
    std::string prefix_;
};

void compare_fixed(const config::Config& before, const config::Config& after,
                   std::vector<std::string>& refused) {
    Lines daemon(refused, "daemon.");
    daemon.compare("workers", std::uint64_t{before.daemon.workers}, std::uint64_t{after.daemon.workers});
    daemon.compare("socket", before.daemon.socket, after.daemon.socket);
    daemon.compare("state_file", before.daemon.state_file, after.daemon.state_file);
    const auto& old = before.dataplane;
    const auto& fresh = after.dataplane;
    Lines plane(refused, "dataplane.");
    plane.compare("mode", old.mode, fresh.mode);
    plane.compare("interfaces", old.interfaces, fresh.interfaces);
    plane.compare("bpffs", old.bpffs, fresh.bpffs);
    plane.compare("max_flows", std::uint64_t{old.max_flows}, std::uint64_t{fresh.max_flows});
    plane.compare("source_addresses", old.source_addresses, fresh.source_addresses);
    const auto ports = [](const config::Dataplane& section) {
        return fmt::format("{}-{}", section.first_source_port, section.last_source_port);
    };
    plane.compare("source_ports", ports(old), ports(fresh));
    plane.compare("hold_timeout", old.hold_timeout, fresh.hold_timeout);
    plane.compare("handoff_tries", std::uint64_t{old.handoff_tries}, std::uint64_t{fresh.handoff_tries});
    plane.compare("idle_timeout", old.idle_timeout, fresh.idle_timeout);
    plane.compare("probe_after", old.probe_after, fresh.probe_after);
    plane.compare("closing_timeout", old.closing_timeout, fresh.closing_timeout);
    plane.compare("retire_grace", old.retire_grace, fresh.retire_grace);
    Lines(refused, "admin.").compare("http", before.admin.http, after.admin.http);
}

void compare_health(const config::Health& old, const config::Health& fresh, Lines values) {
    const auto initial = [](const config::Health& health) {
        return std::string(health.initially_up ? "up" : "down");
    };
    values.compare("always", old.always, fresh.always);
    values.compare("probe", old.probe, fresh.probe);
    values.compare("interval", old.interval, fresh.interval);
    values.compare("fast_interval", old.fast_interval, fresh.fast_interval);
    values.compare("timeout", old.timeout, fresh.timeout);
    values.compare("rise", std::uint64_t{old.rise}, std::uint64_t{fresh.rise});
    values.compare("fall", std::uint64_t{old.fall}, std::uint64_t{fresh.fall});
    values.compare("initial", initial(old), initial(fresh));
    values.compare("port", std::uint64_t{old.port}, std::uint64_t{fresh.port});
    values.compare("proxy_command", old.proxy_command, fresh.proxy_command);
    values.compare("slow_start", old.slow_start, fresh.slow_start);
    values.compare("end_rate", std::uint64_t{old.end_rate}, std::uint64_t{fresh.end_rate});
    values.compare("mqtt_version", old.mqtt_version, fresh.mqtt_version);
    values.compare("client_id", old.client_id, fresh.client_id);
    values.compare("username", old.username, fresh.username);
    // a secret: only that it changed is said
    if (old.password != fresh.password) values.compare("password", std::string("old"), std::string("new"));
    values.compare("path", old.path, fresh.path);
    values.compare("host", old.host, fresh.host);
    values.compare("status", std::uint64_t{old.status}, std::uint64_t{fresh.status});
}

/// Goes through two lists of named things side by side.
template <class Thing, class Compare>
void by_name(const std::vector<Thing>& before, const std::vector<Thing>& after, const std::string& what,
             std::vector<std::string>& lines, const Compare& compare_one) {
    const auto find = [](const std::vector<Thing>& things, const std::string& name) {
        return std::find_if(things.begin(), things.end(),
                            [&](const Thing& thing) { return thing.name == name; });
    };
    for (const auto& old : before)
        if (find(after, old.name) == after.end())
            lines.push_back(fmt::format("{}{}: removed", what, old.name));
    for (const auto& fresh : after) {
        const auto old = find(before, fresh.name);
        if (old == before.end())
            lines.push_back(fmt::format("{}{}: added", what, fresh.name));
        else
            compare_one(*old, fresh, fmt::format("{}{}: ", what, fresh.name));
    }
}

std::vector<std::string> rule_names(const std::vector<config::Rule>& rules) {
    std::vector<std::string> names;
    for (const auto& rule : rules) names.push_back(rule.name);
    return names;
}

void compare_rules(const std::vector<config::Rule>& before, const std::vector<config::Rule>& after,
                   std::vector<std::string>& lines) {
    by_name(before, after, "rule ", lines,
            [&](const config::Rule& old, const config::Rule& fresh, const std::string& prefix) {
                Lines values(lines, prefix);
                values.compare("listener", old.listeners, fresh.listeners);
                values.compare("source", old.sources, fresh.sources);
                values.compare("client_id", old.client_ids, fresh.client_ids);
                values.compare("username", old.usernames, fresh.usernames);
                values.compare("version", old.versions, fresh.versions);
                values.compare("keep_alive_below", old.keep_alive_below, fresh.keep_alive_below);
                values.compare("keep_alive_above", old.keep_alive_above, fresh.keep_alive_above);
                values.compare("action", std::string(old.deny ? "deny" : "allow"),
                               std::string(fresh.deny ? "deny" : "allow"));
                values.compare("reason", old.reason, fresh.reason);
                values.compare("pool", old.pool, fresh.pool);
            });
    // The first that fits counts, so their order says something too.
    auto old = rule_names(before);
    auto fresh = rule_names(after);
    if (old != fresh && std::ranges::is_permutation(old, fresh))
        Lines(lines, "rules: ").compare("order", old, fresh);
}

}  // namespace

Difference compare(const config::Config& before, const config::Config& after) {
    Difference difference;
    compare_fixed(before, after, difference.refused);
    auto& lines = difference.changed;
    Lines(lines, "daemon.").compare("log_level", before.daemon.log_level, after.daemon.log_level);
    Lines(lines, "daemon.").compare("dns_servers", before.daemon.dns_servers, after.daemon.dns_servers);
    by_name(before.listeners, after.listeners, "listener ", lines,
            [&](const config::Listener& old, const config::Listener& fresh, const std::string& prefix) {
                Lines values(lines, prefix);
                values.compare("address", old.address, fresh.address);
                values.compare("protocol", old.protocol, fresh.protocol);
                values.compare("pool", old.pool, fresh.pool);
                values.compare("websocket.paths", old.websocket.paths, fresh.websocket.paths);
                values.compare("websocket.origins", old.websocket.origins, fresh.websocket.origins);
                const auto headers = [](const config::Listener& listener) {
                    std::vector<std::string> texts;
                    for (const auto& [name, value] : listener.websocket.headers)
                        texts.push_back(name + ": " + value);
                    return texts;
                };
                values.compare("websocket.headers", headers(old), headers(fresh));
                values.compare("identity.username", text_of(old.identity.username),
                               text_of(fresh.identity.username));
                values.compare("identity.client_id", text_of(old.identity.client_id),
                               text_of(fresh.identity.client_id));
                values.compare("identity.require_client_id", text_of(old.identity.require_client_id),
                               text_of(fresh.identity.require_client_id));
                values.compare("identity.replace", old.identity.replace, fresh.identity.replace);
                if (old.identity.password != fresh.identity.password)  // a secret
                    lines.push_back(prefix + "identity.password: changed");
                values.compare("routes", route_texts(old), route_texts(fresh));
                values.compare("connect_timeout", old.connect_timeout, fresh.connect_timeout);
                values.compare("connack_timeout", old.connack_timeout, fresh.connack_timeout);
                values.compare("max_connect_size", std::uint64_t{old.max_connect_size},
                               std::uint64_t{fresh.max_connect_size});
                values.compare("connect_rate", old.connect_rate, fresh.connect_rate);
                values.compare("source_connect_rate", old.source_connect_rate, fresh.source_connect_rate);
                values.compare("client_connect_rate", old.client_connect_rate, fresh.client_connect_rate);
                values.compare("hold_off", old.hold_off, fresh.hold_off);
                values.compare("proxy_from", old.proxy_from, fresh.proxy_from);
                if (!(old.tls == fresh.tls)) lines.push_back(prefix + "tls: other terms for new clients");
            });
    compare_rules(before.rules, after.rules, lines);
    by_name(before.pools, after.pools, "pool ", lines,
            [&](const config::Pool& old, const config::Pool& fresh, const std::string& prefix) {
                Lines values(lines, prefix);
                values.compare("strategy", old.strategy, fresh.strategy);
                values.compare("unknown_clients", old.unknown, fresh.unknown);
                values.compare("key", old.key, fresh.key);
                values.compare("stick_minimum", old.stick_minimum, fresh.stick_minimum);
                values.compare("stick_maximum", old.stick_maximum, fresh.stick_maximum);
                values.compare("stick_capacity", std::uint64_t{old.stick_capacity},
                               std::uint64_t{fresh.stick_capacity});
                values.compare("retry_down", old.retry_down, fresh.retry_down);
                values.compare("broker_attempts", std::uint64_t{old.broker_attempts},
                               std::uint64_t{fresh.broker_attempts});
                values.compare("transparent", old.transparent, fresh.transparent);
                const auto protocol = [](const config::Pool& pool) {
                    return std::string(pool.websocket ? "ws" : "mqtt");
                };
                values.compare("protocol", protocol(old), protocol(fresh));
                values.compare("path", old.path, fresh.path);
                values.compare("host", old.host, fresh.host);
                values.compare("proxy_protocol", std::string(old.proxy_protocol ? "v2" : "none"),
                               std::string(fresh.proxy_protocol ? "v2" : "none"));
                values.compare("max_connections", std::uint64_t{old.max_connections},
                               std::uint64_t{fresh.max_connections});
                compare_health(old.health, fresh.health, Lines(lines, prefix + "health."));
                values.compare("brokers_from", old.brokers_from, fresh.brokers_from);
                by_name(old.hosts, fresh.hosts, prefix + "broker ", lines,
                        [&](const config::Broker& was, const config::Broker& is, const std::string& broker) {
                            Lines of_broker(lines, broker);
                            of_broker.compare("address", was.host, is.host);
                            of_broker.compare("weight", std::uint64_t{was.weight}, std::uint64_t{is.weight});
                        });
                if (!(old.tls == fresh.tls)) lines.push_back(prefix + "tls: other terms for new connections");
                by_name(old.brokers, fresh.brokers, prefix + "broker ", lines,
                        [&](const config::Broker& was, const config::Broker& is, const std::string& broker) {
                            Lines of_broker(lines, broker);
                            of_broker.compare("address", was.address, is.address);
                            of_broker.compare("weight", std::uint64_t{was.weight}, std::uint64_t{is.weight});
                            of_broker.compare("max_connections", std::uint64_t{was.max_connections},
                                              std::uint64_t{is.max_connections});
                            of_broker.compare("rank", std::uint64_t{was.rank}, std::uint64_t{is.rank});
                        });
            });
    return difference;
}

}  // namespace limpet::daemon
