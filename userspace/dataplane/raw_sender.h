// SPDX-License-Identifier: Apache-2.0
// Packets that the daemon itself puts on the wire: parked ones, and RSTs that end a flow. They carry our
// mark, so that the egress guard lets them pass, and are routed by the host like its own.
#pragma once

#include <cstdint>
#include <span>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"
#include "dataplane/flow_key.h"

namespace limpet::dataplane {

class RawSender {
  public:
    [[nodiscard]] static Result<RawSender> open();

    /// Sends an Ethernet frame's IP packet, TCP checksum written anew, cut into segments of at most
    /// `maximum_segment` bytes of payload. Returns the number of packets sent, 0 on failure.
    unsigned send_frame(std::span<std::uint8_t> frame, std::uint32_t maximum_segment);

    /// A RST with ACK from `from` to `to`; `sequence` is what `to` expects next (RFC 5961 3.2).
    bool send_reset(const Endpoint& from, const Endpoint& to, std::uint32_t sequence,
                    std::uint32_t acknowledgement);

  private:
    RawSender(Fd v4, Fd v6) : v4_(std::move(v4)), v6_(std::move(v6)) {}
    bool send_packet(std::uint8_t family, std::span<const std::uint8_t> packet);

    Fd v4_;
    Fd v6_;
};

}  // namespace limpet::dataplane
