// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace limpet::dataplane {

/// What a device's driver says of its XDP, asked from the kernel's "netdev" netlink family (kernel 6.3 and
/// newer), so that nothing has to be attached to find out: attaching resets the queues of some devices.
struct DeviceXdp {
    bool native = false;    ///< programs run in the driver
    bool redirect = false;  ///< and may redirect
    bool transmit = false;  ///< frames may be redirected to it
};
/// Nothing where the kernel does not know the family.
[[nodiscard]] std::optional<DeviceXdp> device_xdp(unsigned interface_index);

}  // namespace limpet::dataplane
