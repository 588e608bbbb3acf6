// SPDX-License-Identifier: Apache-2.0
// What only shows when values are seen together. Values that could not be read are empty here (a name) or
// have port 0 (an address) and were reported already: they take no part.
#include <algorithm>
#include <map>
#include <set>

#include "config/config.h"
#include "config/values.h"

namespace limpet::config {
namespace {

class Validator {
  public:
    Validator(const Config& config, std::vector<Problem>& problems) : config_(config), problems_(problems) {}

    void run() {
        check_daemon();
        check_dataplane();
        check_listeners();
        check_pools();
        check_rules();
        check_admin();
    }

  private:
    void report(const Position& position, std::string message) {
        Problem problem;
        problem.position = position;
        problem.message = std::move(message);
        problems_.push_back(std::move(problem));
    }

    // Of a value, or of its section where the value has none.
    static const Position& best(const Position& value, const Position& section) {
        return value.line ? value : section;
    }

    static std::string first_seen(const Position& position) {
        return position.line ? "the first one is in line " + std::to_string(position.line)
                             : "use each only once";
    }

    // Reports a value that was there before.
    template <class T>
    void unique(std::map<T, Position>& seen, const T& value, const Position& position,
                const std::string& what) {
        const auto [entry, is_new] = seen.emplace(value, position);
        if (!is_new) report(position, what + " is there twice: " + first_seen(entry->second));
    }

    void number(const std::string& name, std::int64_t value, Bounds<std::int64_t> allowed) {
        if (!allowed.contain(value))
            report({}, name + ": " + std::to_string(value) + " is out of range: it must be from " +
                           std::to_string(allowed.low) + " to " + std::to_string(allowed.high));
    }

    template <class T>
    void text(const std::string& name, const Result<T>& result) {
        if (!result) report({}, name + ": " + result.error().line());
    }

    void check_daemon() {
        const auto& daemon = config_.daemon;
        number("workers", daemon.workers, bounds::workers);
        text("socket", check_socket_path(daemon.socket));
        const auto levels = log_level_names();
        if (std::find(levels.begin(), levels.end(), daemon.log_level) == levels.end())
            report({}, "log_level: " + unknown_word(daemon.log_level, levels).line());
    }

    void check_dataplane() {
        const auto& dataplane = config_.dataplane;
        std::set<std::string> seen;
        for (const auto& name : dataplane.interfaces) {
            text("interfaces", check_interface(name));
            if (!seen.insert(name).second)
                report({}, "interfaces has " + quote(name) + " twice: leave one of them out");
        }
        text("bpffs", check_absolute_path(dataplane.bpffs));
        number("max_flows", dataplane.max_flows, bounds::max_flows);
        text("source_ports", parse_port_range(std::to_string(dataplane.first_source_port) + "-" +
                                              std::to_string(dataplane.last_source_port)));
    }

    void check_listeners() {
        if (config_.listeners.empty())
            report(
                {},
                "no [[listener]]: clients have nothing to connect to; add one with name, address and pool");
        // Where a pool has no readable name, a listener's pool may well be that one.
        const bool names_known = std::none_of(config_.pools.begin(), config_.pools.end(),
                                              [](const Pool& pool) { return pool.name.empty(); });
        std::vector<std::string_view> pools;
        for (const auto& pool : config_.pools) pools.push_back(pool.name);
        std::map<std::string, Position> names;
        for (const auto& listener : config_.listeners) {
            if (!listener.name.empty())
                unique(names, listener.name, best(listener.name_position, listener.position),
                       "listener " + quote(listener.name));
            if (listener.address.port)
                unique(listeners_, listener.address, best(listener.address_position, listener.position),
                       "listener address " + quote(listener.address.text()));
            const auto check_known = [&](const std::string& name, const Position& position) {
                const bool known = std::find(pools.begin(), pools.end(), name) != pools.end();
                if (!name.empty() && !known && names_known && !pools.empty())
                    report(position, "pool: " + unknown_word(name, pools).line());
            };
            check_known(listener.pool, best(listener.pool_position, listener.position));
            for (const auto& route : listener.routes)
                check_known(route.pool, best(route.pool_position, route.position));
            check_routes(listener);
            check_identity(listener);
            check_websocket(listener);
        }
    }

    void check_routes(const Listener& listener) {
        const bool hears_names = listener.protocol == Protocol::tls_passthrough ||
                                 speaks_tls(listener.protocol) || !listener.proxy_from.empty();
        for (const auto& route : listener.routes)
            if (!route.sni.empty() && !hears_names)
                report(
                    route.position,
                    "listener " + quote(listener.name) +
                        " hears no names: sni is for the protocols mqtts, wss and tls_passthrough, and for "
                        "listeners behind a proxy that tells it (proxy_from)");
        // A connection's pool is found again by its broker's address, after a restart too.
        const auto names = pools_of(listener);
        std::map<Endpoint, std::string> owners;
        for (const auto& pool : config_.pools) {
            if (std::find(names.begin(), names.end(), pool.name) == names.end()) continue;
            for (const auto& broker : pool.brokers) {
                if (!broker.address.port) continue;
                const auto [owner, is_new] = owners.emplace(broker.address, pool.name);
                if (!is_new && owner->second != pool.name)
                    report(best(broker.address_position, broker.position),
                           "broker address " + quote(broker.address.text()) + " is in pool " +
                               quote(owner->second) + " and in pool " + quote(pool.name) + ", and listener " +
                               quote(listener.name) + " leads to both: give it one of them");
            }
        }
    }

    void check_websocket(const Listener& listener) {
        const auto& position = listener.websocket.position;
        if (position.line && !speaks_websocket(listener.protocol))
            report(position, "[listener.websocket] of listener " + quote(listener.name) +
                                 " has no effect: its protocol is neither ws nor wss; leave it out");
        if (reads_connect(listener.protocol)) return;
        for (const auto& pool : config_.pools)
            if (pool.websocket && leads_to(listener, pool))
                report(best(listener.pool_position, listener.position),
                       "listener " + quote(listener.name) + " passes on what it does not read, and pool " +
                           quote(pool.name) +
                           " has protocol = \"ws\": make a pool without it for this listener");
    }

    void check_identity(const Listener& listener) {
        const auto& identity = listener.identity;
        if (!identity.position.line) return;
        const auto shown = "[listener.identity] of listener " + quote(listener.name);
        if (!reads_connect(listener.protocol))
            report(identity.position, shown + " has no effect: its protocol has no CONNECT; leave it out");
        if (!listener.proxy_from.empty() || speaks_tls(listener.protocol)) return;
        for (const auto* text :
             {&identity.username, &identity.password, &identity.client_id, &identity.require_client_id})
            for (const auto* name : {"cn", "sni"})
                if (*text && (*text)->names(name))
                    report(identity.position,
                           shown + " says {" + name +
                               "}, of which it hears nothing: that is for listeners behind "
                               "a proxy that tells it (proxy_from)");
    }

    static bool leads_to(const Listener& listener, const Pool& pool) {
        const auto names = pools_of(listener);
        return std::find(names.begin(), names.end(), pool.name) != names.end();
    }

    void check_rules() {
        constexpr std::size_t most_rules = 10'000;
        if (config_.rules.size() > most_rules)
            report(config_.rules[most_rules].position, "there are more than 10000 rules: put some together");
        std::vector<std::string_view> pools;
        std::vector<std::string_view> listeners;
        for (const auto& pool : config_.pools) pools.push_back(pool.name);
        for (const auto& listener : config_.listeners) listeners.push_back(listener.name);
        std::map<std::string, Position> names;
        for (const auto& rule : config_.rules) {
            unique(names, rule.name, rule.position, "rule " + quote(rule.name));
            if (!rule.pool.empty() && std::find(pools.begin(), pools.end(), rule.pool) == pools.end())
                report(best(rule.pool_position, rule.position),
                       "pool: " + unknown_word(rule.pool, pools).line());
            for (const auto& name : rule.listeners) check_listener_of(rule, name, listeners);
        }
    }

    void check_listener_of(const Rule& rule, const std::string& name,
                           const std::vector<std::string_view>& known) {
        const auto& position = best(rule.listener_position, rule.position);
        const auto found = std::find_if(config_.listeners.begin(), config_.listeners.end(),
                                        [&](const Listener& listener) { return listener.name == name; });
        if (found == config_.listeners.end())
            report(position, "listener: " + unknown_word(name, known).line());
        else if (!reads_connect(found->protocol))
            report(position,
                   "listener: " + quote(name) + " reads no CONNECT, so no rule can be for it: leave it out");
    }

    void check_pools() {
        if (config_.pools.empty())
            report(
                {},
                "no [[pool]]: clients have nowhere to go; add one with a name and [[pool.broker]] sections");
        std::map<std::string, Position> names;
        for (const auto& pool : config_.pools) {
            if (!pool.name.empty())
                unique(names, pool.name, best(pool.name_position, pool.position), "pool " + quote(pool.name));
            if (pool.stick_minimum > pool.stick_maximum)
                report(pool.position, "stick_minimum is above stick_maximum (" +
                                          duration_text(pool.stick_minimum) + ", " +
                                          duration_text(pool.stick_maximum) + "): change one of them");
            check_brokers(pool);
            if (pool.tls.present && pool.health.probe != Probe::tcp && pool.health.port == 0)
                report(
                    best(pool.tls.position, pool.position),
                    "the health checks of a pool with tls are probe = \"tcp\": the others speak no TLS; or "
                    "name a port without it ([pool.health] port)");
            if (pool.websocket && pool.health.probe == Probe::mqtt && pool.health.port == 0)
                report(
                    pool.position,
                    "the health checks of a pool with protocol = \"ws\" are probe = \"tcp\" or \"http\": "
                    "probe = \"mqtt\" speaks no WebSocket; or name a port without it ([pool.health] port)");
            if (pool.transparent) {
                check_families(pool);
                check_no_proxies(pool);
            }
        }
    }

    // A client's own address can only be the source towards a broker of the same IP version.
    void check_families(const Pool& pool) {
        for (const auto& listener : config_.listeners) {
            if (!leads_to(listener, pool) || !listener.address.port) continue;
            for (const auto& broker : pool.brokers)
                if (broker.address.port && broker.address.address.family != listener.address.address.family)
                    report(best(broker.address_position, broker.position),
                           "broker address " + quote(broker.address.text()) + " of the transparent pool " +
                               quote(pool.name) + " is not of the IP version of listener " +
                               quote(listener.name) + ": make a pool for each IP version");
        }
    }

    // The addresses of packets are the proxy's.
    void check_no_proxies(const Pool& pool) {
        for (const auto& listener : config_.listeners)
            if (leads_to(listener, pool) && !listener.proxy_from.empty())
                report(listener.position, "listener " + quote(listener.name) +
                                              " has proxy_from, and its pool " + quote(pool.name) +
                                              " is transparent: brokers would see the proxies; tell them of "
                                              "the clients with proxy_protocol = \"v2\" instead");
    }

    void check_brokers(const Pool& pool) {
        const auto shown = pool.name.empty() ? std::string("this pool") : "pool " + quote(pool.name);
        if (pool.brokers.empty() && pool.hosts.empty() && pool.brokers_from.empty()) {
            report(pool.position, shown + " has no brokers: add a [[pool.broker]] with name and address");
            return;
        }
        constexpr std::size_t most_brokers = 10'000;
        if (pool.brokers.size() > most_brokers)
            report(pool.position, shown + " has more than 10000 brokers: make two pools of it");
        std::map<std::string, Position> names;
        std::map<Endpoint, Position> addresses;
        const auto name_once = [&](const Broker& broker) {
            if (!broker.name.empty())
                unique(names, broker.name, best(broker.name_position, broker.position),
                       "broker " + quote(broker.name) + " of " + shown);
        };
        for (const auto& broker : pool.hosts) name_once(broker);
        for (const auto& broker : pool.brokers) {
            // What discovery has found may carry the name of its source.
            if (broker.origin.empty()) name_once(broker);
            if (!broker.address.port || !broker.origin.empty()) continue;
            const auto& position = best(broker.address_position, broker.position);
            unique(addresses, broker.address, position,
                   "broker address " + quote(broker.address.text()) + " of " + shown);
            if (listeners_.contains(broker.address))
                report(position,
                       "broker address " + quote(broker.address.text()) +
                           " is a listener of this configuration: connections would run in a circle");
        }
    }

    void check_admin() {
        if (config_.admin.http.empty()) return;
        const auto endpoint = parse_admin_address(config_.admin.http);
        if (!endpoint) {
            report({}, "http: " + endpoint.error().line());
            return;
        }
        if (const auto taken = listeners_.find(*endpoint); taken != listeners_.end())
            report(taken->second, "listener address " + quote(endpoint->text()) +
                                      " is the address of [admin] http too: give one of them another port");
    }

    const Config& config_;
    std::vector<Problem>& problems_;
    std::map<Endpoint, Position> listeners_;
};

}  // namespace

void validate(const Config& config, std::vector<Problem>& problems) {
    Validator(config, problems).run();
}

}  // namespace limpet::config
