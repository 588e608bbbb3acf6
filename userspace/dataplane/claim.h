// SPDX-License-Identifier: Apache-2.0
// One daemon owns the data path of a network namespace: a second one would take over the first one's maps and
// end what is being set up there.
#pragma once

#include <chrono>

#include "base/fd.h"
#include "base/result.h"

namespace limpet::dataplane {

/// The claim, as long as the descriptor is open; the kernel gives it back however its owner ends. Fails where
/// another daemon has it and does not end within `patience`.
[[nodiscard]] Result<Fd> claim_network(std::chrono::milliseconds patience);

/// Whether a daemon has it now.
[[nodiscard]] bool network_is_claimed();

}  // namespace limpet::dataplane
