// SPDX-License-Identifier: Apache-2.0
// What CONNECT and CONNACK agreed on, as far as a balancer needs it.
#pragma once

#include <chrono>
#include <string_view>

#include "mqtt/packet.h"

namespace limpet::session {

/// The client's session never expires.
inline constexpr std::chrono::seconds for_ever = std::chrono::seconds::max();

/// How long the client's session outlives its connection; `for_ever` where it has no end.
[[nodiscard]] std::chrono::seconds session_lifetime(const mqtt::Connect& connect,
                                                    const mqtt::Connack& connack);
/// Silence of the client after which the connection is dead; `without_keep_alive` where it promised nothing.
[[nodiscard]] std::chrono::seconds idle_timeout(const mqtt::Connect& connect, const mqtt::Connack& connack,
                                                std::chrono::seconds without_keep_alive);
/// The id that the client goes by: its own, or the one that the broker assigned.
[[nodiscard]] std::string_view client_id(const mqtt::Connect& connect, const mqtt::Connack& connack);

/// A lifetime as flow entries hold it: seconds, ~0 for ever.
[[nodiscard]] std::uint32_t stick_seconds(std::chrono::seconds lifetime);
[[nodiscard]] std::chrono::seconds stick_lifetime(std::uint32_t stick_seconds);

}  // namespace limpet::session
