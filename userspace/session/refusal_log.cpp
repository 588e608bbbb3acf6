// SPDX-License-Identifier: Apache-2.0
#include "session/refusal_log.h"

#include <spdlog/spdlog.h>

namespace limpet::session {
namespace {

constexpr std::uint32_t lines_per_second = 5;

}  // namespace

void RefusalLog::write(Reason reason, const Endpoint& client, std::string_view listener,
                       std::string_view detail) {
    auto& bucket = buckets_[static_cast<std::size_t>(reason)];
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto second = std::chrono::duration_cast<std::chrono::seconds>(now).count();
    if (bucket.second != second) {
        if (bucket.left_out > 0)
            spdlog::info("{} more clients were closed: {}", bucket.left_out, reason_name(reason));
        bucket = {second, 0, 0};
    }
    // Who connects and leaves without a word is a port scan or a TCP health check: nothing was refused.
    const bool quiet = reason == LIMPET_REASON_CLOSE_CLIENT_GONE || reason == LIMPET_REASON_CLOSE_SHUTDOWN;
    const bool loud = !quiet && bucket.written < lines_per_second;
    if (loud) ++bucket.written;
    if (!loud && !quiet) ++bucket.left_out;
    const auto level = loud ? spdlog::level::info : spdlog::level::debug;
    if (!spdlog::should_log(level)) return;
    spdlog::log(level, "closed client {} on listener {}: {} ({})", client.text(), listener,
                reason_name(reason), detail.empty() ? reason_sentence(reason) : detail);
}

}  // namespace limpet::session
