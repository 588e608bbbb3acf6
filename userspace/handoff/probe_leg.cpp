// SPDX-License-Identifier: Apache-2.0
#include "handoff/probe_leg.h"

#include <algorithm>

#include "dataplane/state.h"
#include "handoff/tcp_socket.h"

namespace limpet::handoff {
namespace {

// Ports tried when another program has one.
constexpr int probe_port_tries = 16;

std::vector<IpAddress> sources_towards(dataplane::Dataplane::State& plane, const IpAddress& broker) {
    std::vector<IpAddress> sources;
    std::ranges::copy_if(plane.options.source_addresses, std::back_inserter(sources),
                         [&](const IpAddress& address) { return address.family == broker.family; });
    return sources;
}

}  // namespace

Result<ProbeLeg> ProbeLeg::open(dataplane::Dataplane& dataplane, const Endpoint& broker) {
    auto& plane = dataplane.state();
    auto sources = sources_towards(plane, broker.address);
    if (!plane.kernel) {
        const IpAddress any{broker.address.family, {}};
        auto socket = make_broker_socket({sources.empty() ? any : sources.front(), 0}, 0);
        if (!socket) return std::unexpected(socket.error());
        return ProbeLeg(nullptr, broker, {}, std::move(*socket));
    }
    if (sources.empty()) {
        const auto route = plane.host.route(broker.address);
        if (!route) return std::unexpected(route.error());
        sources.push_back(route->source);
    }
    for (const auto& address : sources) {
        for (int attempt = 0; attempt < probe_port_tries; ++attempt) {
            const auto port = plane.ports.take(address, broker);
            if (!port) break;
            const Endpoint source{address, *port};
            auto socket = make_broker_socket(source, 0);
            if (socket) return ProbeLeg(&dataplane, broker, source, std::move(*socket));
            plane.ports.give_back(address, broker, *port);
            if (socket.error().number != EADDRINUSE) return std::unexpected(socket.error());
        }
    }
    return fail("no source port towards " + broker.text() + " is free",
                "add dataplane.source_addresses, or widen source_ports");
}

ProbeLeg::~ProbeLeg() {
    socket_.reset();
    if (dataplane_) dataplane_->state().ports.give_back(source_.address, broker_, source_.port);
}

}  // namespace limpet::handoff
