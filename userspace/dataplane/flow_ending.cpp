// SPDX-License-Identifier: Apache-2.0
#include "dataplane/flow_ending.h"

#include <algorithm>

namespace limpet::dataplane {
namespace {

constexpr std::size_t remembered_jobs = 100;

}  // namespace

FlowEnding::Id FlowEnding::order(const EndOrder& order) {
    const std::lock_guard guard(mutex_);
    for (auto& [id, job] : jobs_)
        if (job.order.broker == order.broker) job.progress.done = true;
    while (jobs_.size() >= remembered_jobs) jobs_.erase(jobs_.begin());
    const auto id = next_++;
    auto& job = jobs_[id];
    job.order = order;
    job.last = Clock::now();
    job.cursor.family = order.broker.address.family;
    return id;
}

void FlowEnding::cancel(Id id) {
    const std::lock_guard guard(mutex_);
    if (const auto found = jobs_.find(id); found != jobs_.end()) found->second.progress.done = true;
}

std::optional<EndProgress> FlowEnding::progress(Id id) const {
    const std::lock_guard guard(mutex_);
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) return std::nullopt;
    return found->second.progress;
}

bool FlowEnding::busy() const {
    const std::lock_guard guard(mutex_);
    return std::ranges::any_of(jobs_, [](const auto& job) { return !job.second.progress.done; });
}

void FlowEnding::step(Clock::time_point now, const std::function<bool(const FlowKey&, Reason)>& end) {
    const std::lock_guard guard(mutex_);
    for (auto& [id, job] : jobs_)
        if (!job.progress.done) work(job, now, end);
}

void FlowEnding::work(Job& job, Clock::time_point now,
                      const std::function<bool(const FlowKey&, Reason)>& end) {
    const auto& order = job.order;
    if (order.per_second > 0) {
        const auto most =
            std::max(1.0, order.per_second * std::chrono::duration<double>(ending_burst).count());
        job.allowance += order.per_second * std::chrono::duration<double>(now - job.last).count();
        job.allowance = std::min(job.allowance, most);
    } else {
        job.allowance = ending_piece;
    }
    job.last = now;
    if (job.found.empty() && !job.walked) walk(job);
    while (job.allowance >= 1 && !job.found.empty() && job.progress.ended < order.most) {
        if (end(job.found.front(), order.reason)) {
            ++job.progress.ended;
            job.allowance -= 1;
        }
        job.found.pop_front();
    }
    job.progress.done = job.progress.ended >= order.most || (job.walked && job.found.empty());
}

/// One piece of the map. Flows that begin meanwhile are not this broker's any more, if it gets no new ones;
/// those that the walk misses because the map changes under it end with their own end.
void FlowEnding::walk(Job& job) const {
    job.walked = !maps_.visit(job.cursor, ending_piece, [&](const FlowKey& key, const FlowEntry& entry) {
        const auto& order = job.order;
        if (entry.is_client_leg() && entry.is_spliced() && entry.destination == order.broker &&
            (!order.meant || order.meant(key.destination(), entry.flow.client_hash)))
            job.found.push_back(key);
        return true;
    });
}

}  // namespace limpet::dataplane
