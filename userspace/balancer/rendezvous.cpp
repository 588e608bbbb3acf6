// SPDX-License-Identifier: Apache-2.0
#include "balancer/rendezvous.h"

#include <array>
#include <bit>
#include <cstddef>

namespace limpet::balancer {
namespace {

__extension__ typedef unsigned __int128 Wide;

constexpr unsigned table_bits = 9;
constexpr std::size_t table_size = std::size_t{1} << table_bits;

/// log2 of a number in [1, 2) given with 63 bits behind the point; the result has 32. Each squaring doubles
/// the logarithm, so the bit that appears before the point is its next digit.
constexpr std::uint64_t log2_of(std::uint64_t number) {
    std::uint64_t digits = 0;
    for (int i = 0; i < 32; ++i) {
        const Wide square = (Wide{number} * number) >> 63;
        const bool two_or_more = (square >> 64) != 0;
        digits = (digits << 1) | (two_or_more ? 1U : 0U);
        number = static_cast<std::uint64_t>(two_or_more ? square >> 1 : square);
    }
    return digits;
}

/// log2(1 + i / 512). Between two entries a straight line is off by less than one part in a million.
constexpr auto logarithms = [] {
    std::array<std::uint64_t, table_size + 1> table{};
    for (std::size_t i = 0; i < table_size; ++i)
        table[i] = log2_of((std::uint64_t{1} << 63) + (std::uint64_t{i} << (63 - table_bits)));
    table[table_size] = std::uint64_t{1} << 32;
    return table;
}();

}  // namespace

std::uint64_t exponential(std::uint64_t uniform) {
    if (uniform == 0) uniform = 1;
    const auto zeros = static_cast<unsigned>(std::countl_zero(uniform));
    const std::uint64_t fraction = uniform << zeros << 1;
    const auto index = static_cast<std::size_t>(fraction >> (64 - table_bits));
    const std::uint64_t rest = (fraction << table_bits) >> 32;
    const auto step = logarithms[index + 1] - logarithms[index];
    return (std::uint64_t{zeros + 1} << 32) - logarithms[index] - ((step * rest) >> 32);
}

}  // namespace limpet::balancer
