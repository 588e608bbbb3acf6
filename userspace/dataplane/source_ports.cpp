// SPDX-License-Identifier: Apache-2.0
#include "dataplane/source_ports.h"

#include <random>

namespace limpet::dataplane {

std::size_t SourcePorts::PathHash::operator()(const Path& path) const noexcept {
    const std::hash<Endpoint> hash;
    return hash(path.broker) * 31 + hash(Endpoint{path.source, 0});
}

SourcePorts::Ports& SourcePorts::ports(const IpAddress& source, const Endpoint& broker) {
    Ports& ports = paths_[Path{source, broker}];
    if (ports.used.empty()) {
        // Not always from the same port on: after a restart the broker may still keep the last ones in
        // TIME_WAIT.
        ports.used.resize(size());
        ports.start = std::random_device{}() % size();
    }
    return ports;
}

std::optional<std::uint16_t> SourcePorts::take(const IpAddress& source, const Endpoint& broker) {
    const std::lock_guard guard(mutex_);
    Ports& own = ports(source, broker);
    std::uint32_t offset = 0;
    // Ports that were never used go first: those that were wait as long as possible.
    while (own.fresh < size() && own.used[(own.start + own.fresh) % size()]) ++own.fresh;
    if (own.fresh < size()) {
        offset = (own.start + own.fresh++) % size();
    } else if (!own.freed.empty()) {
        offset = own.freed.front();
        own.freed.pop_front();
    } else {
        return std::nullopt;
    }
    own.used[offset] = true;
    ++own.count;
    return static_cast<std::uint16_t>(first_ + offset);
}

void SourcePorts::give_back(const IpAddress& source, const Endpoint& broker, std::uint16_t port) {
    if (port < first_ || port > last_) return;
    const std::lock_guard guard(mutex_);
    Ports& own = ports(source, broker);
    const auto offset = static_cast<std::uint32_t>(port - first_);
    if (!own.used[offset]) return;
    own.used[offset] = false;
    --own.count;
    if ((offset + size() - own.start) % size() < own.fresh)
        own.freed.push_back(static_cast<std::uint16_t>(offset));
}

void SourcePorts::adopt(const IpAddress& source, const Endpoint& broker, std::uint16_t port) {
    if (port < first_ || port > last_) return;
    const std::lock_guard guard(mutex_);
    Ports& own = ports(source, broker);
    const auto offset = static_cast<std::size_t>(port - first_);
    if (own.used[offset]) return;
    std::erase(own.freed, static_cast<std::uint16_t>(offset));
    own.used[offset] = true;
    ++own.count;
}

std::size_t SourcePorts::in_use() const {
    const std::lock_guard guard(mutex_);
    std::size_t total = 0;
    for (const auto& [path, own] : paths_) total += own.count;
    return total;
}

std::vector<SourcePorts::Usage> SourcePorts::usage() const {
    const std::lock_guard guard(mutex_);
    std::vector<Usage> all;
    for (const auto& [path, own] : paths_)
        if (own.count != 0) all.push_back({path.source, path.broker, own.count, size()});
    return all;
}

}  // namespace limpet::dataplane
