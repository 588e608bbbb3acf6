// SPDX-License-Identifier: Apache-2.0
// What ends, ends here, on one thread: flows whose ends closed, flows that fell silent, entries in their
// grace, sockets that wait in repair mode, and what an earlier daemon left half done.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "dataplane/conntrack.h"
#include "dataplane/dataplane.h"
#include "dataplane/flow_ending.h"
#include "dataplane/flow_maps.h"
#include "dataplane/probing.h"
#include "dataplane/raw_sender.h"
#include "dataplane/source_ports.h"

struct ring_buffer;

namespace limpet::dataplane {

class Janitor {
  public:
    using Clock = std::chrono::steady_clock;

    /// `count` counts one event of userspace's own; called on the janitor's thread.
    Janitor(const Options& options, FlowMaps& maps, SourcePorts& ports, RawSender& sender, int events,
            std::function<void(Reason)> count);
    ~Janitor();
    Janitor(const Janitor&) = delete;
    Janitor& operator=(const Janitor&) = delete;

    /// Takes over the flows of an earlier daemon: complete pairs go on; of everything else the end is told by
    /// RST, and the entry removed. Before start().
    void adopt();
    void start();
    /// Ends the thread; entries stay as they are.
    void stop();
    void on_flow_end(std::function<void(const FlowEnd&)> handler);
    void on_broker_reset(std::function<void(const BrokerReset&)> handler);
    /// Called now and then on the janitor's thread, about once a second.
    void on_tick(std::function<void()> handler) { tick_ = std::move(handler); }

    /// A pair became ACTIVE.
    void spliced() { flows_.fetch_add(1, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t flow_count() const { return flows_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::size_t grace_descriptors() const {
        return descriptors_.load(std::memory_order_relaxed);
    }

    /// Keeps both sockets of a pair, left in repair mode, for the grace; then closes them, and the host
    /// forgets them.
    void keep_for_grace(Fd client, Fd broker, const FlowPair& pair);
    /// An entry that its session gave up: it is RETIRED already, and goes after the grace, with its source
    /// port where it is a broker leg's.
    void remove_later(const FlowKey& key, std::uint32_t generation, bool broker_leg);
    /// The state of this pair was set to CLOSING by userspace.
    void watch_closing(const FlowPair& pair);
    /// The tuple of this client leg comes back although its entry is still there: what it was before is ended
    /// and counted, if that was not done yet, and the way is free for a new life.
    void settle(const FlowKey& client_key);
    /// Flows of a broker that are ended at a pace, on the janitor's thread.
    [[nodiscard]] FlowEnding& ending() { return ending_; }
    /// Has the thread look at once at what it was given to do.
    void wake() const;
    /// Ends a flow with a RST to both ends. Safe from any thread; false: not there.
    bool kill(const FlowKey& client_key, Reason reason);

  private:
    struct Removal {
        Clock::time_point due;
        FlowKey key;
        std::uint32_t generation;
        bool broker_leg;
    };
    struct Grace {
        Clock::time_point due;
        Fd client;
        Fd broker;
        FlowPair pair;
    };
    struct Check {
        Clock::time_point due;
        FlowPair pair;
        unsigned asked;  ///< how often its ends were asked about their FINs
    };

    void run();
    static int handle_event(void* context, void* data, std::size_t size);
    void take_event(const FlowKey& key, const limpet_event& event);
    void tell_reset(const FlowPair& pair, const FlowEntry& broker);
    void take_doubt(const FlowPair& pair, const FlowKey& key, std::uint32_t sequence);
    [[nodiscard]] std::optional<FlowPair> pair_of(const FlowKey& key, const FlowEntry& entry) const;
    /// Ends a closing flow that is over and has been silent for long enough, or asks the ends of one that may
    /// not be; when to look again, if ever.
    std::optional<std::chrono::milliseconds> check_closing(const FlowPair& pair, unsigned& asked);
    void remove_orphan(const FlowKey& key, const FlowEntry& entry);
    /// Both entries RETIRED, counts and handler called once, removal scheduled.
    void end(const FlowPair& pair, Reason reason, const FlowEntry& client);
    void reset_both(const FlowPair& pair, const FlowEntry& client, const FlowEntry& broker);
    void sweep(Clock::time_point now);
    void visit(const FlowKey& key, const FlowEntry& entry);
    void remove_due(Clock::time_point now);
    void close_due(Clock::time_point now);

    const Options& options_;
    FlowMaps& maps_;
    SourcePorts& ports_;
    RawSender& sender_;
    ring_buffer* events_ = nullptr;
    Fd wake_;

    std::atomic<std::uint64_t> flows_{0};
    std::atomic<std::size_t> descriptors_{0};
    std::atomic<bool> stop_{false};
    std::function<void()> tick_;
    Probing probing_;
    Conntrack conntrack_;
    FlowEnding ending_;

    std::mutex mutex_;  // what other threads hand over
    std::function<void(const FlowEnd&)> handler_;
    std::function<void(const BrokerReset&)> reset_handler_;
    std::deque<Grace> graces_;
    std::deque<Removal> removals_;
    std::deque<Check> checks_;
    std::vector<std::pair<FlowKey, Reason>> kills_;
    /// Generations of client legs that were ended, until their entries are gone: a life is ended once,
    /// however many tell of it, and a tuple that came back is another life.
    std::unordered_map<FlowKey, std::uint32_t> ended_;

    FlowMaps::Cursor cursor_;
    Clock::time_point next_sweep_;
    Clock::time_point next_tick_;
    std::thread thread_;
};

/// How long both sockets of a spliced connection stay open in repair mode: a pure ACK that passed in HOLD may
/// still be on its way and must find its socket, not be answered with RST.
inline constexpr std::chrono::milliseconds socket_grace{50};
/// Silence after which the ends of a flow are asked that closes by FINs nobody acknowledged, and how often
/// the time is doubled. It is longer than the data path takes an ACK for a late one (LIMPET_OLD_TICKS).
inline constexpr std::chrono::milliseconds closing_patience{1500};
inline constexpr unsigned closing_questions = 5;
/// How often all entries are looked at: silent flows are found this much later at most, plus the time of the
/// walk.
inline constexpr std::chrono::seconds sweep_interval{2};
/// Entries looked at in one piece of the walk, and the pause behind it: some 40,000 entries (20,000
/// connections) a second, so that the walk costs about one percent of a core however many there are.
inline constexpr std::uint32_t sweep_piece = 4096;
inline constexpr std::chrono::milliseconds sweep_pause{100};

}  // namespace limpet::dataplane
