// SPDX-License-Identifier: Apache-2.0
// Loads, attaches and owns the kernel's half: programs, maps, rings, source ports, the sweeper. Knows no
// MQTT.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/reason.h"
#include "base/result.h"
#include "dataplane/broker_offers.h"
#include "dataplane/source_ports.h"

namespace limpet::dataplane {

enum class Mode { automatic, xdp, tc, relay };
[[nodiscard]] std::string_view mode_name(Mode mode);

/// IP versions.
struct Families {
    bool v4 = false;
    bool v6 = false;
    [[nodiscard]] bool any() const { return v4 || v6; }
};

struct Options {
    Mode mode = Mode::automatic;
    std::vector<std::string> interfaces;  ///< empty: every Ethernet interface that is up and has an address
    std::string bpffs = "/sys/fs/bpf/limpet";
    std::uint32_t max_flows = 1'000'000;  ///< connections
    std::vector<IpAddress> source_addresses;
    std::uint16_t first_source_port = 10000;
    std::uint16_t last_source_port = 32767;
    std::chrono::milliseconds hold_timeout{2000};
    unsigned handoff_tries = 5;
    std::chrono::seconds idle_timeout{0};
    std::chrono::seconds probe_after{
        600};  ///< silence after which a flow without keep-alive is asked; 0: never
    std::chrono::milliseconds closing_timeout{2000};
    std::chrono::milliseconds retire_grace{1000};
    unsigned workers = 1;
    Families transparent;         ///< of the brokers of transparent pools
    bool start_fresh = false;     ///< remove what an earlier daemon left before loading
    std::uint64_t hash_seed = 0;  ///< for maps that are made now, so that hashes that were saved keep their
                                  ///< meaning; 0: drawn
};

/// How the data path is attached to one interface, as it is and not as it was wished.
struct InterfaceView {
    std::string name;
    unsigned index = 0;
    Mode mode = Mode::relay;  ///< xdp (with TC behind it), tc, or relay: nothing is spliced here
    bool dispatcher = false;  ///< XDP through libxdp's dispatcher
    bool redirect = false;    ///< XDP sends packets to it; otherwise TC does
    std::string note;         ///< why it is not what was asked for; empty otherwise
};

/// One spliced connection, as read from its two entries.
struct FlowView {
    Endpoint client;
    Endpoint listener;
    Endpoint source;  ///< our address and port towards the broker
    Endpoint broker;
    std::string client_id;        ///< its beginning, where the id is longer than the entries hold
    std::uint16_t id_length = 0;  ///< of the whole id, bytes
    std::uint64_t client_hash = 0;
    std::uint32_t stick_seconds = 0;
    std::string_view state;  ///< "active" or "closing"
    std::chrono::milliseconds age{0};
    std::chrono::milliseconds idle{0};
    std::uint64_t bytes_from_client = 0;
    std::uint64_t bytes_from_broker = 0;
    std::uint32_t packets_from_client = 0;
    std::uint32_t packets_from_broker = 0;
};

/// A spliced connection has ended (called on the data plane's own thread).
struct FlowEnd {
    Endpoint client;
    Endpoint listener;
    Endpoint broker;
    std::uint64_t client_hash = 0;
    std::uint32_t stick_seconds = 0;
    Reason reason = LIMPET_REASON_NONE;
};

/// A broker has reset a spliced connection (called on the data plane's own thread).
struct BrokerReset {
    Endpoint listener;
    Endpoint broker;
    std::chrono::milliseconds age{0};
};

/// Flows of one broker that shall end.
struct EndOrder {
    Endpoint broker;
    Reason reason = LIMPET_REASON_END_KILLED;
    double per_second = 0;       ///< flows; 0: as fast as it goes
    std::uint64_t most = ~0ULL;  ///< flows
    /// Which of them, where the broker's address alone does not say it; empty: all. Called on the data
    /// plane's own thread.
    std::function<bool(const Endpoint& listener, std::uint64_t client_hash)> meant = {};
};

struct EndProgress {
    std::uint64_t ended = 0;
    bool done = false;  ///< there are none left, or as many were ended as were wanted, or it was cancelled
};

class Dataplane {
  public:
    /// Loads and attaches, or adopts what an earlier daemon left. Fails only on what the operator must mend;
    /// where the kernel lacks something the mode becomes relay and `note()` says what is missing.
    [[nodiscard]] static Result<std::unique_ptr<Dataplane>> start(Options options);
    ~Dataplane();
    Dataplane(const Dataplane&) = delete;
    Dataplane& operator=(const Dataplane&) = delete;

    /// A reload made pools with brokers of these IP versions transparent. Fails where the host cannot, or
    /// where no data path is loaded; nothing was changed then.
    Result<void> serve_transparent(Families families);

    [[nodiscard]] Mode mode() const;         ///< the best that is attached anywhere; relay: nothing
    [[nodiscard]] std::string note() const;  ///< what is missing and what was done instead; empty: nothing
    [[nodiscard]] std::vector<InterfaceView> interfaces() const;

    /// Key of client hashes; kept with the maps, so that it outlives the daemon.
    [[nodiscard]] std::uint64_t hash_seed() const;
    /// Sockets of spliced connections that stay open for their grace: descriptors that will come back soon.
    [[nodiscard]] std::size_t grace_descriptors() const;

    /// Spliced connections now (a pair that is ACTIVE or CLOSING counts once).
    [[nodiscard]] std::uint64_t flow_count() const;
    /// Walks the flows; `visit` returns false to stop. Reads the maps as they are: not a snapshot.
    void for_each_flow(const std::function<bool(const FlowView&)>& visit) const;
    /// Ends one flow with a RST of the right sequence number to both ends. False: not there (any more).
    bool kill_flow(const Endpoint& client, const Endpoint& listener,
                   Reason reason = LIMPET_REASON_END_KILLED);
    /// Ends flows of a broker with RSTs to both ends, at a pace and in the background; the number of the
    /// order, 0 where there is no data path. A later order for the same broker replaces it.
    std::uint64_t end_flows(const EndOrder& order);
    void cancel_ending(std::uint64_t order);
    [[nodiscard]] std::optional<EndProgress> ending_progress(std::uint64_t order) const;
    /// Handler for ended flows; set before the first connection.
    void on_flow_end(std::function<void(const FlowEnd&)> handler);
    void on_broker_reset(std::function<void(const BrokerReset&)> handler);

    /// What all of these brokers agree to in a handshake, as far as it was seen.
    [[nodiscard]] Offer common_offer(std::span<const Endpoint> brokers) const;
    [[nodiscard]] bool knows_offer(const Endpoint& broker) const;
    /// What clients of this listener are not offered from now on: LIMPET_SYN_*; 0: nothing is held back.
    void set_offer(const Endpoint& listener, std::uint8_t missing);

    /// Counters of include/limpet/reason.h, data path and userspace added up.
    [[nodiscard]] std::array<std::uint64_t, LIMPET_REASON_COUNT> counters() const;
    /// Counts one event of userspace's own.
    void count(Reason reason);
    /// Time in HOLD of successful handoffs, microseconds, as a histogram of powers of two, and quantiles.
    struct HoldTimes {
        std::uint64_t count = 0;
        double p50 = 0;
        double p99 = 0;
        double p999 = 0;
    };
    [[nodiscard]] HoldTimes hold_times() const;
    [[nodiscard]] std::vector<SourcePorts::Usage> source_ports() const;

    /// Detaches all programs, removes all pins, and the policy routing of transparent pools: on stop with
    /// --flush.
    void detach();

    struct State;
    [[nodiscard]] State& state() { return *state_; }  ///< for handoff only

  private:
    explicit Dataplane(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// `limpet detach` without a daemon: what is attached in this network namespace and pinned at `bpffs`.
struct Leftover {
    std::vector<std::string> interfaces;
    std::uint64_t flows = 0;
    bool pins = false;
    bool policy = false;  ///< rules and routes of transparent pools
    bool daemon = false;  ///< a living daemon works with it
};
[[nodiscard]] Result<Leftover> find_leftover(const std::string& bpffs);
[[nodiscard]] Result<void> remove_leftover(const std::string& bpffs);

/// `limpet features`: what this kernel and each interface can do.
struct Feature {
    std::string name;  ///< "btf", "tc", "xdp native eth0", …
    bool available = false;
    std::string detail;  ///< what is missing, or how it was found
};
[[nodiscard]] std::vector<Feature> probe_features(const std::vector<std::string>& interfaces);
/// The mode that `automatic` takes on this interface, and why.
[[nodiscard]] std::pair<Mode, std::string> automatic_mode(const std::string& interface);

}  // namespace limpet::dataplane
