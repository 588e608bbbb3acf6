// SPDX-License-Identifier: Apache-2.0
// Half a TCP handshake with each broker, to learn what options it agrees to before clients come: a SYN, whose
// answer says all. The host resets what answers it, so the broker's program never sees a connection and logs
// nothing.
#pragma once

#include <chrono>
#include <span>

#include "base/endpoint.h"

namespace limpet::dataplane {
class Dataplane;
}

namespace limpet::handoff {

/// Asks all of them at once; what they agree to is then known to the data plane (Dataplane::common_offer).
/// Blocks until all have answered, `patience` at the longest; who does not answer is not known afterwards.
/// Source ports come from the data plane's allocator. Without a kernel data path: nothing to do.
void ask_brokers(dataplane::Dataplane& dataplane, std::span<const Endpoint> brokers,
                 std::chrono::milliseconds patience);

}  // namespace limpet::handoff
