// SPDX-License-Identifier: Apache-2.0
// CONNECT and CONNACK as values. Bytes in, values out: no sockets, no clocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/reason.h"

namespace limpet::mqtt {

using limpet::Bytes;
using limpet::Status;

/// MQTT's own protocol levels (MQTT-3.1.1 3.1.2.2, MQTT-5.0 3.1.2.2).
enum class Version : std::uint8_t { v31 = 3, v311 = 4, v5 = 5 };

/// Properties of MQTT 5 (MQTT-5.0 2.2.2); only those that CONNECT, its will and CONNACK may carry.
struct Properties {
    std::optional<std::uint32_t> session_expiry_interval;              // 0x11
    std::optional<std::uint16_t> receive_maximum;                      // 0x21
    std::optional<std::uint32_t> maximum_packet_size;                  // 0x27
    std::optional<std::uint16_t> topic_alias_maximum;                  // 0x22
    std::optional<std::uint8_t> request_response_information;          // 0x19
    std::optional<std::uint8_t> request_problem_information;           // 0x17
    std::optional<std::string> authentication_method;                  // 0x15
    std::optional<std::vector<std::uint8_t>> authentication_data;      // 0x16
    std::vector<std::pair<std::string, std::string>> user_properties;  // 0x26
    // will
    std::optional<std::uint32_t> will_delay_interval;           // 0x18
    std::optional<std::uint8_t> payload_format_indicator;       // 0x01
    std::optional<std::uint32_t> message_expiry_interval;       // 0x02
    std::optional<std::string> content_type;                    // 0x03
    std::optional<std::string> response_topic;                  // 0x08
    std::optional<std::vector<std::uint8_t>> correlation_data;  // 0x09
    // CONNACK
    std::optional<std::string> assigned_client_identifier;          // 0x12
    std::optional<std::uint16_t> server_keep_alive;                 // 0x13
    std::optional<std::string> response_information;                // 0x1A
    std::optional<std::string> server_reference;                    // 0x1C
    std::optional<std::string> reason_string;                       // 0x1F
    std::optional<std::uint8_t> maximum_qos;                        // 0x24
    std::optional<std::uint8_t> retain_available;                   // 0x25
    std::optional<std::uint8_t> wildcard_subscription_available;    // 0x28
    std::optional<std::uint8_t> subscription_identifier_available;  // 0x29
    std::optional<std::uint8_t> shared_subscription_available;      // 0x2A

    bool operator==(const Properties&) const = default;
};

struct Will {
    std::string topic;
    std::vector<std::uint8_t> payload;
    std::uint8_t qos = 0;
    bool retain = false;
    Properties properties;  // MQTT 5

    bool operator==(const Will&) const = default;
};

struct Connect {
    Version version = Version::v311;
    bool bridge = false;           ///< bit 0x80 of the level, as mosquitto's bridges set it
    bool clean_start = true;       ///< "clean session" before MQTT 5
    std::uint16_t keep_alive = 0;  ///< seconds, 0: none
    std::string client_id;         ///< byte-exact, may be empty
    std::optional<Will> will;
    std::optional<std::string> user_name;
    std::optional<std::vector<std::uint8_t>> password;
    Properties properties;  // MQTT 5

    bool operator==(const Connect&) const = default;
};

struct Connack {
    bool session_present = false;
    std::uint8_t code = 0;  ///< return code (3.x) or reason code (5)
    Properties properties;  // MQTT 5

    bool operator==(const Connack&) const = default;
};

/// Outcome of reading a prefix of a stream. `consumed` is the length of the packet when complete (bytes
/// behind it are the caller's). `reason` and `detail` say why a prefix is invalid; `version` is known from
/// the moment the protocol name and level were read, so that a refusal can be written in the client's words.
template <class Packet>
struct Parsed {
    Status status = Status::incomplete;
    Reason reason = LIMPET_REASON_NONE;
    std::string detail;
    std::size_t consumed = 0;
    std::optional<Version> version;
    Packet packet;
};

/// Reads a CONNECT from the beginning of `bytes`. Stateless: call again with all bytes when more have come;
/// as long as the packet is not whole a call costs O(1), however long the prefix is. `maximum_size` bounds
/// the whole packet, header included (reason CLOSE_TOO_LARGE). Wrong first bytes are named (CLOSE_TLS,
/// CLOSE_HTTP …).
[[nodiscard]] Parsed<Connect> parse_connect(Bytes bytes, std::size_t maximum_size);

/// Reads a CONNACK of the given version (MQTT-3.1.1 3.2, MQTT-5.0 3.2).
[[nodiscard]] Parsed<Connack> parse_connack(Bytes bytes, Version version);

/// The type (1 to 15) and whole length of the packet at the beginning of `bytes`, for those that are only
/// passed on (AUTH before CONNACK). Not complete until the fixed header is whole; never looks behind it.
struct Frame {
    Status status = Status::incomplete;
    std::uint8_t type = 0;
    std::size_t length = 0;  ///< fixed header included
};
[[nodiscard]] Frame parse_frame(Bytes bytes);

/// Writes packets; what parse_* reads back is equal.
[[nodiscard]] std::vector<std::uint8_t> write_connect(const Connect& connect);
[[nodiscard]] std::vector<std::uint8_t> write_connack(const Connack& connack, Version version);

/// DISCONNECT of MQTT 5, from the server (MQTT-5.0 3.14); earlier versions have none.
[[nodiscard]] std::vector<std::uint8_t> write_disconnect(std::uint8_t reason_code);
inline constexpr std::uint8_t disconnect_server_shutting_down = 0x8B;
inline constexpr std::uint8_t disconnect_use_another_server = 0x9C;

/// Why Limpet itself refuses a client, in each version's own words.
enum class Refusal {
    server_unavailable,   // 3.x code 3, 5: 0x88
    server_busy,          // 3.x code 3, 5: 0x89
    quota_exceeded,       // 3.x code 3, 5: 0x97
    rate_exceeded,        // 3.x code 3, 5: 0x9F
    use_another_server,   // 3.x code 3, 5: 0x9C
    malformed,            // 3.x: none (close), 5: 0x81
    unsupported_version,  // 3.x code 1, 5: 0x84
    client_id_rejected,   // 3.x code 2, 5: 0x85
    packet_too_large,     // 3.x: none (close), 5: 0x95
    bad_user_name,        // 3.x code 4, 5: 0x86
    not_authorized,       // 3.x code 5, 5: 0x87
    banned,               // 3.x code 5, 5: 0x8A
};
/// A whole CONNACK, or nothing where the version has no word for it and the connection is just closed.
[[nodiscard]] std::vector<std::uint8_t> write_refusal(Refusal refusal, Version version);

}  // namespace limpet::mqtt
