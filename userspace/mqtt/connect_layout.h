// SPDX-License-Identifier: Apache-2.0
// Where the fields of a CONNECT are. It looks at the fixed header, the protocol name, the level, the flags
// and the length of each field, never at what a field holds: a dozen steps, however long the packet is, and
// however little of it has come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "mqtt/packet.h"

namespace limpet::mqtt {

// Connect flags (MQTT-5.0 3.1.2.3).
inline constexpr std::uint8_t flag_reserved = 0x01;
inline constexpr std::uint8_t flag_clean_start = 0x02;
inline constexpr std::uint8_t flag_will = 0x04;
inline constexpr std::uint8_t flag_will_qos = 0x18;
inline constexpr std::uint8_t flag_will_retain = 0x20;
inline constexpr std::uint8_t flag_password = 0x40;
inline constexpr std::uint8_t flag_user_name = 0x80;
inline constexpr unsigned will_qos_shift = 3;

/// Bit of the protocol level that mosquitto's bridges set.
inline constexpr std::uint8_t bridge_bit = 0x80;

struct Slice {
    std::size_t offset = 0;
    std::size_t length = 0;
};

struct ConnectLayout {
    Status status = Status::incomplete;
    Reason reason = LIMPET_REASON_NONE;      ///< why it is invalid
    std::string detail;                      ///< the same in words
    std::optional<Version> refusal_version;  ///< once name and level were read, or a wrong name was seen

    std::size_t end = 0;  ///< of the packet, fixed header included
    Version version = Version::v311;
    bool bridge = false;
    std::uint8_t flags = 0;
    std::uint16_t keep_alive = 0;
    Slice properties;
    Slice client_id;
    Slice will_properties;
    Slice will_topic;
    Slice will_payload;
    std::optional<Slice> user_name;
    std::optional<Slice> password;
};

/// Complete when the whole packet is there and every field fits. What a prefix is judged, more bytes do not
/// change: the checks run in the order of the bytes, and the first that fails decides.
[[nodiscard]] ConnectLayout lay_out_connect(Bytes bytes, std::size_t maximum_size);

/// "MQIsdp" or "MQTT".
[[nodiscard]] std::string_view protocol_name(Version version);

}  // namespace limpet::mqtt
