// SPDX-License-Identifier: Apache-2.0
// Descriptors run out before anything else in a storm of connects; the gate says when to stop accepting.
#pragma once

#include <atomic>
#include <cstddef>

namespace limpet::session {

/// Counts the descriptors of sessions against the process's limit. Shared by all workers; a session takes its
/// two (client and broker) at once when it is accepted, so that nobody is accepted who cannot be connected.
/// Between the shares lies a distance so that accepting does not flutter.
class DescriptorGate {
  public:
    /// `base`: what the process has open besides sessions.
    DescriptorGate(std::size_t limit, std::size_t base) : limit_(limit), base_(base) {}

    void take(std::size_t count) { used_.fetch_add(count, std::memory_order_relaxed); }
    void give(std::size_t count) { used_.fetch_sub(count, std::memory_order_relaxed); }

    /// In use now, with `grace` descriptors that the data path still holds of connections that left.
    [[nodiscard]] std::size_t in_use(std::size_t grace) const {
        return base_ + grace + used_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::size_t limit() const { return limit_; }

    /// At 80 % accepting stops …
    [[nodiscard]] bool full(std::size_t grace) const { return in_use(grace) >= limit_ / 10 * 8; }
    /// … and goes on under 70 %.
    [[nodiscard]] bool has_room(std::size_t grace) const { return in_use(grace) < limit_ / 10 * 7; }
    /// Up to 90 % clients are let in to be told that there is no room.
    [[nodiscard]] bool can_refuse(std::size_t grace) const { return in_use(grace) < limit_ / 10 * 9; }

  private:
    const std::size_t limit_;
    const std::size_t base_;
    std::atomic<std::size_t> used_{0};
};

/// RLIMIT_NOFILE as it is in force.
[[nodiscard]] std::size_t descriptor_limit();
/// How many descriptors the process has open now.
[[nodiscard]] std::size_t open_descriptors();

}  // namespace limpet::session
