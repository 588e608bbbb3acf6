// SPDX-License-Identifier: Apache-2.0
// Moves bytes from one leg to another: bounded memory, real backpressure, half-close passed on.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mqtt/packet_boundary.h"
#include "session/leg.h"

namespace limpet::session {

/// One direction of a relayed connection. While nothing waits it holds no memory.
struct Direction {
    std::vector<std::uint8_t> waiting;  ///< read from the source, not yet taken by the sink
    std::size_t taken = 0;              ///< of `waiting`
    bool ended = false;                 ///< the source has sent its last byte
    bool passed_on = false;             ///< and the sink was told, after the last byte
    /// Of what was read, where somebody may want to say something in between.
    std::optional<mqtt::PacketBoundary> packets{};

    [[nodiscard]] bool idle() const { return waiting.empty(); }
    [[nodiscard]] bool wants_source() const { return waiting.empty() && !ended; }
    [[nodiscard]] bool wants_sink() const { return !waiting.empty() || (ended && !passed_on); }
};

/// Moves what can be moved now. Reads into `scratch`; nothing more is read while the sink has not taken all
/// of it, so a direction holds at most scratch.size() bytes (or what it was given at first). False: one of
/// the legs is broken.
[[nodiscard]] bool pump(Leg& source, Leg& sink, Direction& direction, std::span<std::uint8_t> scratch);

/// Writes bytes of `waiting` to a leg as far as it takes them, and frees the memory after the last one.
/// False: the leg is broken.
[[nodiscard]] bool flush(Leg& sink, std::vector<std::uint8_t>& waiting, std::size_t& taken);

}  // namespace limpet::session
