// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace limpet::balancer {

/// The 128-bit key of SipHash, as its two little-endian halves.
struct SipKey {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
};

/// SipHash-2-4 with 64 bits of output (Aumasson and Bernstein, 2012): without the key nobody can make
/// client ids that collide.
[[nodiscard]] std::uint64_t siphash(SipKey key, std::string_view text);

/// A bijection of 64 bits in which every output bit depends on every input bit (the finalizer of
/// MurmurHash3).
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdULL;
    value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return value ^ (value >> 33);
}

}  // namespace limpet::balancer
