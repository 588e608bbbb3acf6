// SPDX-License-Identifier: Apache-2.0
// The strategies as functions over those brokers that may be chosen. They know no memory, no clock, no lock.
#pragma once

#include <cstdint>
#include <span>

#include "balancer/balancer.h"

namespace limpet::balancer {

/// What choosing needs of a broker: one cache line, apart from its name and address.
struct Broker {
    std::uint64_t placement = 0;                            ///< placement_hash() of the name
    std::uint64_t connections = 0;                          ///< now
    std::int64_t current = 0;                               ///< current weight of smooth round robin
    Clock::time_point retry_at = Clock::time_point::min();  ///< down until then
    std::uint64_t chosen = 0;
    std::uint64_t failures = 0;
    std::uint32_t weight = 0;
    std::uint32_t most = 0;  ///< connections that it may have; 0: no limit
    BrokerId id = 0;
    bool live = false;  ///< in the specification; otherwise gone, and kept only for what still refers to it
    bool draining = false;  ///< at an operator's wish
    std::uint8_t rank = 0;
    bool unhealthy = false;      ///< health checks say so
    std::uint8_t percent = 100;  ///< of its weight: less while it starts slowly after it came back
    /// What it gets of new clients, against the others.
    [[nodiscard]] std::uint64_t share() const { return std::uint64_t{weight} * percent; }

    [[nodiscard]] bool full() const { return most != 0 && connections >= most; }
};
static_assert(sizeof(Broker) <= 64);

/// splitmix64: a small state that lookup() can copy.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    [[nodiscard]] std::uint64_t below(std::uint64_t bound);

  private:
    std::uint64_t state_;
};

/// Brokers that may be chosen: never empty, every weight above 0. The strategies may reorder the span.
struct Candidates {
    std::span<Broker*> brokers;
    std::uint64_t share = 0;        ///< of all of them
    std::uint64_t connections = 0;  ///< of all of them
};

[[nodiscard]] Broker& weighted_random(const Candidates& candidates, Random& random);
/// Smooth weighted round robin as nginx has it; `move` says whether the turn is taken or only looked at.
[[nodiscard]] Broker& round_robin(std::span<Broker*> brokers, bool move);
/// The smallest connections / share; among equals smooth weighted round robin, so that an idle pool is
/// spread.
[[nodiscard]] Broker& least_connections(const Candidates& candidates, bool move);
/// Two different brokers drawn by share; the smaller connections / share of both, the first drawn on a tie.
[[nodiscard]] Broker& power_of_two(const Candidates& candidates, Random& random);

struct Placement {
    Broker& broker;
    bool overflow = false;  ///< the key's first broker was full
};
/// The first broker in the key's own order that has room.
[[nodiscard]] Placement place(const Candidates& candidates, std::uint64_t key, double bounded_load);
/// One more connection keeps the broker at or below ceil(bounded_load * fair share of all connections).
[[nodiscard]] bool has_room(const Broker& broker, const Candidates& candidates, double bounded_load);

}  // namespace limpet::balancer
