// SPDX-License-Identifier: Apache-2.0
// How often clients may connect to a listener: all of them, those of one address, those of one client id.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "balancer/siphash.h"
#include "base/endpoint.h"
#include "base/reason.h"
#include "session/rate_table.h"

namespace limpet::session {

/// What a listener's configuration says.
struct ConnectRates {
    Rate all;
    Rate source;                                ///< one IPv4 address, or one /64 of IPv6
    Rate client;                                ///< one client id
    std::chrono::milliseconds hold_off{60000};  ///< of a client id that came more often
};

/// What is remembered of those who came; outlives a reload of the listener. Safe for all threads.
class ConnectLimits {
  public:
    using Clock = RateTable::Clock;

    ConnectLimits();
    /// NONE, or why a client from there may not connect now.
    [[nodiscard]] Reason admit_source(const ConnectRates& rates, const IpAddress& source,
                                      Clock::time_point now);
    [[nodiscard]] Passage admit_client(const ConnectRates& rates, std::string_view client_id,
                                       Clock::time_point now);

  private:
    const balancer::SipKey key_;  // so that nobody can make names that share a row
    std::mutex mutex_;
    Bucket all_;
    RateTable sources_;
    RateTable clients_;
};

}  // namespace limpet::session
