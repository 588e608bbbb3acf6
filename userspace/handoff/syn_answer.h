// SPDX-License-Identifier: Apache-2.0
// What a SYN-ACK says. Bytes in, values out.
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

}  // namespace limpet::handoff
