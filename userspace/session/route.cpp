// SPDX-License-Identifier: Apache-2.0
// Where a client goes, by its address and by the name that it asks for; of TLS that is passed on the name is
// all that is read.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "session/session.h"
#include "tls_hello/client_hello.h"

namespace limpet::session {
namespace {

// A record of TLS 1.2 (RFC 5246 6.2.1) with a fatal alert: "unrecognized_name" (RFC 6066 3), "decode_error".
constexpr std::array<std::uint8_t, 7> unrecognized_name{0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112};
constexpr std::array<std::uint8_t, 7> decode_error{0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 50};

std::string to_lower(std::string name) {
    for (char& letter : name)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return name;
}

bool leads(const Route& route, std::string_view server_name, const IpAddress& client) {
    const bool from =
        route.sources.empty() ||
        std::ranges::any_of(route.sources, [&](const Network& network) { return network.contains(client); });
    return from && (route.server_name.empty() || matches(route.server_name, server_name));
}

}  // namespace

Awaitable<bool> Session::read_client_hello() {
    tls_hello::ClientHelloReader reader(listener_->max_connect_size);
    for (;;) {
        const auto fresh = hear_client();
        if (!fresh) co_return false;
        const auto status = reader.read(*fresh);
        if (status == Status::complete) {
            if (const auto& name = reader.hello().server_name; !name.empty())
                handshake_->origin.authority = name;
            co_return true;
        }
        if (status == Status::invalid) {
            refuse_hello(reader.fault());
            co_return false;
        }
        if (!co_await await_client()) co_return false;
    }
}

void Session::refuse_hello(tls_hello::Fault fault) {
    if (fault != tls_hello::Fault::not_tls)
        return turn_away(LIMPET_REASON_CLOSE_CLIENT_HELLO, decode_error, tls_hello::fault_sentence(fault));
    const auto& bytes = handshake_->from_client;
    const auto header = proxy_protocol::parse_header({bytes.data(), bytes.size()});
    const bool stranger =
        !listener_->proxy_from.empty() &&
        (header.status == Status::complete || header.fault != proxy_protocol::Fault::not_proxy_protocol);
    turn_away(stranger ? LIMPET_REASON_CLOSE_PROXY_UNTRUSTED : LIMPET_REASON_CLOSE_NOT_TLS, {}, {});
}

/// False: there is nowhere to go, and the client was told.
bool Session::find_route() {
    const auto server_name = to_lower(handshake_->origin.authority.value_or(std::string()));
    for (const auto& route : listener_->routes) {
        if (!leads(route, server_name, client_address().address)) continue;
        destination_ = &route.destination;
        break;
    }
    if (!apply_rules()) return false;
    if (destination_->pool) return true;
    const auto detail =
        server_name.empty() ? "it asked for no name" : fmt::format("it asked for \"{}\"", server_name);
    if (listener_->protocol == Protocol::tls_passthrough)
        turn_away(LIMPET_REASON_CLOSE_NO_ROUTE, unrecognized_name, detail);
    else
        refuse(LIMPET_REASON_CLOSE_NO_ROUTE, mqtt::Refusal::server_unavailable,
               connection_->listener().text());
    return false;
}

}  // namespace limpet::session
