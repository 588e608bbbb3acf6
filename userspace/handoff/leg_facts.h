// SPDX-License-Identifier: Apache-2.0
// What one leg's socket and the data path's note say of it, and what follows for a pair of legs. Values only.
#pragma once

#include <limpet/flow_abi.h>

#include <cstdint>
#include <expected>

#include "base/reason.h"

namespace limpet::handoff {

/// What a leg agreed on in its handshake; does not change afterwards.
struct LegOptions {
    bool timestamps = false;
    bool sack = false;
    bool window_scale = false;
    bool ecn = false;
    std::uint8_t peer_scale = 0;          ///< what the peer announced: its windows are to be read with it
    std::uint8_t own_scale = 0;           ///< what we announced
    std::uint32_t announced_segment = 0;  ///< MSS that we announced: what the peer may send
    std::uint32_t peer_segment = 0;       ///< MSS that the peer announced: what may be sent to it
};

/// LIMPET_SYN_*, all of them.
inline constexpr std::uint8_t all_options =
    LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_SACK | LIMPET_SYN_NO_WINDOW_SCALE;
/// LIMPET_SYN_*: what the handshake did not agree on.
[[nodiscard]] std::uint8_t missing_options(const LegOptions& options);

/// Where a leg stands at the moment of the handoff.
struct LegPosition {
    std::uint32_t send_next = 0;     ///< our next sequence number (the send queue's, TCP_REPAIR)
    std::uint32_t receive_next = 0;  ///< the peer's next sequence number
    std::uint32_t clock = 0;         ///< TSval that our socket would send now
    std::uint32_t peer_tsval = 0;    ///< last TSval of the peer, as the data path noted it
};

/// The constants that translate packets which come from one leg into those of the other.
struct Direction {
    std::uint32_t sequence_delta = 0;
    std::uint32_t acknowledgement_delta = 0;
    std::uint32_t tsval_delta = 0;
    std::uint32_t tsecr_delta = 0;
    std::int8_t window_shift = 0;
    bool operator==(const Direction&) const = default;
};

struct Translation {
    Direction from_client;
    Direction from_broker;
    bool timestamps = false;
    bool clear_ecn = false;
};

/// NONE, or why two legs with these options cannot be joined by constants.
[[nodiscard]] Reason check_parity(const LegOptions& client, const LegOptions& broker);

/// docs/HANDOFF.md, "The deltas". Only for legs that check_parity() accepts.
[[nodiscard]] Translation translation_between(const LegOptions& client_options, const LegPosition& client,
                                              const LegOptions& broker_options, const LegPosition& broker);

}  // namespace limpet::handoff
