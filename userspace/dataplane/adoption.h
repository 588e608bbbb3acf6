// SPDX-License-Identifier: Apache-2.0
// What an earlier daemon left, and how it is taken over: the maps of the programs that are still attached are
// the truth, because they are what the live connections run on.
#pragma once

#include "dataplane/bpf_object.h"
#include "dataplane/dataplane.h"
#include "dataplane/flow_key.h"

namespace limpet::dataplane {

/// The lasting maps to go on with; empty: start anew. Fails when they belong to another version of the ABI.
[[nodiscard]] Result<MapSet> find_lasting_maps(const Options& options);

/// Both entries of a connection, as people see it.
[[nodiscard]] FlowView view_of(const FlowKey& key, const FlowEntry& client, const FlowEntry& broker,
                               std::uint32_t now);

}  // namespace limpet::dataplane
