// SPDX-License-Identifier: Apache-2.0
#include "dataplane/broker_offers.h"

#include <limpet/flow_abi.h>

#include <algorithm>

namespace limpet::dataplane {

std::vector<std::string_view> missing_names(const Offer& offer) {
    std::vector<std::string_view> names;
    if ((offer.missing & LIMPET_SYN_NO_TIMESTAMPS) != 0) names.emplace_back("timestamps");
    if ((offer.missing & LIMPET_SYN_NO_SACK) != 0) names.emplace_back("selective acknowledgements");
    if ((offer.missing & LIMPET_SYN_NO_WINDOW_SCALE) != 0) names.emplace_back("window scaling");
    return names;
}

void BrokerOffers::learn(const Endpoint& broker, const Offer& offer, std::uint8_t asked) {
    const std::lock_guard guard(mutex_);
    auto& known = offers_[broker];
    known.missing = static_cast<std::uint8_t>((known.missing & ~asked) | (offer.missing & asked));
    if (offer.segment != 0) known.segment = offer.segment;
}

bool BrokerOffers::knows(const Endpoint& broker) const {
    const std::lock_guard guard(mutex_);
    return offers_.contains(broker);
}

Offer BrokerOffers::common(std::span<const Endpoint> brokers) const {
    Offer all;
    const std::lock_guard guard(mutex_);
    for (const auto& broker : brokers) {
        const auto found = offers_.find(broker);
        if (found == offers_.end()) continue;
        const auto& [missing, segment] = found->second;
        all.missing |= missing;
        if (segment != 0) all.segment = all.segment == 0 ? segment : std::min(all.segment, segment);
    }
    return all;
}

}  // namespace limpet::dataplane
