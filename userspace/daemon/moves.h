// SPDX-License-Identifier: Apache-2.0
// Connections that are ended at a pace so that their clients come back and go elsewhere: drains and
// rebalancing, in the background, with their progress; and what is relayed to brokers that died.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "daemon/pools.h"
#include "daemon/relayed_ending.h"
#include "dataplane/dataplane.h"
#include "session/worker.h"

namespace limpet::daemon {

enum class MoveKind { drain, rebalance };
enum class MoveState { running, done, cancelled };
[[nodiscard]] std::string_view move_kind_name(MoveKind kind);
[[nodiscard]] std::string_view move_state_name(MoveState state);

/// What a broker has and shall give up.
struct Surplus {
    balancer::BrokerId id = 0;
    Endpoint address;
    std::uint64_t count = 0;
};
/// What a broker lacks of its share.
struct Room {
    balancer::BrokerId id = 0;
    std::uint64_t count = 0;
};

struct MoveOrder {
    MoveKind kind = MoveKind::drain;
    PoolPointer pool;
    std::string broker;         ///< of a drain: its name
    std::vector<Surplus> from;  ///< a drain has one, and takes all that it has
    std::vector<Room> to;       ///< rebalancing: who gets the clients, as far as memory says
    bool by_placement = false;  ///< rebalancing: only clients that hashing would place elsewhere now
    std::uint64_t total = 0;    ///< connections, as far as it is known at the beginning
    std::optional<double> per_second;
    std::optional<std::chrono::seconds> deadline;
};

struct MoveView {
    std::uint64_t id = 0;
    MoveKind kind = MoveKind::drain;
    MoveState state = MoveState::running;
    std::string pool;
    std::string broker;
    std::uint64_t total = 0;
    std::uint64_t ended = 0;
    std::uint64_t left = 0;
    double per_second = 0;  ///< the present pace; 0: as fast as it goes
    std::chrono::duration<double> elapsed{0};
};

/// Connections a second where neither a pace nor a deadline was said.
inline constexpr double default_pace = 100;

/// One of them; used on the thread of Moves, which locks.
class Move {
  public:
    using Clock = std::chrono::steady_clock;

    explicit Move(MoveOrder order) : order_(std::move(order)), begun_(Clock::now()) {}
    virtual ~Move() = default;
    /// Goes on; true: nothing is left to do.
    [[nodiscard]] virtual bool step(Clock::time_point now) = 0;
    /// Ends nothing more.
    virtual void stop() = 0;
    [[nodiscard]] virtual std::uint64_t ended() const = 0;
    [[nodiscard]] virtual std::uint64_t left() const = 0;

    [[nodiscard]] const MoveOrder& order() const { return order_; }
    /// What the pace must be from now on, so that the deadline is kept.
    [[nodiscard]] double pace(Clock::time_point now) const;

  protected:
    const MoveOrder order_;
    const Clock::time_point begun_;
};

class Moves {
  public:
    Moves(dataplane::Dataplane& dataplane, session::Workers& workers, Pools& pools);
    ~Moves();
    Moves(const Moves&) = delete;
    Moves& operator=(const Moves&) = delete;

    /// Nothing more is ended. What is begun afterwards does nothing.
    void stop();
    /// A later move of the same kind in the same pool (and of the same broker) takes the place of an earlier
    /// one.
    MoveView begin(MoveOrder order);
    /// How many were running and are cancelled now.
    std::size_t cancel(MoveKind kind, const PoolPointer& pool, const std::string& broker);
    /// Ends what is relayed to a broker without an order of an operator's, and so without a place among
    /// views(). `per_second` 0: at once. One that is under way for this broker goes on.
    void end_relayed(const PoolPointer& pool, balancer::BrokerId broker, Reason reason, double per_second);
    void cancel_relayed(const PoolPointer& pool, balancer::BrokerId broker);
    /// Those that run and the last that did, the oldest first.
    [[nodiscard]] std::vector<MoveView> views() const;

  private:
    struct Entry {
        std::uint64_t id = 0;
        std::unique_ptr<Move> move;
        MoveState state = MoveState::running;
        Move::Clock::time_point begun;
        Move::Clock::time_point over{};
        std::uint64_t ended = 0;  // once it is over
        std::uint64_t left = 0;
        double per_second = 0;
    };

    struct Relayed {
        PoolPointer pool;
        balancer::BrokerId broker = 0;
        RelayedEnding ending;
        Pacer pacer;
    };

    void run();
    [[nodiscard]] bool step_relayed(Move::Clock::time_point now);
    void finish(Entry& entry, MoveState state) const;
    [[nodiscard]] std::size_t cancel_locked(MoveKind kind, const PoolPointer& pool,
                                            const std::string& broker);
    [[nodiscard]] static MoveView view_of(const Entry& entry);

    dataplane::Dataplane& dataplane_;
    session::Workers& workers_;
    Pools& pools_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Entry> entries_;
    std::list<Relayed> relayed_;
    std::uint64_t next_ = 1;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace limpet::daemon
