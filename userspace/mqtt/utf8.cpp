// SPDX-License-Identifier: Apache-2.0
#include "mqtt/utf8.h"

#include <algorithm>

namespace limpet::mqtt {

bool is_mqtt_string(std::span<const std::uint8_t> bytes) {
    return std::ranges::find(bytes, std::uint8_t{0}) == bytes.end() && is_utf8(bytes);
}

bool is_topic_name(std::string_view topic) {
    return !topic.empty() && topic.find_first_of("+#") == std::string_view::npos;
}

}  // namespace limpet::mqtt
