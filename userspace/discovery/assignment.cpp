// SPDX-License-Identifier: Apache-2.0
#include "discovery/assignment.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

namespace limpet::discovery {
namespace {

// RFC 2782: a record of weight 0 gets a very small share beside others.
constexpr std::uint32_t weight_scale = 100;

const Found* find_address(const std::vector<Found>& brokers, const IpAddress& address) {
    const auto found =
        std::ranges::find(brokers, address, [](const Found& broker) { return broker.address.address; });
    return found == brokers.end() ? nullptr : &*found;
}

template <class Value>
void sort_unique(std::vector<Value>& values) {
    std::ranges::sort(values);
    values.erase(std::ranges::unique(values).begin(), values.end());
}

std::string without_final_dot(std::string name) {
    if (name.ends_with('.')) name.pop_back();
    return name;
}

/// The address that the broker has, if it is among these or there are none now, or else the lowest.
std::optional<IpAddress> steady_address(const std::vector<IpAddress>& addresses, const std::string& name,
                                        const std::vector<Found>& before) {
    const auto old = std::ranges::find(before, name, &Found::name);
    const bool known = old != before.end();
    if (known && (addresses.empty() || std::ranges::find(addresses, old->address.address) != addresses.end()))
        return old->address.address;
    if (addresses.empty()) return std::nullopt;
    return std::ranges::min(addresses);
}

}  // namespace

std::vector<Found> assign_addresses(const std::string& name, std::uint16_t port,
                                    std::vector<IpAddress> addresses, std::uint32_t weight,
                                    const std::vector<Found>& before) {
    sort_unique(addresses);
    bool plain_taken = false;
    for (const auto& address : addresses)
        if (const auto* old = find_address(before, address)) plain_taken |= old->name == name;
    const bool moved = before.size() == 1 && addresses.size() == 1;
    const bool plain_free = !plain_taken && (before.empty() || moved);
    std::vector<Found> found;
    bool given = false;
    for (const auto& address : addresses) {
        Found broker{name, {address, port}, weight, 0};
        if (const auto* old = find_address(before, address))
            broker.name = old->name;
        else if (!plain_free || std::exchange(given, true))
            broker.name = name + "/" + address.text();
        found.push_back(std::move(broker));
    }
    return found;
}

std::vector<Found> assign_services(const std::string& name, std::vector<Service> services,
                                   const std::vector<Found>& before) {
    for (auto& service : services) service.target = without_final_dot(service.target);
    std::ranges::sort(services, {}, [](const Service& service) {
        return std::tuple(service.priority, service.target, service.port);
    });
    std::vector<Found> found;
    std::set<Endpoint> taken;
    std::optional<std::uint16_t> priority;
    std::uint8_t rank = 0;
    for (const auto& service : services) {
        if (priority && *priority != service.priority && rank < std::numeric_limits<std::uint8_t>::max())
            ++rank;
        priority = service.priority;
        const auto same_target = [&](const Service& other) {
            return other.target == service.target && other.port != service.port;
        };
        Found broker{name + "/" + service.target, {}, 0, rank};
        if (std::ranges::any_of(services, same_target)) broker.name += ":" + std::to_string(service.port);
        const auto address = steady_address(service.addresses, broker.name, before);
        if (!address) continue;
        broker.address = {*address, service.port};
        broker.weight = service.weight == 0 ? 1 : service.weight * weight_scale;
        if (taken.insert(broker.address).second) found.push_back(std::move(broker));
    }
    return found;
}

}  // namespace limpet::discovery
