// SPDX-License-Identifier: Apache-2.0
// What speaks on a port of MQTT when it is not MQTT.
#pragma once

#include <string>

#include "mqtt/packet.h"

namespace limpet::mqtt {

/// What the first bytes of a stream say. Complete: it may be a CONNECT, go on. Incomplete: it cannot be one,
/// but a byte or two more will name what it is (never more than eight in all). Invalid: named, or no name
/// fits.
struct FirstBytes {
    Status status = Status::incomplete;
    Reason reason = LIMPET_REASON_NONE;
    std::string detail;
};
[[nodiscard]] FirstBytes judge_first_bytes(Bytes bytes);

/// "PUBLISH" for 3 and so on (MQTT-5.0 2.1.2).
[[nodiscard]] std::string_view packet_type_name(std::uint8_t type);

}  // namespace limpet::mqtt
