// SPDX-License-Identifier: Apache-2.0
// Bytes that a session keeps until CONNACK has come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mqtt/packet.h"

namespace limpet::session {

/// Bytes kept of a client beyond its CONNECT until CONNACK; then it is read no more for a while.
inline constexpr std::size_t most_behind_connect = 64 * 1024;

inline mqtt::Bytes view(const std::vector<std::uint8_t>& bytes) {
    return {bytes.data(), bytes.size()};
}

}  // namespace limpet::session
