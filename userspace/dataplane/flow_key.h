// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limpet/flow_abi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/endpoint.h"

namespace limpet::dataplane {

/// The tuple of a packet as it arrives: the key of a flow entry, either family.
struct FlowKey {
    std::uint8_t family = 4;
    std::array<std::uint8_t, 40> bytes{};  ///< limpet_key4 or limpet_key6, zero padded

    [[nodiscard]] static FlowKey make(const Endpoint& source, const Endpoint& destination);
    [[nodiscard]] Endpoint source() const;
    [[nodiscard]] Endpoint destination() const;

    bool operator==(const FlowKey&) const = default;
};

/// One direction's entry, either family, as it lies in its map.
struct FlowEntry {
    std::uint8_t family = 4;
    limpet_flow flow{};
    Endpoint source;  ///< of packets as they leave
    Endpoint destination;
    std::array<std::uint8_t, LIMPET_ID_PART6> id_part{};

    [[nodiscard]] static FlowEntry from(const limpet_flow4& value);
    [[nodiscard]] static FlowEntry from(const limpet_flow6& value);
    /// The key of the other direction; only of entries that were ACTIVE.
    [[nodiscard]] FlowKey peer_key() const { return FlowKey::make(destination, source); }
    [[nodiscard]] bool is_client_leg() const { return (flow.flags & LIMPET_FLOW_CLIENT_LEG) != 0; }
    [[nodiscard]] bool is_spliced() const {
        return flow.state == LIMPET_STATE_ACTIVE || flow.state == LIMPET_STATE_CLOSING;
    }
};

/// How much of a client id an entry of each leg holds.
[[nodiscard]] std::size_t id_part_size(std::uint8_t family);

/// The coarse clock of the data path.
[[nodiscard]] std::uint32_t tick_now();
/// Ticks from a generation to `now`; none where a life that followed on a very short one is a tick ahead.
[[nodiscard]] constexpr std::uint32_t ticks_since(std::uint32_t generation, std::uint32_t now) {
    const auto ticks = now - generation;
    return ticks > UINT32_MAX / 2 ? 0 : ticks;
}
inline constexpr std::uint64_t nanoseconds_per_tick = 1ULL << LIMPET_TICK_SHIFT;

}  // namespace limpet::dataplane

template <>
struct std::hash<limpet::dataplane::FlowKey> {
    std::size_t operator()(const limpet::dataplane::FlowKey& key) const noexcept;
};
