// SPDX-License-Identifier: Apache-2.0
// What happens to chosen clients, as people ask for it: `limpet trace`.
#include "session/trace.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "daemon/runtime.h"

namespace limpet::daemon {
namespace {

using admin::Json;

// Spliced connections whose clients are looked up when somebody begins to watch.
constexpr std::size_t most_known = 10'000;

/// ISO 8601 in UTC, with milliseconds.
std::string time_text(std::chrono::system_clock::time_point at) {
    const auto milliseconds =
        std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count() % 1000;
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(at)),
                       milliseconds);
}

Json event_json(const session::Trace::Event& event) {
    return Json{{"time", time_text(event.at)},  {"client", event.client.text()},
                {"client_id", event.client_id}, {"event", event.what},
                {"broker", event.broker},       {"detail", event.detail}};
}

}  // namespace

Result<Json> Runtime::trace(const admin::TraceQuery& query) {
    session::Trace::Filter filter;
    filter.client_id = query.client_id;
    if (query.source) {
        const auto address = IpAddress::parse(*query.source);
        if (!address) return std::unexpected(address.error());
        filter.source = *address;
    }
    const auto answer = trace_->ask(filter, query.from, std::chrono::steady_clock::now());
    // Connections that left for the kernel before anybody watched: their end shall have a name.
    if (query.from == 0 && query.client_id)
        walk_flows({.client_id = query.client_id, .broker = std::nullopt, .limit = most_known},
                   [&](const dataplane::FlowView& flow, const std::string&) {
                       trace_->know(flow.client, *query.client_id);
                   });
    Json events = Json::array();
    for (const auto& event : answer.events) events.push_back(event_json(event));
    return Json{{"events", std::move(events)}, {"next", answer.next}, {"lost", answer.lost}};
}

}  // namespace limpet::daemon
