// SPDX-License-Identifier: Apache-2.0
// The inside of the data plane, for this room and for handoff/.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "dataplane/bpf_object.h"
#include "dataplane/broker_offers.h"
#include "dataplane/dataplane.h"
#include "dataplane/interfaces.h"
#include "dataplane/janitor.h"
#include "dataplane/parking.h"

namespace limpet::dataplane {

/// What the host knows of itself and of its routes, refreshed about once a second by the janitor and on a
/// miss.
class HostView {
  public:
    [[nodiscard]] bool is_own(const IpAddress& address) const;
    [[nodiscard]] Result<Route> route(const IpAddress& destination);
    /// The host forwards on every interface that has an address: the data path's lookups find each way by
    /// themselves.
    [[nodiscard]] bool forwards() const { return forwards_.load(std::memory_order_relaxed); }
    void refresh();

  private:
    mutable std::mutex mutex_;
    std::atomic<bool> forwards_{false};
    std::vector<IpAddress> own_;
    std::unordered_map<Endpoint, Route> routes_;
};

/// Kernel side, present where the mode is not relay.
struct Kernel {
    BpfObject object;
    FlowMaps maps;
    RawSender sender;
    std::vector<std::unique_ptr<Parking>> parking;  // one a worker
    std::unique_ptr<Janitor> janitor;

    Kernel(BpfObject loaded, RawSender raw)
        : object(std::move(loaded)),
          maps(object.map("limpet_flows4"), object.map("limpet_flows6"), object.program("limpet_transit")),
          sender(std::move(raw)) {}
};

struct Dataplane::State {
    Options options;
    SourcePorts ports;
    HostView host;
    BrokerOffers offers;
    Fd claim;                        ///< on the network namespace, for as long as there is a kernel side
    std::unique_ptr<Kernel> kernel;  // none: relay
    Mode mode = Mode::relay;
    std::string note;
    mutable std::mutex views_mutex;
    std::vector<InterfaceView> views;
    std::uint64_t seed = 0;
    std::atomic<bool> transparent4{false};  // served now: from the start, or since a reload
    std::atomic<bool> transparent6{false};
    bool policy_failed = false;  // the janitor's: said once
    std::array<std::atomic<std::uint64_t>, LIMPET_REASON_COUNT> counters{};
    std::array<std::atomic<std::uint64_t>, 64> hold_buckets{};  // quarters of powers of two, microseconds

    explicit State(Options wanted)
        : options(std::move(wanted)), ports(options.first_source_port, options.last_source_port) {}

    void count(Reason reason, std::uint64_t amount = 1) {
        counters[reason].fetch_add(amount, std::memory_order_relaxed);
    }
    void record_hold(std::chrono::nanoseconds time);
    [[nodiscard]] Families transparent() const { return {transparent4, transparent6}; }
    void set_transparent(Families families) {
        if (families.v4) transparent4 = true;
        if (families.v6) transparent6 = true;
    }
    /// Other programs tidy up routing tables: what transparent pools need of them is there again within a
    /// second. Called by the janitor.
    void keep_policy();
    /// Attaches to interfaces that came since; called by the janitor.
    void follow_interfaces();
    [[nodiscard]] std::vector<InterfaceView> interface_views() const;
    void follow(InterfaceView& view) const;
};

}  // namespace limpet::dataplane
