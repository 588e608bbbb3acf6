// SPDX-License-Identifier: Apache-2.0
// The source ports towards brokers are ours, not the host's: once a connection has left, the host believes
// that its port is free and would give it to the next one (docs/HANDOFF.md, trap 1).
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/endpoint.h"

namespace limpet::dataplane {

/// Ports per (source address, broker), handed out oldest-freed first so that a broker's TIME_WAIT has passed.
/// Thread-safe.
class SourcePorts {
  public:
    /// Ports first to last, both included.
    SourcePorts(std::uint16_t first, std::uint16_t last) : first_(first), last_(last) {}

    /// A free port from `source` to `broker`; nothing when all are in use.
    [[nodiscard]] std::optional<std::uint16_t> take(const IpAddress& source, const Endpoint& broker);
    void give_back(const IpAddress& source, const Endpoint& broker, std::uint16_t port);
    /// A port that a flow of an earlier daemon uses.
    void adopt(const IpAddress& source, const Endpoint& broker, std::uint16_t port);
    [[nodiscard]] std::size_t in_use() const;

    /// How far one source address has used up its ports towards one broker.
    struct Usage {
        IpAddress source;
        Endpoint broker;
        std::size_t in_use = 0;
        std::size_t limit = 0;
    };
    /// Of every source address and broker with a port in use now, in no particular order.
    [[nodiscard]] std::vector<Usage> usage() const;

  private:
    struct Path {
        IpAddress source;
        Endpoint broker;
        bool operator==(const Path&) const = default;
    };
    struct PathHash {
        std::size_t operator()(const Path& path) const noexcept;
    };
    struct Ports {
        std::vector<bool> used;
        std::deque<std::uint16_t> freed;  // oldest first
        std::uint32_t start = 0;          // offset at which handing out began
        std::uint32_t fresh = 0;          // from there on, as many were handed out at least once
        std::size_t count = 0;
    };
    Ports& ports(const IpAddress& source, const Endpoint& broker);
    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(last_ - first_) + 1; }

    const std::uint16_t first_;
    const std::uint16_t last_;
    mutable std::mutex mutex_;
    std::unordered_map<Path, Ports, PathHash> paths_;
};

}  // namespace limpet::dataplane
