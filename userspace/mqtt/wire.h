// SPDX-License-Identifier: Apache-2.0
// How MQTT lays numbers, strings and binary data into bytes (MQTT-5.0 1.5); inside this room only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "mqtt/packet.h"

namespace limpet::mqtt {

/// The largest variable byte integer, four bytes of seven bits (MQTT-5.0 1.5.5).
inline constexpr std::size_t largest_variable_integer = 268'435'455;
inline constexpr std::size_t longest_variable_integer = 4;
/// Strings and binary data carry a length of two bytes.
inline constexpr std::size_t longest_field = 65'535;

/// What is wrong with a field, in words for people.
using Malformed = std::unexpected<std::string>;
template <class T>
using Read = std::expected<T, std::string>;

/// A variable byte integer at the beginning of some bytes. Invalid as soon as the fourth byte announces a
/// fifth one; incomplete right behind any other continuation byte.
struct VariableInteger {
    Status status = Status::incomplete;
    std::uint32_t value = 0;
    std::size_t length = 0;
    bool shortest = true;  ///< MQTT-1.5.5-1: MQTT 5 allows no other form, 3.x has no such rule
};

[[nodiscard]] constexpr VariableInteger read_variable_integer(Bytes bytes) {
    VariableInteger read;
    for (std::size_t at = 0; at < std::min(bytes.size(), longest_variable_integer); ++at) {
        read.value |= static_cast<std::uint32_t>(bytes[at] & 0x7F) << (7 * at);
        if ((bytes[at] & 0x80) != 0) continue;
        read.length = at + 1;
        read.shortest = at == 0 || bytes[at] != 0;
        read.status = Status::complete;
        return read;
    }
    if (bytes.size() >= longest_variable_integer) read.status = Status::invalid;
    return read;
}

/// Reads fields from bytes that have all arrived.
class Reader {
  public:
    explicit Reader(Bytes bytes) : rest_(bytes) {}

    [[nodiscard]] bool at_end() const { return rest_.empty(); }
    [[nodiscard]] Read<std::uint32_t> variable_integer();
    /// A big-endian number of one, two or four bytes.
    template <class Number>
    [[nodiscard]] Read<Number> number();
    [[nodiscard]] Read<std::string> string();
    [[nodiscard]] Read<std::vector<std::uint8_t>> binary();

  private:
    [[nodiscard]] Read<Bytes> field();

    Bytes rest_;
};

template <class Number>
Read<Number> Reader::number() {
    if (rest_.size() < sizeof(Number)) return Malformed("is cut short");
    std::uint32_t value = 0;
    for (const std::uint8_t byte : rest_.first(sizeof(Number))) value = value << 8 | byte;
    rest_ = rest_.subspan(sizeof(Number));
    return static_cast<Number>(value);
}

/// Appends fields. A field that is longer than its length can say makes the whole packet unwritable.
class Writer {
  public:
    void variable_integer(std::size_t value);
    template <class Number>
    void number(Number value) {
        for (std::size_t shift = sizeof(Number) * 8; shift > 0; shift -= 8)
            bytes_.push_back(static_cast<std::uint8_t>(value >> (shift - 8)));
    }
    void string(std::string_view text);
    void binary(Bytes data);
    /// The bytes of another writer behind their length, a variable byte integer.
    void section(const Writer& content);

    /// The packet with this first byte and the written fields behind it, or nothing if it cannot be written.
    [[nodiscard]] std::vector<std::uint8_t> packet(std::uint8_t first_byte) const;

  private:
    std::vector<std::uint8_t> bytes_;
    bool fits_ = true;
};

}  // namespace limpet::mqtt
