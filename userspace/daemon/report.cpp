// SPDX-License-Identifier: Apache-2.0
// What the daemon tells of itself: status, brokers, lookup, metrics.
#include <chrono>

#include "base/reason.h"
#include "daemon/exposition.h"
#include "daemon/mapping.h"
#include "daemon/runtime.h"

#include <unistd.h>

namespace limpet::daemon {
namespace {

using admin::Json;

Json broker_json(const balancer::Pool& pool, const balancer::BrokerView& broker) {
    return {{"name", broker.spec.name},
            {"address", broker.spec.address.text()},
            {"pool", pool.name()},
            {"state", balancer::broker_state_name(broker.state)},
            {"weight", broker.spec.weight},
            {"connections", broker.connections},
            {"chosen", broker.chosen},
            {"failures", broker.failures},
            {"max_connections", broker.spec.max_connections},
            {"healthy", !broker.unhealthy},
            {"share_percent", broker.percent},
            {"last_error", broker.last_error}};
}

Json certificates_json(const tls::Server& server) {
    auto list = Json::array();
    const auto now = std::chrono::system_clock::now();
    for (const auto& credentials : server.settings().credentials) {
        const auto facts = tls::facts_of(credentials->chain->leaf());
        list.push_back({{"file", credentials->chain->path},
                        {"common_name", facts.common_name},
                        {"names", facts.names},
                        {"kind", facts.kind},
                        {"fingerprint", facts.fingerprint},
                        {"expires", date_text(facts.not_after)},
                        {"days_left", std::chrono::floor<std::chrono::days>(facts.not_after - now).count()}});
    }
    return list;
}

Json interface_json(const dataplane::InterfaceView& interface) {
    return {{"name", interface.name},
            {"mode", dataplane::mode_name(interface.mode)},
            {"dispatcher", interface.dispatcher},
            {"redirect", interface.redirect},
            {"note", interface.note}};
}

/// Towards every broker: how many ports of each source address are in use, the grace of ended ones included.
Json source_ports_json(const dataplane::Dataplane& dataplane) {
    auto list = Json::array();
    for (const auto& usage : dataplane.source_ports())
        list.push_back({{"source", usage.source.text()},
                        {"broker", usage.broker.text()},
                        {"in_use", usage.in_use},
                        {"limit", usage.limit}});
    return list;
}

}  // namespace

Result<Json> Runtime::status() {
    auto interfaces = Json::array();
    for (const auto& interface : dataplane_->interfaces()) interfaces.push_back(interface_json(interface));
    auto broker_list = brokers();
    if (!broker_list) return broker_list;
    const auto counts = workers_->counts();
    const auto hold = dataplane_->hold_times();
    const auto uptime = std::chrono::steady_clock::now() - started_;
    const std::lock_guard lock(mutex_);
    return Json{{"version", LIMPET_VERSION},
                {"pid", getpid()},
                {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
                {"mode", dataplane::mode_name(dataplane_->mode())},
                {"note", dataplane_->note()},
                {"interfaces", std::move(interfaces)},
                {"listeners", listeners_json()},
                {"brokers", std::move(*broker_list)},
                {"connections",
                 {{"spliced", dataplane_->flow_count()},
                  {"relayed", counts.relayed},
                  {"tls", counts.tls},
                  {"pending", counts.pending}}},
                {"rates",
                 {{"accepted_per_second", accept_rate_.per_second()},
                  {"spliced_per_second", splice_rate_.per_second()}}},
                {"hold_microseconds",
                 {{"count", hold.count}, {"p50", hold.p50}, {"p99", hold.p99}, {"p999", hold.p999}}},
                {"source_ports", source_ports_json(*dataplane_)},
                {"reasons", reasons_json()}};
}

Json Runtime::listeners_json() const {
    auto listeners = Json::array();
    for (const auto& listener : config_.listeners) {
        const auto counter = accepted_.find(listener.name);
        listeners.push_back({{"name", listener.name},
                             {"address", listener.address.text()},
                             {"protocol", protocol_name(listener.protocol)},
                             {"pool", listener.pool},
                             {"pools", config::pools_of(listener)},
                             {"accepted", counter == accepted_.end() ? 0 : counter->second->load()}});
        if (const auto server = tls_.server(listener.name))
            listeners.back()["certificates"] = certificates_json(*server);
    }
    return listeners;
}

Json Runtime::reasons_json() const {
    auto reasons = Json::object();
    const auto counters = dataplane_->counters();
    for (std::size_t index = 0; index < counters.size(); ++index)
        if (counters[index] != 0)
            reasons[std::string(reason_name(static_cast<Reason>(index)))] = counters[index];
    return reasons;
}

Result<Json> Runtime::brokers() {
    auto list = Json::array();
    for (const auto& pool : pools_->all())
        for (const auto& broker : pool->brokers()) list.push_back(broker_json(*pool, broker));
    return list;
}

Result<Json> Runtime::lookup(const std::string& client_id, const std::optional<std::string>& pool_name) {
    std::string name;
    {
        const std::lock_guard lock(mutex_);
        if (pool_name)
            name = *pool_name;
        else if (!config_.listeners.empty())
            name = config::pools_of(config_.listeners.front()).front();
        else if (!config_.pools.empty())
            name = config_.pools.front().name;
    }
    const auto pool = pools_->find(name);
    if (!pool) return fail("there is no pool \"" + name + "\"", "limpet brokers lists those that exist");
    // What is looked up stands for whatever the pool's key is.
    balancer::Client client;
    client.client_id = client_id;
    client.username = client_id;
    client.certificate_cn = client_id;
    client.server_name = client_id;
    if (const auto address = IpAddress::parse(client_id)) client.source = *address;
    const auto choice = pool->lookup(client);
    if (!choice)
        return fail("pool " + name + " has no broker for this client", "limpet brokers shows their states");
    return Json{{"client_id", client_id},
                {"pool", name},
                {"broker", choice->name},
                {"address", choice->address.text()},
                {"why", balancer::why_name(choice->why)},
                {"connected", pool->connected(pool->hash_key(pool->key_text(client)))}};
}

std::string Runtime::metrics() {
    Exposition text;
    text.family("limpet_build_info", "gauge", "Version of the daemon.");
    text.sample({{"version", LIMPET_VERSION}}, 1);
    text.family("process_start_time_seconds", "gauge", "Start time since the Unix epoch in seconds.");
    const std::chrono::duration<double> start = started_at_.time_since_epoch();
    text.sample({}, start.count());
    const auto counts = workers_->counts();
    text.family("limpet_connections", "gauge", "Client connections now, by who forwards them.");
    text.sample({{"kind", "spliced"}}, static_cast<double>(dataplane_->flow_count()));
    text.sample({{"kind", "relayed"}}, static_cast<double>(counts.relayed));
    text.sample({{"kind", "tls"}}, static_cast<double>(counts.tls));
    text.sample({{"kind", "pending"}}, static_cast<double>(counts.pending));
    text.family("limpet_accepted_total", "counter", "Connections accepted.");
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [listener, counter] : accepted_)
            text.sample({{"listener", listener}}, static_cast<double>(counter->load()));
    }
    text.family("limpet_tls_certificate_expiry_timestamp_seconds", "gauge",
                "Until when a certificate is good, seconds since the Unix epoch.");
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [listener, server] : tls_.servers)
            for (const auto& credentials : server->settings().credentials) {
                const auto facts = tls::facts_of(credentials->chain->leaf());
                const std::chrono::duration<double> until = facts.not_after.time_since_epoch();
                text.sample({{"listener", listener},
                             {"file", credentials->chain->path},
                             {"common_name", facts.common_name}},
                            until.count());
            }
    }
    text.family("limpet_spliced_total", "counter", "Connections handed to the data path.");
    text.sample({}, static_cast<double>(counts.spliced));
    struct Column {
        const char* name;
        const char* type;
        const char* help;
        double (*value)(const balancer::BrokerView&);
    };
    static constexpr Column columns[] = {
        {"limpet_broker_connections", "gauge", "Connections of a broker now.",
         [](const balancer::BrokerView& broker) { return static_cast<double>(broker.connections); }},
        {"limpet_broker_up", "gauge", "1 while a broker takes new clients.",
         [](const balancer::BrokerView& broker) {
             return broker.state == balancer::BrokerState::up ? 1.0 : 0.0;
         }},
        {"limpet_broker_healthy", "gauge", "0 while health checks say that a broker is down.",
         [](const balancer::BrokerView& broker) { return broker.unhealthy ? 0.0 : 1.0; }},
        {"limpet_broker_chosen_total", "counter", "How often a broker was chosen.",
         [](const balancer::BrokerView& broker) { return static_cast<double>(broker.chosen); }},
        {"limpet_broker_failures_total", "counter", "Connects that failed and CONNACKs that did not come.",
         [](const balancer::BrokerView& broker) { return static_cast<double>(broker.failures); }}};
    for (const auto& column : columns) {
        text.family(column.name, column.type, column.help);
        for (const auto& pool : pools_->all()) {
            const auto pool_name = pool->name();
            for (const auto& broker : pool->brokers())
                text.sample({{"pool", pool_name}, {"broker", broker.spec.name}}, column.value(broker));
        }
    }
    const auto hold = dataplane_->hold_times();
    text.family("limpet_hold_microseconds", "gauge", "Time in HOLD of handoffs, quantiles since the start.");
    text.sample({{"quantile", "0.5"}}, hold.p50);
    text.sample({{"quantile", "0.99"}}, hold.p99);
    text.sample({{"quantile", "0.999"}}, hold.p999);
    text.family("limpet_source_ports_in_use", "gauge", "Source ports in use towards a broker.");
    for (const auto& usage : dataplane_->source_ports())
        text.sample({{"source", usage.source.text()}, {"broker", usage.broker.text()}},
                    static_cast<double>(usage.in_use));
    text.family("limpet_reason_total", "counter", "Events by the reason's published name.");
    const auto counters = dataplane_->counters();
    for (std::size_t index = 1; index < counters.size(); ++index)
        text.sample({{"reason", reason_name(static_cast<Reason>(index))}},
                    static_cast<double>(counters[index]));
    return text.take();
}

}  // namespace limpet::daemon
