// SPDX-License-Identifier: Apache-2.0
// What a listener promises its clients, and the sockets that it listens on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "balancer/balancer.h"
#include "base/endpoint.h"
#include "base/fd.h"
#include "base/network.h"
#include "base/result.h"
#include "mqtt/packet.h"
#include "session/connect_limits.h"
#include "session/identity.h"
#include "session/rules.h"
#include "tls/client.h"
#include "tls/server.h"
#include "websocket/handshake.h"

namespace limpet::session {

enum class Protocol { mqtt, ws, tcp, tls_passthrough };
/// Whether CONNECT is read.
[[nodiscard]] constexpr bool speaks_mqtt(Protocol protocol) {
    return protocol == Protocol::mqtt || protocol == Protocol::ws;
}

/// How brokers are asked for a WebSocket.
struct BrokerWebSocket {
    std::string path = "/mqtt";
    std::string host;  ///< empty: the broker's address
};

/// Where clients go, and how the brokers there are spoken to.
struct Destination {
    std::shared_ptr<balancer::Pool> pool;
    bool transparent = false;                       ///< brokers hear the client's own address and port
    bool proxy_header = false;                      ///< brokers are told of the client in a PROXY v2 header
    unsigned broker_attempts = 16;                  ///< brokers that are tried for one CONNECT
    std::shared_ptr<const tls::Client> tls{};       ///< brokers speak TLS; empty: they do not
    std::optional<BrokerWebSocket> websocket = {};  ///< nothing: they speak plain MQTT
};

/// Leads some of a listener's clients elsewhere.
struct Route {
    std::string server_name;       ///< SNI in lower case; "*.example.org": any one label; empty: any client
    std::vector<Network> sources;  ///< the client's address is in one of them; empty: any
    Destination destination;
};

/// Decides on clients by their CONNECT.
struct Rule {
    std::string name;
    Conditions conditions;
    std::optional<mqtt::Refusal> refusal;  ///< of those that it denies
    Destination destination;               ///< of the others; without a pool: where they go anyway
};

/// Whether a name that was asked for is the one of a route (RFC 6125 6.4.3: a star is one label).
[[nodiscard]] bool matches(std::string_view route, std::string_view server_name);

/// A listener as sessions see it. Never changed: a reload replaces it, and sessions that began under the old
/// one end under it.
struct Listener {
    std::string name;
    Endpoint address;
    Protocol protocol = Protocol::mqtt;
    std::chrono::milliseconds connect_timeout{10000};  ///< from accept to a complete CONNECT
    std::chrono::milliseconds connack_timeout{
        10000};                                  ///< from the first connect to CONNACK, all brokers tried
    std::uint32_t max_connect_size = 64 * 1024;  ///< bytes
    /// Proxies: who connects from there must begin with a PROXY header (v1 or v2) that says who the client
    /// is.
    std::vector<Network> proxy_from;
    websocket::Rules upgrade;   ///< of `ws`: who may open one
    Identity identity;          ///< of clients that speak MQTT
    std::vector<Route> routes;  ///< the first that fits counts
    std::vector<Rule> rules;    ///< of clients that speak MQTT; the first that fits counts
    ConnectRates rates;
    Destination destination;                 ///< of all others; without a pool: they are refused
    std::shared_ptr<const tls::Server> tls;  ///< clients speak TLS; empty: they do not
    std::uint32_t max_handshakes = 5000;     ///< of TLS, at once
    std::uint32_t maximum_segment = 0;  ///< that clients are told, bytes (MSS); 0: the kernel's own choice
    /// Outlives a reload of the listener.
    std::shared_ptr<std::atomic<std::uint64_t>> accepted = std::make_shared<std::atomic<std::uint64_t>>(0);
    std::shared_ptr<ConnectLimits> limits = std::make_shared<ConnectLimits>();
    /// TLS handshakes under way; outlives a reload too.
    std::shared_ptr<std::atomic<std::uint32_t>> handshakes = std::make_shared<std::atomic<std::uint32_t>>(0);
};

/// A listening socket of one worker: SO_REUSEPORT, so that the kernel spreads clients over the workers;
/// IPv6 without mapped IPv4. `maximum_segment`: as in Listener.
[[nodiscard]] Result<Fd> open_listening_socket(const Endpoint& address, std::uint32_t maximum_segment = 0);
/// Whether a socket of somebody else listens there: SO_REUSEPORT would share the clients with it without a
/// word, where it has the option and the user too.
[[nodiscard]] Result<void> expect_free(const Endpoint& address);
/// For connections that are accepted from now on.
void limit_segment(int listening_socket, std::uint32_t maximum_segment);

}  // namespace limpet::session
