// SPDX-License-Identifier: Apache-2.0
#include "daemon/relayed_ending.h"

#include <algorithm>

namespace limpet::daemon {
namespace {

constexpr std::chrono::duration<double> saved_up{1};

}  // namespace

std::uint64_t Pacer::due(Clock::time_point now) {
    if (per_second_ <= 0) return ~0ULL;
    allowance_ += per_second_ * std::chrono::duration<double>(now - last_).count();
    allowance_ = std::min(allowance_, std::max(1.0, per_second_ * saved_up.count()));
    last_ = now;
    return static_cast<std::uint64_t>(allowance_);
}

void Pacer::spend(std::uint64_t count) {
    if (per_second_ > 0) allowance_ -= static_cast<double>(count);
}

RelayedEnding::RelayedEnding(session::Workers& workers, std::shared_ptr<balancer::Pool> pool,
                             balancer::BrokerId broker, Reason reason)
    : workers_(workers), eviction_(std::make_shared<session::Eviction>()) {
    eviction_->pool = std::move(pool);
    eviction_->broker = broker;
    eviction_->reason = reason;
}

std::uint64_t RelayedEnding::step(std::uint64_t due) {
    if (eviction_->looking != 0) return 0;
    const auto ended = eviction_->ended - told_;
    told_ += ended;
    if (over() && looked_) return ended;
    constexpr std::uint64_t at_once = 1'000'000;
    const auto allowed = static_cast<std::int64_t>(std::min(due > ended ? due - ended : 0, at_once));
    if (allowed == 0 && looked_) return ended;
    eviction_->allowed = allowed;
    looked_ = true;
    workers_.evict(eviction_);
    return ended;
}

bool RelayedEnding::over() const {
    return looked_ && eviction_->looking == 0 && eviction_->left == 0 && eviction_->ended == told_;
}

}  // namespace limpet::daemon
