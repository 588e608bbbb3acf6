// SPDX-License-Identifier: Apache-2.0
// Bytes laid out by hand, for the tests of the codecs: they do not believe the writers that they test.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace limpet::codec {

using Buffer = std::vector<std::uint8_t>;

inline Buffer operator+(Buffer left, const Buffer& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

inline Buffer text(std::string_view characters) {
    return {characters.begin(), characters.end()};
}

inline Buffer number16(std::size_t value) {
    return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

/// Reads "0d0a…"; for recorded bytes.
inline Buffer from_hex(std::string_view digits) {
    const auto nibble = [](char digit) {
        return static_cast<unsigned>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    };
    Buffer bytes;
    for (std::size_t at = 0; at + 1 < digits.size(); at += 2)
        bytes.push_back(static_cast<std::uint8_t>(nibble(digits[at]) << 4 | nibble(digits[at + 1])));
    return bytes;
}

inline std::string hex(Bytes bytes) {
    std::string out;
    for (const std::uint8_t byte : bytes.first(bytes.size() < 80 ? bytes.size() : 80)) {
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 15];
    }
    return out;
}

/// Ways to cut `size` bytes: in one piece, in two at every place (of two thousand, if there are many more),
/// one by one, and some at random.
inline std::vector<std::vector<std::size_t>> ways_to_cut(std::size_t size) {
    std::vector<std::vector<std::size_t>> ways{{size}, std::vector<std::size_t>(size, 1)};
    for (std::size_t first = 0; first <= size; first += 1 + size / 2000)
        ways.push_back({first, size - first});
    std::mt19937 random(static_cast<unsigned>(size));
    for (int way = 0; way < 20; ++way) {
        std::vector<std::size_t> pieces;
        for (std::size_t left = size; left > 0; left -= pieces.back())
            pieces.push_back(1 + random() % std::min<std::size_t>(left, 1 + size / 3));
        ways.push_back(pieces);
    }
    return ways;
}

}  // namespace limpet::codec
