// SPDX-License-Identifier: Apache-2.0
// Where the bench runs: a network namespace with a gateway between two veth pairs, its neighbours known.
//     generator  b_far_in -> b_in (10.91.0.1)  gateway  b_out (10.92.0.1) -> b_far_out  counted and dropped
#pragma once

#include <bpf/bpf.h>

#include <cstdint>
#include <vector>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"

namespace limpet::dataplane {

struct BenchSite {
    unsigned in = 0;  ///< interface indexes
    unsigned far_in = 0;
    unsigned out = 0;
    unsigned far_out = 0;
};

[[nodiscard]] Result<BenchSite> make_bench_site();

/// Packets that an interface has received.
[[nodiscard]] std::uint64_t received_packets(unsigned interface);

using Frame = std::vector<std::uint8_t>;

/// A TCP segment with timestamps as it arrives at the gateway. Its TCP checksum is not right: nobody in the
/// bench looks at it.
[[nodiscard]] Frame tcp_frame(const Endpoint& source, const Endpoint& destination, std::size_t payload);

/// Offset of the source port in an IPv4 frame.
inline constexpr std::int16_t source_port_offset = 34;

// Programs of a few instructions.
[[nodiscard]] Result<Fd> bare_verdict(bpf_prog_type type, std::int32_t verdict);
[[nodiscard]] Result<Fd> bare_redirect(bpf_prog_type type, unsigned interface);
/// Writes the frame anew (it comes back as the gateway left it) with a source port out of `ports` (a power of
/// two) from `first_port` on, and sends it out of an interface.
[[nodiscard]] Result<Fd> generator(const Frame& frame, std::uint16_t first_port, std::uint32_t ports,
                                   unsigned interface);

}  // namespace limpet::dataplane
