// SPDX-License-Identifier: Apache-2.0
#include "session/terms.h"

#include <algorithm>
#include <limits>

namespace limpet::session {
namespace {

constexpr std::uint32_t endless = std::numeric_limits<std::uint32_t>::max();

// A broker drops a client after 1.5 times its keep-alive (MQTT-5.0 3.1.2.10). The margin on top keeps us from
// being first: the broker then ends the connection with its own words and its will, and we only follow; it
// covers a timer of the broker that is coarse and a last packet that is retransmitted for some seconds.
constexpr std::chrono::seconds margin{10};

}  // namespace

std::chrono::seconds session_lifetime(const mqtt::Connect& connect, const mqtt::Connack& connack) {
    if (connect.version != mqtt::Version::v5)
        return connect.clean_start ? std::chrono::seconds{0} : for_ever;  // MQTT-3.1.1 3.1.2.4
    // The server's value overrides the client's; absent is 0 (MQTT-5.0 3.1.2.11.2, 3.2.2.3.2).
    auto interval = connack.properties.session_expiry_interval;
    if (!interval) interval = connect.properties.session_expiry_interval;
    return stick_lifetime(interval.value_or(0));
}

std::chrono::seconds idle_timeout(const mqtt::Connect& connect, const mqtt::Connack& connack,
                                  std::chrono::seconds without_keep_alive) {
    const auto server = connack.properties.server_keep_alive;  // MQTT-5.0 3.2.2.3.14
    const std::uint32_t keep_alive = server ? *server : connect.keep_alive;
    if (keep_alive == 0) return without_keep_alive;
    return std::chrono::seconds{keep_alive + (keep_alive + 1) / 2} + margin;
}

std::string_view client_id(const mqtt::Connect& connect, const mqtt::Connack& connack) {
    if (!connect.client_id.empty() || !connack.properties.assigned_client_identifier)
        return connect.client_id;
    return *connack.properties.assigned_client_identifier;
}

std::uint32_t stick_seconds(std::chrono::seconds lifetime) {
    if (lifetime == for_ever) return endless;
    const auto bounded = std::clamp<std::chrono::seconds::rep>(lifetime.count(), 0, endless - 1);
    return static_cast<std::uint32_t>(bounded);
}

std::chrono::seconds stick_lifetime(std::uint32_t stick_seconds) {
    return stick_seconds == endless ? for_ever : std::chrono::seconds{stick_seconds};
}

}  // namespace limpet::session
