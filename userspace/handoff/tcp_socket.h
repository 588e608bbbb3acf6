// SPDX-License-Identifier: Apache-2.0
// What a handoff asks of the host's TCP sockets: their state, their queues, and TCP_REPAIR.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"
#include "handoff/leg_facts.h"

namespace limpet::handoff {

struct SocketInfo {
    bool established = false;
    LegOptions options;                       ///< peer_segment as far as the socket knows it
    std::uint32_t path_segment = 65535;       ///< what fits the way to the peer, as far as the host knows
    std::chrono::microseconds round_trip{0};  ///< smoothed
    bool silent =
        false;  ///< since its handshake the peer has sent no data, and got none that it acknowledged
};
[[nodiscard]] Result<SocketInfo> read_socket(int socket);

/// The MSS that the client announced, which an accepted socket itself knows only up to the TCP_MAXSEG of its
/// listener; nothing where the host did not keep its SYN (a SYN cookie) or gave it before.
[[nodiscard]] std::optional<std::uint32_t> client_segment(int accepted_socket);

/// Bytes received but not read, and sent but not acknowledged; nothing on error.
[[nodiscard]] std::optional<int> unread_bytes(int socket);
[[nodiscard]] std::optional<int> unacknowledged_bytes(int socket);

/// Pays an ACK that is owed now instead of after the delayed ACK timer.
void acknowledge_now(int socket);

/// Packets of this socket carry LIMPET_MARK_LEAVING from now on.
void mark_leaving(int socket);

/// Freezes a socket (TCP_REPAIR) for as long as it lives; thaws it again without a window probe
/// (TCP_REPAIR_OFF_NO_WP), unless release() was called: then it stays frozen and its close() sends nothing.
class Freeze {
  public:
    explicit Freeze(int socket);
    ~Freeze();
    Freeze(const Freeze&) = delete;
    Freeze& operator=(const Freeze&) = delete;
    [[nodiscard]] bool frozen() const { return frozen_; }
    void release() { frozen_ = false; }
    /// Send and receive positions and our clock; nothing where the socket does not answer.
    [[nodiscard]] std::optional<LegPosition> position() const;

  private:
    int socket_;
    bool frozen_;
};

/// Whose a socket's source address is.
enum class Source {
    own,     ///< this host's; port 0 leaves the choice of a port to the host, when it connects
    client,  ///< the client's, address and port, whatever else is bound to that port here
};

/// A socket towards a broker: non-blocking, Nagle off, bound to `source`, announcing at most
/// `maximum_segment` bytes (0: what the route allows).
[[nodiscard]] Result<Fd> make_broker_socket(const Endpoint& source, std::uint32_t maximum_segment,
                                            Source whose = Source::own);

}  // namespace limpet::handoff
