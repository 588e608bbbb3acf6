// SPDX-License-Identifier: Apache-2.0
#include "daemon/moves.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/drain.h"
#include "daemon/rebalance.h"

namespace limpet::daemon {
namespace {

constexpr std::size_t remembered_moves = 50;
constexpr std::chrono::milliseconds step_interval{20};

}  // namespace

std::string_view move_kind_name(MoveKind kind) {
    return kind == MoveKind::drain ? "drain" : "rebalance";
}

std::string_view move_state_name(MoveState state) {
    switch (state) {
        case MoveState::running:
            return "running";
        case MoveState::done:
            return "done";
        case MoveState::cancelled:
            break;
    }
    return "cancelled";
}

double Move::pace(Clock::time_point now) const {
    const auto wanted = order_.per_second.value_or(order_.deadline ? 0 : default_pace);
    if (!order_.deadline) return wanted;
    const std::chrono::duration<double> rest = begun_ + *order_.deadline - now;
    if (rest.count() <= 0) return 0;  // too late for any pace
    return std::max(wanted, static_cast<double>(left()) / rest.count());
}

Moves::Moves(dataplane::Dataplane& dataplane, session::Workers& workers, Pools& pools)
    : dataplane_(dataplane), workers_(workers), pools_(pools), thread_([this] { run(); }) {}

Moves::~Moves() {
    stop();
}

void Moves::stop() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    for (auto& entry : entries_)
        if (entry.state == MoveState::running) entry.move->stop();
    for (auto& relayed : relayed_) relayed.ending.stop();
    relayed_.clear();
}

MoveView Moves::begin(MoveOrder order) {
    const std::lock_guard lock(mutex_);
    static_cast<void>(cancel_locked(order.kind, order.pool, order.broker));
    while (entries_.size() >= remembered_moves && entries_.front().state != MoveState::running)
        entries_.pop_front();
    auto& entry = entries_.emplace_back();
    entry.id = next_++;
    entry.begun = Move::Clock::now();
    if (order.kind == MoveKind::drain)
        entry.move = std::make_unique<Drain>(std::move(order), dataplane_, workers_, pools_);
    else
        entry.move = std::make_unique<Rebalancing>(std::move(order), dataplane_, workers_, pools_);
    entry.per_second = entry.move->pace(entry.begun);
    wake_.notify_all();
    return view_of(entry);
}

std::size_t Moves::cancel(MoveKind kind, const PoolPointer& pool, const std::string& broker) {
    const std::lock_guard lock(mutex_);
    return cancel_locked(kind, pool, broker);
}

std::size_t Moves::cancel_locked(MoveKind kind, const PoolPointer& pool, const std::string& broker) {
    std::size_t count = 0;
    for (auto& entry : entries_) {
        const auto& order = entry.move->order();
        if (entry.state != MoveState::running || order.kind != kind || order.pool != pool ||
            order.broker != broker)
            continue;
        entry.move->stop();
        finish(entry, MoveState::cancelled);
        ++count;
    }
    return count;
}

void Moves::end_relayed(const PoolPointer& pool, balancer::BrokerId broker, Reason reason,
                        double per_second) {
    const std::lock_guard lock(mutex_);
    for (const auto& relayed : relayed_)
        if (relayed.pool == pool && relayed.broker == broker) return;
    relayed_.push_back(
        {pool, broker, RelayedEnding(workers_, pool, broker, reason), Pacer(per_second, Move::Clock::now())});
    wake_.notify_all();
}

void Moves::cancel_relayed(const PoolPointer& pool, balancer::BrokerId broker) {
    const std::lock_guard lock(mutex_);
    std::erase_if(relayed_, [&](Relayed& relayed) {
        if (relayed.pool != pool || relayed.broker != broker) return false;
        relayed.ending.stop();
        return true;
    });
}

/// True: there is more to do.
bool Moves::step_relayed(Move::Clock::time_point now) {
    std::erase_if(relayed_, [&](Relayed& relayed) {
        relayed.pacer.spend(relayed.ending.step(relayed.pacer.due(now)));
        return relayed.ending.over();
    });
    return !relayed_.empty();
}

std::vector<MoveView> Moves::views() const {
    const std::lock_guard lock(mutex_);
    std::vector<MoveView> views;
    for (const auto& entry : entries_) views.push_back(view_of(entry));
    return views;
}

MoveView Moves::view_of(const Entry& entry) {
    const bool running = entry.state == MoveState::running;
    const auto& order = entry.move->order();
    MoveView view{entry.id, order.kind, entry.state, order.pool->name(), order.broker, order.total};
    view.ended = running ? entry.move->ended() : entry.ended;
    view.left = running ? entry.move->left() : entry.left;
    view.total = std::max(view.total, view.ended + (running ? view.left : 0));
    view.per_second = entry.per_second;
    view.elapsed = (running ? Move::Clock::now() : entry.over) - entry.begun;
    return view;
}

void Moves::finish(Entry& entry, MoveState state) const {
    entry.ended = entry.move->ended();
    entry.left = entry.move->left();
    entry.state = state;
    entry.over = Move::Clock::now();
    const auto& order = entry.move->order();
    const std::chrono::duration<double> took = entry.over - entry.begun;
    spdlog::info("{} of {}{}{} is {}: {} connections were ended in {:.1f} s", move_kind_name(order.kind),
                 order.pool->name(), order.broker.empty() ? "" : "/", order.broker, move_state_name(state),
                 entry.ended, took.count());
}

void Moves::run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
        const auto now = Move::Clock::now();
        bool busy = step_relayed(now);
        for (auto& entry : entries_) {
            if (entry.state != MoveState::running) continue;
            if (entry.move->step(now))
                finish(entry, MoveState::done);
            else
                busy = true;
            if (entry.state == MoveState::running) entry.per_second = entry.move->pace(now);
        }
        if (busy)
            wake_.wait_for(lock, step_interval);
        else
            wake_.wait(lock);
    }
}

}  // namespace limpet::daemon
