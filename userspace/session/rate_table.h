// SPDX-License-Identifier: Apache-2.0
// How often strangers come: a bucket for each of them, in a table that never grows.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace limpet::session {

/// At most so many in a time, and as many at once: a bucket that fills evenly.
struct Rate {
    std::uint32_t most = 0;  ///< 0: no limit
    std::chrono::milliseconds time{1000};

    [[nodiscard]] bool is_limit() const { return most != 0; }
    bool operator==(const Rate&) const = default;
};

enum class Passage {
    passed,
    over,  ///< the bucket was empty
    held,  ///< it was empty a while ago, and its owner is held off since
};

/// One bucket, as the time at which it would be full again (the generic cell rate algorithm, ITU-T I.371).
/// Times are nanoseconds of the steady clock.
class Bucket {
  public:
    /// Takes one. False: it is empty, and nothing was taken.
    [[nodiscard]] bool take(const Rate& rate, std::int64_t now);
    /// When it is full again; before now: it is.
    [[nodiscard]] std::int64_t full_at() const { return full_at_; }

  private:
    std::int64_t full_at_ = 0;
};

/// Buckets by a hash of whom they are for. In each row of eight the one that is nearest to being full gives
/// way, so whoever floods the table with names makes it forget, and pays with nobody's memory. Safe for all
/// threads.
class RateTable {
  public:
    using Clock = std::chrono::steady_clock;

    /// Takes one from the bucket of `key`; who finds it empty is held off for `hold` from then on (zero: only
    /// until there is something in it again).
    [[nodiscard]] Passage take(std::uint64_t key, const Rate& rate, std::chrono::milliseconds hold,
                               Clock::time_point now);
    /// How many are remembered at most.
    static constexpr std::size_t capacity = std::size_t{1} << 16;

  private:
    struct Entry {
        std::uint64_t key = 0;
        Bucket bucket;
        std::int64_t held_until = 0;

        [[nodiscard]] std::int64_t until() const { return std::max(bucket.full_at(), held_until); }
    };
    static constexpr std::size_t row_size = 8;
    static constexpr std::size_t rows = capacity / row_size;
    static constexpr std::size_t locks = 64;

    [[nodiscard]] Entry& entry_of(std::uint64_t key, std::size_t row);

    std::array<std::mutex, locks> mutexes_;
    std::once_flag made_;
    std::vector<std::array<Entry, row_size>> rows_;  // made when it is first needed
};

}  // namespace limpet::session
