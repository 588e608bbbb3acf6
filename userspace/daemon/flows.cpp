// SPDX-License-Identifier: Apache-2.0
// Spliced connections as people ask for them: filters, the list, the count, the end.
#include <chrono>
#include <optional>
#include <unordered_map>

#include "daemon/runtime.h"
#include "spdlog/spdlog.h"

namespace limpet::daemon {
namespace {

using admin::FlowQuery;
using admin::Json;

/// Names of brokers by address, looked up once per pool and walk.
class BrokerNames {
  public:
    std::string name(const PoolPointer& pool, const Endpoint& address) {
        if (!pool) return {};
        auto [entry, fresh] = names_.try_emplace(pool.get());
        if (fresh)
            for (const auto& broker : pool->brokers())
                entry->second.emplace(broker.spec.address, broker.spec.name);
        const auto found = entry->second.find(address);
        return found == entry->second.end() ? std::string() : found->second;
    }

  private:
    std::unordered_map<const balancer::Pool*, std::unordered_map<Endpoint, std::string>> names_;
};

/// Entries hold the beginning of long ids; then the hash decides, where the pool's key is the client id.
bool is_client(const dataplane::FlowView& flow, const PoolPointer& pool, const std::string& wanted) {
    if (flow.id_length != wanted.size() || !wanted.starts_with(flow.client_id)) return false;
    if (flow.client_id.size() == wanted.size()) return true;
    if (!pool) return false;
    balancer::Client client;
    client.client_id = wanted;
    const auto key = pool->key_text(client);
    return key != wanted || flow.client_hash == pool->hash_key(key);
}

double seconds(std::chrono::milliseconds time) {
    return std::chrono::duration<double>(time).count();
}

/// Without the broken character at the end of an id that was cut.
std::string shown_id(const dataplane::FlowView& flow) {
    if (flow.client_id.size() >= flow.id_length) return flow.client_id;
    auto end = flow.client_id.size();
    while (end > 0 && (static_cast<unsigned char>(flow.client_id[end - 1]) & 0xc0) == 0x80) --end;
    if (end > 0 && static_cast<unsigned char>(flow.client_id[end - 1]) >= 0xc0) --end;
    return flow.client_id.substr(0, end) + "…";
}

}  // namespace

std::size_t Runtime::walk_flows(const FlowQuery& query, const FlowVisitor& visit) const {
    BrokerNames names;
    std::size_t found = 0;
    dataplane_->for_each_flow([&](const dataplane::FlowView& flow) {
        const auto owner = pools_->of_flow(flow.listener, flow.broker, flow.client_hash);
        const auto pool = owner ? owner->first : nullptr;
        if (query.client_id && !is_client(flow, pool, *query.client_id)) return true;
        const auto broker = names.name(pool, flow.broker);
        if (query.broker && *query.broker != broker && *query.broker != flow.broker.text()) return true;
        visit(flow, broker);
        ++found;
        return query.limit == 0 || found < query.limit;
    });
    return found;
}

Result<Json> Runtime::flows(const FlowQuery& query) {
    auto list = Json::array();
    walk_flows(query, [&](const dataplane::FlowView& flow, const std::string& broker) {
        list.push_back({{"client_id", shown_id(flow)},
                        {"client_id_length", flow.id_length},
                        {"client", flow.client.text()},
                        {"listener", flow.listener.text()},
                        {"source", flow.source.text()},
                        {"broker", flow.broker.text()},
                        {"broker_name", broker},
                        {"state", flow.state},
                        {"age_seconds", seconds(flow.age)},
                        {"idle_seconds", seconds(flow.idle)},
                        {"bytes_from_client", flow.bytes_from_client},
                        {"bytes_from_broker", flow.bytes_from_broker},
                        {"packets_from_client", flow.packets_from_client},
                        {"packets_from_broker", flow.packets_from_broker}});
    });
    return list;
}

Result<Json> Runtime::flows_count(const FlowQuery& query) {
    if (!query.client_id && !query.broker && query.limit == 0)
        return Json{{"count", dataplane_->flow_count()}};
    return Json{{"count", walk_flows(query, [](const auto&, const auto&) {})}};
}

Result<Json> Runtime::flows_kill(const FlowQuery& query) {
    std::vector<std::pair<Endpoint, Endpoint>> meant;
    walk_flows(query, [&](const dataplane::FlowView& flow, const std::string&) {
        meant.emplace_back(flow.client, flow.listener);
    });
    std::size_t killed = 0;
    for (const auto& [client, listener] : meant)
        if (dataplane_->kill_flow(client, listener)) ++killed;
    if (killed > 0) spdlog::info("{} flows were ended by the operator", killed);
    return Json{{"killed", killed}};
}

}  // namespace limpet::daemon
