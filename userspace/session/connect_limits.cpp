// SPDX-License-Identifier: Apache-2.0
#include "session/connect_limits.h"

#include <random>

namespace limpet::session {
namespace {

balancer::SipKey random_key() {
    std::random_device random;
    const auto draw = [&] { return std::uint64_t{random()} << 32 | random(); };
    return {draw(), draw()};
}

/// What one customer has: an address, or the network of 64 bits that IPv6 gives to a site at least (RFC
/// 6177).
std::string_view network_of(const IpAddress& address) {
    return {reinterpret_cast<const char*>(address.bytes.data()), address.family == 4 ? 4U : 8U};
}

}  // namespace

ConnectLimits::ConnectLimits() : key_(random_key()) {}

Reason ConnectLimits::admit_source(const ConnectRates& rates, const IpAddress& source,
                                   Clock::time_point now) {
    if (rates.source.is_limit() &&
        sources_.take(balancer::siphash(key_, network_of(source)), rates.source, {}, now) != Passage::passed)
        return LIMPET_REASON_CLOSE_SOURCE_RATE;
    if (!rates.all.is_limit()) return LIMPET_REASON_NONE;
    const std::chrono::nanoseconds present = now.time_since_epoch();
    const std::lock_guard lock(mutex_);
    return all_.take(rates.all, present.count()) ? LIMPET_REASON_NONE : LIMPET_REASON_CLOSE_LISTENER_RATE;
}

Passage ConnectLimits::admit_client(const ConnectRates& rates, std::string_view client_id,
                                    Clock::time_point now) {
    if (!rates.client.is_limit() || client_id.empty()) return Passage::passed;
    return clients_.take(balancer::siphash(key_, client_id), rates.client, rates.hold_off, now);
}

}  // namespace limpet::session
