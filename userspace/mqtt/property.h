// SPDX-License-Identifier: Apache-2.0
// The properties of MQTT 5 (MQTT-5.0 2.2.2) as one table, from which they are read, written and printed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "mqtt/packet.h"
#include "mqtt/wire.h"

namespace limpet::mqtt {

/// Where properties stand; bits, so that a property can be allowed in several places.
enum Place : std::uint8_t { in_connect = 1, in_will = 2, in_connack = 4 };

/// What a value must keep to beyond its type.
enum class PropertyRule : std::uint8_t { none, boolean, not_zero, topic_name };

using UserProperties = std::vector<std::pair<std::string, std::string>>;

/// The member of Properties that holds a value.
using PropertyMember =
    std::variant<std::optional<std::uint8_t> Properties::*, std::optional<std::uint16_t> Properties::*,
                 std::optional<std::uint32_t> Properties::*, std::optional<std::string> Properties::*,
                 std::optional<std::vector<std::uint8_t>> Properties::*, UserProperties Properties::*>;

struct Property {
    std::uint8_t identifier;
    std::string_view name;  ///< as in the OASIS text, snake_case
    std::uint8_t places;
    PropertyRule rule;
    PropertyMember member;
};

/// Every property that Properties holds, by identifier.
[[nodiscard]] std::span<const Property> property_table();

/// Reads properties (without their length) and judges each: known, allowed here, there once, value in range.
[[nodiscard]] Read<Properties> read_properties(Bytes bytes, Place place);

/// Writes those that are allowed in this place, with their length.
void write_properties(Writer& writer, const Properties& properties, Place place);

}  // namespace limpet::mqtt
