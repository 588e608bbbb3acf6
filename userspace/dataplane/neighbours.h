// SPDX-License-Identifier: Apache-2.0
// XDP takes the addresses of neighbours from the host's table and does not tell it that they are in use: an
// entry that the host's own packets do not use grows stale and is never asked again, and whoever moves to
// other hardware without a word would not be found. So stale entries on interfaces of XDP are used now and
// then, as a packet of the host's would do it (NTF_USE): the kernel asks, and mends or forgets them (RFC
// 4861 7.3.3; for ARP alike).
#pragma once

#include <span>

namespace limpet::dataplane {

/// Uses every stale neighbour entry of these interfaces (by index). Errors cost nothing: the next call looks
/// again.
void use_stale_neighbours(std::span<const unsigned> interfaces);

}  // namespace limpet::dataplane
