// SPDX-License-Identifier: Apache-2.0
// The pools by name, and which of them a listener, and so a flow, belongs to.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "balancer/balancer.h"
#include "config/config.h"
#include "dataplane/dataplane.h"

namespace limpet::daemon {

using PoolPointer = std::shared_ptr<balancer::Pool>;

/// Safe to call from all threads; what a pool does itself is locked there.
class Pools {
  public:
    /// `seed` keys the hashes of clients; it comes from the data path, whose entries hold such hashes.
    explicit Pools(std::uint64_t seed) : seed_(seed) {}

    /// The pool of this name; made from `spec` where there is none yet (but not put among the others: keep()
    /// does that once nothing can fail any more).
    [[nodiscard]] PoolPointer prepare(const balancer::PoolSpec& spec) const;
    /// Takes over the configuration's pools and listeners. `prepared` holds the new ones.
    void apply(const config::Config& config, const std::map<std::string, PoolPointer>& prepared);

    [[nodiscard]] PoolPointer find(const std::string& name) const;
    [[nodiscard]] std::vector<PoolPointer> all() const;
    using Owner = std::pair<PoolPointer, balancer::BrokerId>;
    /// The pool and broker of a flow. `client_hash` tells where several pools have the broker.
    [[nodiscard]] std::optional<Owner> of_flow(const Endpoint& listener, const Endpoint& broker,
                                               std::uint64_t client_hash) const;

    /// Flows of an earlier daemon are counted and remembered as if they had begun here. Flow ends that are
    /// reported meanwhile wait until the walk is over.
    using Visitor = std::function<bool(const dataplane::FlowView&)>;
    void adopt(const std::function<void(const Visitor&)>& walk);
    /// How many there were; after the walk.
    [[nodiscard]] std::size_t adopted() const { return adopted_count_; }
    /// A spliced connection has ended: its broker has one less, and the client's memory begins to age.
    void flow_ended(const dataplane::FlowEnd& end);
    /// A broker has reset a spliced connection; one that does so early in life is doubted.
    void broker_reset(const dataplane::BrokerReset& reset);

  private:
    [[nodiscard]] std::vector<PoolPointer> pools_of_listener(const Endpoint& address) const;
    [[nodiscard]] std::optional<Owner> owner(const Endpoint& listener, const Endpoint& broker,
                                             std::uint64_t client_hash) const;
    [[nodiscard]] std::optional<balancer::BrokerId> broker_in(const PoolPointer& pool,
                                                              const Endpoint& address) const;
    void remember_former_addresses(const config::Pool& pool);
    void begin(const dataplane::FlowView& flow);
    void end(const dataplane::FlowEnd& flow) const;

    const std::uint64_t seed_;
    mutable std::mutex mutex_;  // guards all that follows
    std::map<std::string, PoolPointer> pools_;
    std::vector<PoolPointer> former_pools_;  // no longer configured, for as long as connections remain
    std::map<Endpoint, std::vector<std::string>> pools_of_address_;
    // Where a broker of this name was before a reload moved it: its old connections are still there.
    std::map<std::pair<std::string, Endpoint>, balancer::BrokerId> former_addresses_;
    bool adopting_ = true;
    std::unordered_set<std::uint64_t> adopted_;  // tuples, while adopting
    std::size_t adopted_count_ = 0;
    std::vector<dataplane::FlowEnd> ended_meanwhile_;
};

}  // namespace limpet::daemon
