// SPDX-License-Identifier: Apache-2.0
// What brokers agree to in a TCP handshake, as it was seen: what one does not do is not offered to the
// clients of a listener in front of it, so that both legs agree (docs/HANDOFF.md, "Parity").
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/endpoint.h"

namespace limpet::dataplane {

struct Offer {
    std::uint8_t missing = 0;   ///< LIMPET_SYN_*: what is not done
    std::uint32_t segment = 0;  ///< largest segment that is taken (MSS), bytes; 0: not known
    bool operator==(const Offer&) const = default;
};

/// What is missing, in words: "timestamps", …
[[nodiscard]] std::vector<std::string_view> missing_names(const Offer& offer);

/// Thread-safe.
class BrokerOffers {
  public:
    /// `asked`: the LIMPET_SYN_* of which the handshake says anything, because they were offered to the
    /// broker.
    void learn(const Endpoint& broker, const Offer& offer, std::uint8_t asked);
    [[nodiscard]] bool knows(const Endpoint& broker) const;
    /// What all of them do; of one that is not known everything is expected.
    [[nodiscard]] Offer common(std::span<const Endpoint> brokers) const;

  private:
    mutable std::mutex mutex_;
    std::unordered_map<Endpoint, Offer> offers_;
};

}  // namespace limpet::dataplane
