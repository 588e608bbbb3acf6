// SPDX-License-Identifier: Apache-2.0
// From DNS answers to brokers with names: one whose name stays keeps its clients. Values in, values out: no
// sockets, no clocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/endpoint.h"

namespace limpet::discovery {

/// A broker as discovery sees it.
struct Found {
    std::string name;
    Endpoint address;
    std::uint32_t weight = 1;
    std::uint8_t rank = 0;  ///< of its SRV priority: others only get clients where no lower one is up

    bool operator==(const Found&) const = default;
};

/// One SRV record and the addresses of its target.
struct Service {
    std::string target;
    std::uint16_t port = 0;
    std::uint16_t priority = 0;
    std::uint16_t weight = 0;
    std::vector<IpAddress> addresses;
};

/// The brokers of `name` at these addresses. An address that `before` had keeps its broker's name. A name
/// with one address is one broker of that name, wherever the address moves; further addresses are
/// `name/ADDRESS`.
[[nodiscard]] std::vector<Found> assign_addresses(const std::string& name, std::uint16_t port,
                                                  std::vector<IpAddress> addresses, std::uint32_t weight,
                                                  const std::vector<Found>& before);

/// The brokers of SRV records: `name/TARGET`, or `name/TARGET:PORT` where a target has several ports. A
/// target is one broker: of several addresses the one that it had before, or the lowest. A target without an
/// address keeps the one that it had; one that never had any is left out.
[[nodiscard]] std::vector<Found> assign_services(const std::string& name, std::vector<Service> services,
                                                 const std::vector<Found>& before);

}  // namespace limpet::discovery
