// SPDX-License-Identifier: Apache-2.0
#include "session/rate_table.h"

namespace limpet::session {
namespace {

std::int64_t nanoseconds_of(std::chrono::nanoseconds time) {
    return time.count();
}

}  // namespace

bool Bucket::take(const Rate& rate, std::int64_t now) {
    const auto whole = nanoseconds_of(rate.time);
    const auto each = whole / rate.most;
    const auto after = std::max(full_at_, now) + each;
    if (after > now + whole) return false;
    full_at_ = after;
    return true;
}

RateTable::Entry& RateTable::entry_of(std::uint64_t key, std::size_t row) {
    auto& entries = rows_[row];
    Entry* oldest = &entries.front();
    for (auto& entry : entries) {
        if (entry.key == key) return entry;
        if (entry.until() < oldest->until()) oldest = &entry;
    }
    *oldest = {.key = key, .bucket = {}, .held_until = 0};
    return *oldest;
}

Passage RateTable::take(std::uint64_t key, const Rate& rate, std::chrono::milliseconds hold,
                        Clock::time_point now) {
    std::call_once(made_, [this] { rows_.resize(rows); });
    const auto row = key % rows;
    const auto present = nanoseconds_of(now.time_since_epoch());
    const std::lock_guard lock(mutexes_[row % locks]);
    auto& entry = entry_of(key, row);
    if (present < entry.held_until) return Passage::held;
    if (entry.bucket.take(rate, present)) return Passage::passed;
    entry.held_until = present + nanoseconds_of(hold);
    return Passage::over;
}

}  // namespace limpet::session
