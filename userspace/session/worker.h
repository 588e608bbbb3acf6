// SPDX-License-Identifier: Apache-2.0
// The threads that accept clients and run their sessions.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "balancer/balancer.h"
#include "base/endpoint.h"
#include "base/reason.h"
#include "base/result.h"
#include "dataplane/dataplane.h"
#include "session/listener.h"
#include "session/trace.h"

namespace limpet::session {

struct Options {
    unsigned workers = 1;
    std::chrono::seconds idle_timeout{0};            ///< of flows without keep-alive; 0: no limit
    std::chrono::milliseconds drain_grace{2000};     ///< from stop() until what is left is closed
    std::chrono::milliseconds pause_patience{2000};  ///< accepting paused for longer: clients are refused
    std::size_t descriptor_limit = 0;                ///< 0: RLIMIT_NOFILE
    std::shared_ptr<Trace> trace = std::make_shared<Trace>();  ///< what sessions tell those who watch them
};

struct Counts {
    std::uint64_t accepted = 0;  ///< since the start
    std::uint64_t spliced = 0;   ///< left for the kernel since the start
    std::uint64_t relayed = 0;   ///< now
    std::uint64_t tls = 0;       ///< now, with TLS on one leg at least; among the others too
    std::uint64_t pending = 0;   ///< now, before CONNACK or still trying to leave
};

/// Ends connections that are relayed to one broker. Whoever orders it keeps it and gives leave for some more
/// at a time; workers look through their sessions once for each evict().
struct Eviction {
    std::shared_ptr<balancer::Pool> pool;
    balancer::BrokerId broker = 0;
    Reason reason = LIMPET_REASON_END_DRAINED;
    /// Before a connection ends, with the hash that the pool remembers the client by; on workers' threads.
    std::function<void(std::uint64_t client_hash)> before;
    std::atomic<std::int64_t> allowed{0};  ///< to be ended now
    std::atomic<std::uint64_t> ended{0};
    std::atomic<std::uint64_t> left{0};  ///< that were seen and may not be ended yet
    std::atomic<unsigned> looking{0};    ///< workers that have not looked yet
};

/// One thread per worker, each with its own event loop, its own listening sockets and its own sessions.
class Workers {
  public:
    /// `dataplane` must have been started with as many workers and must outlive this.
    Workers(dataplane::Dataplane& dataplane, Options options);
    ~Workers();  ///< stops
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    /// Begins to accept, or, where the address is listened on already, gives clients from now on the new
    /// terms. Returns the address (port 0 is replaced by the port that the host chose). Not thread-safe.
    Result<Endpoint> open(Listener listener);
    /// Stops accepting on an address; the sessions that came from it go on.
    void close(const Endpoint& address);
    /// The largest segment (MSS, bytes) that clients of an address are told from now on; 0: the kernel's
    /// choice.
    void limit_segment(const Endpoint& address, std::uint32_t maximum_segment);
    /// Every worker looks for sessions that the eviction means; at once, on its own thread.
    void evict(const std::shared_ptr<Eviction>& eviction);
    /// Stops accepting, closes after the grace what has not left or ended by itself, and ends the threads.
    void stop();

    [[nodiscard]] Counts counts() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace limpet::session
