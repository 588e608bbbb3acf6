// SPDX-License-Identifier: Apache-2.0
#include "balancer/strategies.h"

#include <algorithm>

#include "balancer/rendezvous.h"

namespace limpet::balancer {
namespace {

__extension__ typedef unsigned __int128 Wide;

/// Compares connections / share without dividing.
bool less_loaded(const Broker& left, const Broker& right) {
    return left.connections * right.share() < right.connections * left.share();
}

/// The broker that `ticket`, below the sum of the shares, belongs to; `without` takes no part.
Broker& at_ticket(std::span<Broker*> brokers, std::uint64_t ticket, const Broker* without = nullptr) {
    Broker* last = brokers.front();
    for (Broker* broker : brokers) {
        if (broker == without) continue;
        last = broker;
        if (ticket < broker->share()) break;
        ticket -= broker->share();
    }
    return *last;
}

}  // namespace

std::uint64_t Random::below(std::uint64_t bound) {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    value ^= value >> 31;
    // multiply and take the upper half: a bias below bound / 2^64, and no division
    return static_cast<std::uint64_t>((Wide{value} * bound) >> 64);
}

Broker& weighted_random(const Candidates& candidates, Random& random) {
    return at_ticket(candidates.brokers, random.below(candidates.share));
}

Broker& round_robin(std::span<Broker*> brokers, bool move) {
    Broker* best = brokers.front();
    std::int64_t sum = 0;
    const auto share = [](const Broker& broker) { return static_cast<std::int64_t>(broker.share()); };
    for (Broker* broker : brokers) {
        sum += share(*broker);
        if (broker->current + share(*broker) > best->current + share(*best)) best = broker;
    }
    if (move) {
        for (Broker* broker : brokers) broker->current += share(*broker);
        best->current -= sum;
    }
    return *best;
}

Broker& least_connections(const Candidates& candidates, bool move) {
    const auto brokers = candidates.brokers;
    const Broker* least = brokers.front();
    for (const Broker* broker : brokers)
        if (less_loaded(*broker, *least)) least = broker;
    // not std::partition: the order of the equals decides their turns
    std::size_t equals = 0;
    for (std::size_t i = 0; i < brokers.size(); ++i)
        if (!less_loaded(*least, *brokers[i])) std::swap(brokers[equals++], brokers[i]);
    return round_robin(brokers.first(equals), move);
}

Broker& power_of_two(const Candidates& candidates, Random& random) {
    Broker& first = weighted_random(candidates, random);
    if (candidates.brokers.size() == 1) return first;
    Broker& second = at_ticket(candidates.brokers, random.below(candidates.share - first.share()), &first);
    return less_loaded(second, first) ? second : first;
}

bool has_room(const Broker& broker, const Candidates& candidates, double bounded_load) {
    // connections + 1 <= ceil(share) is the same as connections < share
    const auto share = bounded_load * static_cast<double>(candidates.connections + 1) *
                       static_cast<double>(broker.share()) / static_cast<double>(candidates.share);
    return static_cast<double>(broker.connections) < share;
}

Placement place(const Candidates& candidates, std::uint64_t key, double bounded_load) {
    Broker* first = nullptr;
    Broker* roomy = nullptr;
    Rank first_rank;
    Rank roomy_rank;
    for (Broker* broker : candidates.brokers) {
        const auto rank = Rank::of(key, broker->placement, broker->weight);
        if (!first || rank.before(first_rank)) first = broker, first_rank = rank;
        if ((!roomy || rank.before(roomy_rank)) && has_room(*broker, candidates, bounded_load))
            roomy = broker, roomy_rank = rank;
    }
    // The shares add up to more than all connections, so somebody always has room.
    if (!roomy) roomy = first;
    return {*roomy, roomy != first};
}

}  // namespace limpet::balancer
