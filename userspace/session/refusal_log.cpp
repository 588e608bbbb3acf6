// SPDX-License-Identifier: Apache-2.0
#include "session/refusal_log.h"

#include <spdlog/spdlog.h>

namespace limpet::session {
namespace {

constexpr std::uint32_t lines_per_second = 5;

}  // namespace

bool RefusalLog::admit(Reason reason) {
    auto& bucket = buckets_[static_cast<std::size_t>(reason)];
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto second = std::chrono::duration_cast<std::chrono::seconds>(now).count();
    if (bucket.second != second) {
        if (bucket.left_out > 0) spdlog::info("{} more like that: {}", bucket.left_out, reason_name(reason));
        bucket = {second, 0, 0};
    }
    if (bucket.written < lines_per_second) {
        ++bucket.written;
        return true;
    }
    ++bucket.left_out;
    return false;
}

void RefusalLog::write(Reason reason, const Endpoint& client, std::string_view listener,
                       std::string_view detail) {
    // Who connects and leaves without a word is a port scan or a TCP health check: nothing was refused.
    const bool quiet = reason == LIMPET_REASON_CLOSE_CLIENT_GONE || reason == LIMPET_REASON_CLOSE_SHUTDOWN;
    const auto level = !quiet && admit(reason) ? spdlog::level::info : spdlog::level::debug;
    if (!spdlog::should_log(level)) return;
    spdlog::log(level, "closed client {} on listener {}: {} ({})", client.text(), listener,
                reason_name(reason), detail.empty() ? reason_sentence(reason) : detail);
}

void RefusalLog::write_broker(Reason reason, const Endpoint& broker, std::string_view name,
                              std::string_view detail) {
    const auto level = admit(reason) ? spdlog::level::warn : spdlog::level::debug;
    spdlog::log(level, "broker {} ({}): {} ({})", name, broker.text(), reason_name(reason), detail);
}

}  // namespace limpet::session
