// SPDX-License-Identifier: Apache-2.0
// A pseudo-random byte stream that can be asked for any position: both ends make the same bytes, and a byte
// that is out of place can be told from one that is broken.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

namespace load {

/// SplitMix64 (Steele, Lea, Flood 2014): a word of 64 good bits for each counter value.
inline std::uint64_t mix(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

class Stream {
  public:
    Stream() = default;
    Stream(std::uint64_t seed, std::uint64_t connection, bool from_client)
        : key_(mix(mix(seed) ^ mix(connection * 2 + (from_client ? 1 : 0)))) {}

    void fill(std::uint64_t position, std::span<char> out) const {
        std::size_t done = 0;
        while (done < out.size()) {
            const std::uint64_t word = mix(key_ + (position + done) / 8);
            const auto skip = static_cast<std::size_t>((position + done) % 8);
            const std::size_t take = std::min(out.size() - done, 8 - skip);
            std::memcpy(out.data() + done, reinterpret_cast<const char*>(&word) + skip, take);
            done += take;
        }
    }

    /// What is wrong with bytes that arrived as if from `position`; nothing when they are right.
    [[nodiscard]] std::optional<std::string> wrong(std::uint64_t position,
                                                   std::span<const char> bytes) const {
        char expected[65536];
        for (std::size_t done = 0; done < bytes.size();) {
            const std::size_t take = std::min(bytes.size() - done, sizeof expected);
            fill(position + done, {expected, take});
            if (std::memcmp(expected, bytes.data() + done, take) != 0) {
                std::size_t at = done;
                while (bytes[at] == expected[at - done]) ++at;
                return "byte " + std::to_string(position + at) + where(position + at, bytes.subspan(at));
            }
            done += take;
        }
        return std::nullopt;
    }

  private:
    /// Bytes that belong elsewhere in the stream say what was lost or doubled.
    [[nodiscard]] std::string where(std::uint64_t position, std::span<const char> bytes) const {
        if (bytes.size() < 8) return " differs";
        constexpr std::uint64_t reach = 1u << 20;
        const std::uint64_t begin = position > reach ? position - reach : 0;
        for (std::uint64_t at = begin; at < position + reach; ++at) {
            char expected[8];
            fill(at, expected);
            if (std::memcmp(expected, bytes.data(), sizeof expected) != 0) continue;
            if (at > position) return ": " + std::to_string(at - position) + " bytes were lost";
            return ": " + std::to_string(position - at) + " bytes came twice";
        }
        return ": a byte of another stream or none";
    }

    std::uint64_t key_ = 0;
};

}  // namespace load
