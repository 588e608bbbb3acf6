// SPDX-License-Identifier: Apache-2.0
// Ends the flows of one broker at a pace: a drain, a broker that died, a share that goes to others.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "dataplane/dataplane.h"
#include "dataplane/flow_maps.h"

namespace limpet::dataplane {

/// Orders come from any thread, step() from one.
class FlowEnding {
  public:
    using Clock = std::chrono::steady_clock;
    using Id = std::uint64_t;

    explicit FlowEnding(const FlowMaps& maps) : maps_(maps) {}

    /// A second order for the same broker replaces the first.
    Id order(const EndOrder& order);
    void cancel(Id id);
    /// Nothing where the id is not known (any more: the last hundred are remembered).
    [[nodiscard]] std::optional<EndProgress> progress(Id id) const;
    [[nodiscard]] bool busy() const;

    /// Ends what is due; `end` ends one flow by its client leg and says whether it was there.
    void step(Clock::time_point now, const std::function<bool(const FlowKey&, Reason)>& end);

  private:
    struct Job {
        EndOrder order;
        EndProgress progress;
        FlowMaps::Cursor cursor;
        std::deque<FlowKey> found;  // client legs, to be ended
        Clock::time_point last;     // when the allowance was topped up
        double allowance = 0;       // flows that may be ended now
        bool walked = false;        // the whole map, once
    };
    void work(Job& job, Clock::time_point now, const std::function<bool(const FlowKey&, Reason)>& end);
    void walk(Job& job) const;

    const FlowMaps& maps_;
    mutable std::mutex mutex_;
    Id next_ = 1;
    std::map<Id, Job> jobs_;
};

/// How much of an allowance is saved up while nothing is ended: no burst is larger than this time's worth.
inline constexpr std::chrono::milliseconds ending_burst{1000};
/// Entries looked at in one step of a job, and flows ended in it where no pace is set.
inline constexpr std::uint32_t ending_piece = 4096;

}  // namespace limpet::dataplane
