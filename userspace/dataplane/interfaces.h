// SPDX-License-Identifier: Apache-2.0
// What is known of the host's network interfaces and addresses.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"

namespace limpet::dataplane {

struct Interface {
    std::string name;
    unsigned index = 0;
    std::string driver;  ///< "veth", "virtio_net", …; empty where it does not say
    bool ethernet = false;
    bool up = false;
    bool forwarding = false;  ///< net.ipv4.conf.NAME.forwarding
};

/// Every interface that has an address, loopback left out.
[[nodiscard]] std::vector<Interface> addressed_interfaces();
[[nodiscard]] Result<Interface> find_interface(const std::string& name);
/// net.ipv6.conf.all.forwarding, which alone decides for IPv6; true where there is no IPv6.
[[nodiscard]] bool forwards_ipv6();
/// The host's own addresses.
[[nodiscard]] std::vector<IpAddress> own_addresses();

/// Where the host would send a packet to `destination`: its own address and the interface, as the routing
/// table answers (RTM_GETROUTE). No packet is sent.
struct Route {
    IpAddress source;
    unsigned interface_index = 0;
};
[[nodiscard]] Result<Route> route_to(const IpAddress& destination);

}  // namespace limpet::dataplane
