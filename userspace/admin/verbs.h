// SPDX-License-Identifier: Apache-2.0
// What people and scripts may ask of a running daemon: the one list of verbs behind the control socket, the
// HTTP API and so the command line. The daemon implements it; admin only carries it.
#pragma once

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
    /// {"changed":[…lines…]}; a bad file changes nothing and every problem stands in the error, a line each.
    virtual Result<Json> reload() = 0;
    /// {"events":[{"time","client","client_id","event","broker","detail"}],"next":N,"lost":N}; `next` is what
    /// to ask from the next time, at least every few seconds, `lost` the events that did not wait that long.
    virtual Result<Json> trace(const TraceQuery& query) = 0;
    /// Prometheus text exposition.
    virtual std::string metrics() = 0;
};

}  // namespace limpet::admin
