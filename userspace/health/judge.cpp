// SPDX-License-Identifier: Apache-2.0
#include "health/judge.h"

#include <algorithm>

namespace limpet::health {
namespace {

using namespace std::chrono_literals;

constexpr double jitter_share = 0.1;

Clock::duration part_of(std::chrono::milliseconds time, double share) {
    return std::chrono::duration_cast<Clock::duration>(time * share);
}

}  // namespace

Judge::Judge(const Terms& terms, bool up, Clock::time_point now, double spread) : terms_(terms), up_(up) {
    if (terms_.always || !up_)
        next_ = now + part_of(std::min<std::chrono::milliseconds>(terms_.interval, 1000ms), spread);
}

bool Judge::answered(bool good, Clock::time_point begin, Clock::time_point now, double jitter) {
    last_begin_ = begin;
    ever_passed_ |= good;
    against_ = good == up_ ? 0 : against_ + 1;
    const bool changed = against_ >= (up_ ? terms_.fall : terms_.rise);
    if (changed) {
        up_ = !up_;
        against_ = 0;
    }
    const bool settled = against_ == 0;
    if (settled && up_ && !terms_.always) {
        next_.reset();
        return changed;
    }
    const auto interval = settled ? terms_.interval : std::min(terms_.interval, terms_.fast_interval);
    next_ = std::max(now, begin + interval + part_of(interval, jitter_share * jitter));
    return changed;
}

void Judge::doubt(Clock::time_point now) {
    const auto earliest = last_begin_ ? std::max(now, *last_begin_ + terms_.fast_interval) : now;
    next_ = next_ ? std::min(*next_, earliest) : earliest;
}

void Judge::change_terms(const Terms& terms, Clock::time_point now) {
    terms_ = terms;
    against_ = 0;
    const auto latest = now + terms_.interval;
    if (terms_.always || !up_)
        next_ = std::min(next_.value_or(latest), latest);
    else
        next_.reset();
}

}  // namespace limpet::health
