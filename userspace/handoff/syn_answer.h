// SPDX-License-Identifier: Apache-2.0
// What SYNs and SYN-ACKs say. Bytes in, values out.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/broker_offers.h"

namespace limpet::handoff {

struct SynAnswer {
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    std::uint32_t acknowledgement = 0;
    dataplane::Offer offer;  ///< the MSS without an option for it is 536 (RFC 9293 3.7.1)
};

/// Reads a TCP segment, from its header on; nothing where it is no whole SYN-ACK. Options behind a malformed
/// one are not read (RFC 9293 3.1).
[[nodiscard]] std::optional<SynAnswer> read_syn_answer(std::span<const std::uint8_t> segment);

/// The MSS that a SYN announces, from its IP header on (as TCP_SAVED_SYN gives it); nothing where it is no
/// whole SYN, or lies behind IPv6 extension headers.
[[nodiscard]] std::optional<std::uint32_t> read_syn_segment(std::span<const std::uint8_t> packet);

}  // namespace limpet::handoff
