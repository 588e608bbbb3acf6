// SPDX-License-Identifier: Apache-2.0
// What the data path is told beside the flows, in a map that lasts with them.
#pragma once

#include <limpet/flow_abi.h>

#include "base/result.h"
#include "dataplane/bpf_object.h"

namespace limpet::dataplane {

/// Settings of new maps, with this seed of hashes (0: drawn now), or those of adopted ones; `transparent` as
/// this daemon's pools want it.
[[nodiscard]] Result<limpet_settings> settle_settings(const BpfObject& object, bool transparent,
                                                      std::uint64_t hash_seed);
/// From now on packets for sockets of the host's are marked.
[[nodiscard]] Result<void> set_transparent(const BpfObject& object);

}  // namespace limpet::dataplane
