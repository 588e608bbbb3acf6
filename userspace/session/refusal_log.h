// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/endpoint.h"
#include "base/reason.h"

namespace limpet::session {

/// Logs refused clients, one line each, but at most some per second and reason at info; the rest at debug, so
/// that a storm of bad clients cannot fill a disk. Brokers that fail are logged within the same bounds. One
/// per worker, used on its thread.
class RefusalLog {
  public:
    void write(Reason reason, const Endpoint& client, std::string_view listener, std::string_view detail);

    /// A broker with which no TLS, or no WebSocket, came about.
    void write_broker(Reason reason, const Endpoint& broker, std::string_view name, std::string_view detail);

  private:
    /// Whether there is room for a line at info.
    [[nodiscard]] bool admit(Reason reason);

    struct Bucket {
        std::int64_t second = 0;
        std::uint32_t written = 0;
        std::uint32_t left_out = 0;
    };
    std::array<Bucket, LIMPET_REASON_COUNT> buckets_{};
};

}  // namespace limpet::session
