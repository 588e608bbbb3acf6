// SPDX-License-Identifier: Apache-2.0
// What people and scripts may ask of a running daemon: the one list of verbs behind the control socket, the
// HTTP API and so the command line. The daemon implements it; admin only carries it.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace limpet::admin {

using Json = nlohmann::json;

/// Filters of `limpet flows`.
struct FlowQuery {
    std::optional<std::string> client_id;
    std::optional<std::string> broker;
    std::size_t limit = 0;  ///< 0: all
};

/// Whose events `limpet trace` shows, and from which on; 0: those that happen from now on.
struct TraceQuery {
    std::optional<std::string> client_id;
    std::optional<std::string> source;  ///< an IP address
    std::uint64_t from = 0;
};

/// A broker by its name, and its pool where several have one of that name.
struct BrokerName {
    std::string broker;
    std::optional<std::string> pool;
};

struct NewBroker {
    BrokerName name;
    std::string address;  ///< as in the configuration
    std::optional<std::uint64_t> weight;
    std::optional<std::uint64_t> max_connections;
};

/// How fast connections are ended. Nothing of it: as the daemon thinks best.
struct Pace {
    std::optional<double> per_second;              ///< connections; 0: none is ended
    std::optional<std::chrono::seconds> deadline;  ///< all of them are ended by then
};

struct Rebalance {
    std::optional<std::string> pool;  ///< nothing: all pools
    std::optional<double> tolerance;  ///< above the fair share, as a part of it: 0.05
    Pace pace;
};

struct StickQuery {
    std::optional<std::string> pool;
    std::optional<std::string> broker;
    std::size_t limit = 0;  ///< 0: all
};
struct StickOrder {
    std::string client_id;
    std::string broker;
    std::optional<std::string> pool;
    std::optional<std::chrono::seconds> ttl;  ///< nothing: as long as the pool remembers anybody
};
/// What is forgotten: one client, those of a broker, or all; who is connected only where it is named.
struct StickClearance {
    std::optional<std::string> client_id;
    std::optional<std::string> broker;
    std::optional<std::string> pool;
};

/// Called from the admin thread; implementations do their own locking. The JSON is what `--json` prints.
class Verbs {
  public:
    virtual ~Verbs() = default;
    /// True once every listener accepts and the data path stands (GET /readyz).
    [[nodiscard]] virtual bool ready() const = 0;
    virtual Result<Json> status() = 0;
    /// [{"pool","name","address","state","weight","connections","chosen","failures"}]
    virtual Result<Json> brokers() = 0;
    /// [{"client_id","client","listener","source","broker","broker_name","state","age_seconds","idle_seconds",
    ///   "bytes_from_client","bytes_from_broker","packets_from_client","packets_from_broker"}]
    virtual Result<Json> flows(const FlowQuery& query) = 0;
    virtual Result<Json> flows_count(const FlowQuery& query) = 0;  ///< {"count":N}
    virtual Result<Json> flows_kill(const FlowQuery& query) = 0;   ///< {"killed":N}
    /// {"client_id","pool","broker","address","why","connected":bool}
    virtual Result<Json> lookup(const std::string& client_id, const std::optional<std::string>& pool) = 0;
    // Changing brokers while clients are connected. Each is refused whole where it makes no sense, with an
    // errno in the error: ENOENT (no such thing), EEXIST or EBUSY (in the way of what is there), EINVAL.
    /// {"pool","broker","changed":[…lines…]} each.
    virtual Result<Json> brokers_add(const NewBroker& broker) = 0;
    virtual Result<Json> brokers_remove(const BrokerName& name) = 0;
    virtual Result<Json> brokers_enable(const BrokerName& name) = 0;
    virtual Result<Json> brokers_weight(const BrokerName& name, std::uint64_t weight) = 0;
    virtual Result<Json> brokers_maxconn(const BrokerName& name, std::uint64_t most) = 0;
    /// No new clients, and those that are there are ended at a pace, in the background. Answers the move:
    /// {"id","kind","pool","broker","state","total","ended","left","per_second","elapsed_seconds",
    ///  "eta_seconds"}.
    virtual Result<Json> brokers_drain(const BrokerName& name, const Pace& pace) = 0;
    /// A list of moves, one for each pool that has a surplus somewhere.
    virtual Result<Json> brokers_rebalance(const Rebalance& order) = 0;
    /// Stops a drain or (without a broker) rebalancing; a drained broker takes clients again.
    virtual Result<Json> brokers_cancel(const std::optional<std::string>& broker,
                                        const std::optional<std::string>& pool) = 0;
    /// The moves that are under way and the last ones that were.
    virtual Result<Json> brokers_moves() = 0;

    // What sticky pools remember.
    /// [{"pool","key","broker","connected","lifetime_seconds","expires_in_seconds","client_id"?}]
    virtual Result<Json> stick_list(const StickQuery& query) = 0;
    /// One of the list; ENOENT where nothing is remembered.
    virtual Result<Json> stick_show(const std::string& client_id, const std::optional<std::string>& pool) = 0;
    virtual Result<Json> stick_set(const StickOrder& order) = 0;
    virtual Result<Json> stick_clear(const StickClearance& order) = 0;  ///< {"cleared":N}

    /// {"changed":[…lines…]}; a bad file changes nothing and every problem stands in the error, a line each.
    virtual Result<Json> reload() = 0;
    /// {"events":[{"time","client","client_id","event","broker","detail"}],"next":N,"lost":N}; `next` is what
    /// to ask from the next time, at least every few seconds, `lost` the events that did not wait that long.
    virtual Result<Json> trace(const TraceQuery& query) = 0;
    /// Prometheus text exposition.
    virtual std::string metrics() = 0;
};

}  // namespace limpet::admin
