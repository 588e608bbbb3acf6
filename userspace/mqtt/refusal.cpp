// SPDX-License-Identifier: Apache-2.0
#include "mqtt/packet.h"

namespace limpet::mqtt {
namespace {

/// The word of each version for one refusal; 0 (which would mean "accepted") where 3.x has none.
struct Words {
    std::uint8_t return_code;  // MQTT-3.1.1 3.2.2.3 table 3.1
    std::uint8_t reason_code;  // MQTT-5.0 3.2.2.2 table 3-1
};

Words words_of(Refusal refusal) {
    switch (refusal) {
        case Refusal::server_unavailable:
            return {3, 0x88};
        case Refusal::server_busy:
            return {3, 0x89};
        case Refusal::quota_exceeded:
            return {3, 0x97};
        case Refusal::rate_exceeded:
            return {3, 0x9F};
        case Refusal::use_another_server:
            return {3, 0x9C};
        case Refusal::malformed:
            return {0, 0x81};
        case Refusal::unsupported_version:
            return {1, 0x84};
        case Refusal::client_id_rejected:
            return {2, 0x85};
        case Refusal::packet_too_large:
            return {0, 0x95};
        case Refusal::bad_user_name:
            return {4, 0x86};
        case Refusal::not_authorized:
            return {5, 0x87};
        case Refusal::banned:
            return {5, 0x8A};
    }
    return {0, 0x80};
}

}  // namespace

std::vector<std::uint8_t> write_disconnect(std::uint8_t reason_code) {
    constexpr std::uint8_t disconnect = 0xE0;
    return {disconnect, 1, reason_code};  // no properties (MQTT-5.0 3.14.2.2.1)
}

std::vector<std::uint8_t> write_refusal(Refusal refusal, Version version) {
    const auto [return_code, reason_code] = words_of(refusal);
    // Session present is 0 in every refusal (MQTT-3.2.2-4, MQTT-5.0 MQTT-3.2.2-6).
    Connack connack;
    connack.code = version == Version::v5 ? reason_code : return_code;
    if (connack.code == 0) return {};
    return write_connack(connack, version);
}

}  // namespace limpet::mqtt
