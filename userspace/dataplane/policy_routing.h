// SPDX-License-Identifier: Apache-2.0
// What transparent pools ask of the host's routing: packets that carry LIMPET_MARK_TRANSPARENT are for
// sockets of this host, whatever their destination says. For each IP version one rule and one route, as if by
//     ip rule add priority 1883 fwmark 0x4c494d52 lookup 18830
//     ip route add local default dev lo table 18830
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "dataplane/dataplane.h"

namespace limpet::dataplane {

/// Numbers of our own, in both IP versions (docs/CONFIGURATION.md).
inline constexpr std::uint32_t policy_priority = 1883;
inline constexpr std::uint32_t policy_table = 18830;

/// Adds what is missing of rule and route; true: something was. Needs CAP_NET_ADMIN.
[[nodiscard]] Result<bool> add_policy(Families families);
/// Whether a rule of ours is there, of either IP version. Fails where the kernel has no policy routing.
[[nodiscard]] Result<bool> policy_rules();
/// Removes rules and routes of both IP versions; not there is as good.
void remove_policy();

/// What keeps the answers of brokers that come in by this interface from a transparent pool's sockets; empty:
/// nothing that is known.
[[nodiscard]] std::string policy_obstacle(const std::string& interface);
/// What a transparent pool asks of the network because of how this interface is set up; empty: no more than
/// anywhere.
[[nodiscard]] std::string policy_condition(const std::string& interface);

}  // namespace limpet::dataplane
