// SPDX-License-Identifier: Apache-2.0
// Weighted rendezvous hashing (highest random weight, with -w / ln u): every key ranks every broker on its
// own, so a broker that leaves gives up only its own keys, and one that joins takes only what it wins.
//
// Integers only: two gateways must rank alike whatever their libm, their compiler or their processor, and a
// BPF program could do the same sums.
#pragma once

#include <cstdint>
#include <string_view>

#include "balancer/siphash.h"

namespace limpet::balancer {

/// Larger weights count as this one, so that the products below fit into 64 bits (38 + 24 bits).
inline constexpr std::uint32_t max_weight = 1U << 24;

/// Position of a broker's name or of a client's key. The seed is fixed on purpose, unlike that of hash_key():
/// it is the same in every gateway and after every restart. Changing it moves every client.
[[nodiscard]] inline std::uint64_t placement_hash(std::string_view text) {
    return siphash({0x656372616c706d69ULL, 0x6c74657270656d69ULL}, text);
}

/// -log2(u / 2^64) with 32 bits behind the point, always above 0; never grows with u.
[[nodiscard]] std::uint64_t exponential(std::uint64_t uniform);

/// How a key sees a broker.
struct Rank {
    std::uint64_t uniform = 0;
    std::uint64_t cost = 0;  ///< exponential(uniform)
    std::uint32_t weight = 0;
    std::uint64_t broker = 0;  ///< placement_hash() of its name

    [[nodiscard]] static Rank of(std::uint64_t key, std::uint64_t broker, std::uint32_t weight) {
        const auto uniform = mix(key ^ broker);
        return {uniform, exponential(uniform), weight, broker};
    }
    /// The broker with the smallest cost / weight comes first; what ties is told apart by the finer number,
    /// never by the order in the configuration.
    [[nodiscard]] bool before(const Rank& other) const {
        const auto mine = cost * other.weight;
        const auto theirs = other.cost * weight;
        if (mine != theirs) return mine < theirs;
        return uniform != other.uniform ? uniform > other.uniform : broker < other.broker;
    }
};

}  // namespace limpet::balancer
