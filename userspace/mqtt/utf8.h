// SPDX-License-Identifier: Apache-2.0
// The text rules of MQTT (MQTT-3.1.1 1.5.3, MQTT-5.0 1.5.4).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/utf8.h"

namespace limpet::mqtt {

using limpet::is_utf8;

/// A UTF-8 Encoded String of MQTT: well-formed and without NUL. A byte order mark is kept, and control
/// characters and noncharacters, which the text only discourages, are left for the broker to judge.
[[nodiscard]] bool is_mqtt_string(std::span<const std::uint8_t> bytes);

/// A Topic Name: at least one character, no wildcard (MQTT-4.7.3-1, MQTT-4.7.1-1; 3.1 says the same).
[[nodiscard]] bool is_topic_name(std::string_view topic);

}  // namespace limpet::mqtt
