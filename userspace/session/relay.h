// SPDX-License-Identifier: Apache-2.0
// Moves bytes from one socket to another: bounded memory, real backpressure, half-close passed on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mqtt/packet_boundary.h"

namespace limpet::session {

/// One direction of a relayed connection. While nothing waits it holds no memory.
struct Direction {
    std::vector<std::uint8_t> waiting;  ///< read from the source, not yet taken by the sink
    std::size_t taken = 0;              ///< of `waiting`
    bool ended = false;                 ///< the source sent FIN
    bool passed_on = false;             ///< and the sink was told, after the last byte
    /// Of what was read, where somebody may want to say something in between.
    std::optional<mqtt::PacketBoundary> packets{};

    [[nodiscard]] bool idle() const { return waiting.empty(); }
    [[nodiscard]] bool wants_source() const { return waiting.empty() && !ended; }
    [[nodiscard]] bool wants_sink() const { return !waiting.empty(); }
};

/// Moves what can be moved now. Reads into `scratch`; nothing more is read while the sink has not taken all
/// of it, so a direction holds at most scratch.size() bytes (or what it was given at first). False: one of
/// the sockets is broken.
[[nodiscard]] bool pump(int source, int sink, Direction& direction, std::span<std::uint8_t> scratch);

/// Writes bytes of `waiting` to a socket as far as it takes them, and frees the memory after the last one.
/// False: the socket is broken.
[[nodiscard]] bool flush(int sink, std::vector<std::uint8_t>& waiting, std::size_t& taken);

/// One read. `count` 0: end of file.
struct Read {
    enum class Kind { bytes, end, nothing, broken };
    Kind kind = Kind::nothing;
    std::size_t count = 0;
};
[[nodiscard]] Read read_some(int source, std::span<std::uint8_t> into);

/// close() will send RST instead of FIN.
void reset_on_close(int socket);

}  // namespace limpet::session
