// SPDX-License-Identifier: Apache-2.0
// A socket pair becomes a pair of flow entries: docs/HANDOFF.md. Knows TCP, no MQTT.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/reason.h"
#include "base/result.h"

namespace limpet::dataplane {
class Dataplane;
}

namespace limpet::handoff {

/// Longest advice of how long to wait between two steps …
inline constexpr std::chrono::milliseconds longest_wait{50};
/// … but for a client that has not said a word yet, where the next step is due when one comes.
inline constexpr std::chrono::milliseconds silent_wait{500};

/// What is kept of a connection for display and for its end; copied into the entries.
struct FlowFacts {
    std::string_view client_id;
    std::uint64_t client_hash = 0;    ///< balancer::Pool::hash_key; 0: none
    std::uint32_t stick_seconds = 0;  ///< how long the session outlives the connection; ~0u: for ever
    std::chrono::seconds idle_timeout{
        0};  ///< silence of the client after which the flow is dead; 0: no limit
};

/// What one step of leaving came to.
struct Step {
    enum class Kind {
        gone,   ///< the kernel has the connection; both sockets were taken over, forget them
        again,  ///< not yet: keep relaying, call step() again after `wait` (or after bytes moved)
        relay,  ///< never: relay for good, for `reason`
    };
    Kind kind = Kind::again;
    std::chrono::microseconds wait{0};
    Reason reason = LIMPET_REASON_NONE;
};

/// The part of a connection that the data path knows of, from accept to the end: one object per
/// session, owned by it, used on its worker's thread only.
class Connection {
  public:
    /// Registers the accepted socket's tuple (PENDING) on behalf of `worker`. Never fails: what cannot be
    /// spliced remembers its reason and answers Kind::relay later. `relayed`: a reason that the caller knows
    /// beforehand; then nothing is registered.
    Connection(dataplane::Dataplane& dataplane, unsigned worker, int client_socket,
               Reason relayed = LIMPET_REASON_NONE);
    /// Retires what is still PENDING or HOLD; ACTIVE entries stay.
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] const Endpoint& client() const;    ///< the client's address
    [[nodiscard]] const Endpoint& listener() const;  ///< the address it came to

    /// Makes a socket towards `broker`: non-blocking, TCP_NODELAY, bound to a source port of ours, its entry
    /// PENDING, MSS no more than the client's. The caller connects it (async connect on the descriptor) and
    /// keeps ownership of the returned descriptor. Replaces an earlier broker leg (whose descriptor the
    /// caller has closed before). Fails when no port is free or the socket cannot be made.
    /// `transparent`: bound to the client's own address and port instead, where client and broker are hosts
    /// of the network; fails with EADDRINUSE while another connection has this tuple, or had it a moment ago.
    Result<Fd> open_broker_leg(const Endpoint& broker, bool transparent = false);
    /// A socket towards `broker` whose port the host chooses, for a connection that will stay a relay; from
    /// one of dataplane.source_addresses, where there are some.
    [[nodiscard]] Result<Fd> open_plain_leg(const Endpoint& broker) const;
    /// connect() said EADDRNOTAVAIL: port or tuple are in use after all; gives the port back as used.
    void port_refused();

    /// Why this connection will be relayed whatever happens; NONE while it may still be spliced.
    [[nodiscard]] Reason relay_reason() const;

    /// One attempt to leave, never blocking. `idle` says that the caller holds no bytes of either direction
    /// in its own buffers; without it only preparations are made. While in HOLD the caller goes on pumping
    /// between the sockets. On Kind::gone the descriptors were taken over (they stay open in repair mode for
    /// the grace time and are closed by the data plane): the caller must release them without shutdown or
    /// close.
    Step step(int client_socket, int broker_socket, bool idle, const FlowFacts& facts);

    /// Stops trying: entries of a connection that is relayed for good are retired, so that its packets cost
    /// the data path nothing.
    void give_up(Reason reason);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace limpet::handoff
