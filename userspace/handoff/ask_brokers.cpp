// SPDX-License-Identifier: Apache-2.0
#include "handoff/ask_brokers.h"

#include <poll.h>
#include <sys/socket.h>

#include <vector>

#include "dataplane/state.h"
#include "handoff/leg_facts.h"
#include "handoff/tcp_socket.h"

namespace limpet::handoff {
namespace {

using Clock = std::chrono::steady_clock;
using dataplane::FlowKey;

/// One handshake on its way; its port is given back some time after it, by the janitor.
struct Question {
    Endpoint broker;
    Endpoint source;
    Fd socket;
};

Result<IpAddress> source_towards(dataplane::Dataplane::State& plane, const Endpoint& broker) {
    for (const auto& address : plane.options.source_addresses)
        if (address.family == broker.address.family) return address;
    auto route = plane.host.route(broker.address);
    if (!route) return std::unexpected(route.error());
    return route->source;
}

std::optional<Question> begin(dataplane::Dataplane::State& plane, const Endpoint& broker) {
    const auto source = source_towards(plane, broker);
    if (!source) return std::nullopt;
    const auto port = plane.ports.take(*source, broker);
    if (!port) return std::nullopt;
    Question question{broker, {*source, *port}, Fd{}};
    sockaddr_storage storage;
    const auto length = broker.to_sockaddr(storage);
    auto socket = make_broker_socket(question.source, 0);
    if (socket && (::connect(socket->get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0 ||
                   errno == EINPROGRESS)) {
        question.socket = std::move(*socket);
        return question;
    }
    plane.ports.give_back(*source, broker, *port);
    return std::nullopt;
}

/// Writable and without an error is established.
void finish(dataplane::Dataplane::State& plane, Question& question) {
    if (const auto info = read_socket(question.socket.get()); info && info->established)
        plane.offers.learn(question.broker, {missing_options(info->options), info->options.peer_segment},
                           all_options);
    question.socket = Fd{};
    plane.kernel->janitor->remove_later(FlowKey::make(question.broker, question.source), ~0U, true);
}

}  // namespace

void ask_brokers(dataplane::Dataplane& dataplane, std::span<const Endpoint> brokers,
                 std::chrono::milliseconds patience) {
    auto& plane = dataplane.state();
    if (!plane.kernel) return;
    std::vector<Question> open;
    for (const auto& broker : brokers)
        if (auto question = begin(plane, broker)) open.push_back(std::move(*question));
    const auto deadline = Clock::now() + patience;
    while (!open.empty()) {
        std::vector<pollfd> waits;
        for (const auto& question : open) waits.push_back({question.socket.get(), POLLOUT, 0});
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0 || ::poll(waits.data(), waits.size(), static_cast<int>(left.count())) <= 0)
            break;
        for (std::size_t at = waits.size(); at-- > 0;) {
            if (waits[at].revents == 0) continue;
            finish(plane, open[at]);
            open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
        }
    }
    for (auto& question : open) finish(plane, question);
}

}  // namespace limpet::handoff
