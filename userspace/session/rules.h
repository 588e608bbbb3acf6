// SPDX-License-Identifier: Apache-2.0
// Who may connect, and to which pool: the first rule that fits a CONNECT decides.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.h"
#include "base/network.h"
#include "mqtt/packet.h"

namespace limpet::session {

/// What a rule says of the clients that it is for. What is empty says nothing; all that is said must be true.
struct Conditions {
    std::vector<Network> sources;         ///< the client is in one of them
    std::vector<std::string> client_ids;  ///< patterns, of which one fits
    std::vector<std::string> usernames;   ///< the same; a client without a user name has an empty one
    std::vector<mqtt::Version> versions;
    /// The keep-alive is below the one or above the other; 0, which is none, is above everything.
    std::optional<std::chrono::seconds> keep_alive_below;
    std::optional<std::chrono::seconds> keep_alive_above;
};

/// Whether a text is what a pattern says: * stands for any text, ? for any byte, and \ takes their meaning
/// away.
[[nodiscard]] bool fits(std::string_view pattern, std::string_view text);
[[nodiscard]] bool fits(const Conditions& conditions, const mqtt::Connect& connect, const IpAddress& source);

}  // namespace limpet::session
