// SPDX-License-Identifier: Apache-2.0
// Packets that the daemon itself puts on the wire: parked ones, and RSTs that end a flow. They carry our
// mark, so that the egress guard lets them pass, and are routed by the host like its own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"
#include "dataplane/flow_key.h"

namespace limpet::dataplane {

/// A segment without data, as it should arrive.
struct Segment {
    Endpoint from;
    Endpoint to;
    std::uint32_t sequence = 0;
    std::uint32_t acknowledgement = 0;
    /// TSval and TSecr, where the leg uses timestamps (RFC 7323 3.2).
    std::optional<std::pair<std::uint32_t, std::uint32_t>> timestamps;
};

class RawSender {
  public:
    [[nodiscard]] static Result<RawSender> open();

    /// Sends an Ethernet frame's IP packet, TCP checksum written anew, cut into segments of at most
    /// `maximum_segment` bytes of payload. Returns the number of packets sent, 0 on failure.
    unsigned send_frame(std::span<std::uint8_t> frame, std::uint32_t maximum_segment);

    /// A RST with ACK from `from` to `to`; `sequence` is what `to` expects next (RFC 5961 3.2).
    bool send_reset(const Endpoint& from, const Endpoint& to, std::uint32_t sequence,
                    std::uint32_t acknowledgement);
    /// A keep-alive probe (RFC 9293 3.8.4): an ACK; its sequence number is the caller's to choose.
    bool send_probe(const Segment& segment);
    /// A SYN that offers all that Limpet can use: MSS, SACK, timestamps, window scaling. The host has no
    /// socket for it, and so resets whatever answers it.
    bool send_syn(const Endpoint& from, const Endpoint& to, std::uint32_t sequence,
                  std::uint16_t maximum_segment);

  private:
    RawSender(Fd v4, Fd v6) : v4_(std::move(v4)), v6_(std::move(v6)) {}
    bool send_segment(const Segment& segment, std::uint8_t flags, std::span<const std::uint8_t> options);
    bool send_packet(std::uint8_t family, std::span<const std::uint8_t> packet);

    Fd v4_;
    Fd v6_;
};

}  // namespace limpet::dataplane
