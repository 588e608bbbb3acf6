// SPDX-License-Identifier: Apache-2.0
#include "daemon/stick_keeper.h"

#include <spdlog/spdlog.h>

#include <unordered_map>
#include <unordered_set>

namespace limpet::daemon {
namespace {

using balancer::BrokerId;
using balancer::Pool;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::system_clock;

// The file is written anew when so much was appended to it, at least.
constexpr std::uint64_t least_growth = 4 * 1024 * 1024;
constexpr std::chrono::seconds retry_interval{10};

/// The two clocks at one moment: records count from the system's, memories from the steady one.
struct Clocks {
    SteadyClock::time_point steady = SteadyClock::now();
    system_clock::time_point system = system_clock::now();

    [[nodiscard]] system_clock::time_point to_system(SteadyClock::time_point time) const {
        return system - std::chrono::duration_cast<system_clock::duration>(steady - time);
    }
    /// Nothing lies in the future, whatever the system's clock did meanwhile.
    [[nodiscard]] SteadyClock::time_point to_steady(system_clock::time_point time) const {
        return time >= system ? steady
                              : steady - std::chrono::duration_cast<SteadyClock::duration>(system - time);
    }
};

/// Broker names of one pool by id.
class Names {
  public:
    explicit Names(const Pool& pool) : pool_(pool.name()) {
        for (const auto& broker : pool.brokers()) names_[broker.id] = broker.spec.name;
    }
    [[nodiscard]] SavedStick saved(const Pool::Memory& memory, const Clocks& clocks) const {
        SavedStick stick{memory.key_hash, pool_, {}, memory.lifetime, clocks.system};
        if (!memory.connected) stick.since = clocks.to_system(memory.since);
        if (const auto found = names_.find(memory.broker); found != names_.end())
            stick.broker = found->second;
        return stick;
    }
    [[nodiscard]] SavedStick gone(std::uint64_t key_hash) const { return {key_hash, pool_, {}, {}, {}}; }

  private:
    std::string pool_;
    std::unordered_map<BrokerId, std::string> names_;
};

void write_pool(const Pool& pool, const Clocks& clocks, StickFile& file) {
    const Names names(pool);
    std::size_t position = 0;
    std::vector<Pool::Memory> piece;
    for (bool more = true; more;) {
        piece.clear();
        more = pool.visit_memories(position, [&](const Pool::Memory& memory) { piece.push_back(memory); });
        for (const auto& memory : piece) {
            const auto stick = names.saved(memory, clocks);
            if (!stick.broker.empty() && stick.lifetime.count() > 0) file.append(stick);
        }
    }
}

}  // namespace

std::size_t restore_sticks(const Pools& pools, const SavedSticks& saved) {
    const Clocks clocks;
    std::unordered_map<std::string, std::unordered_map<std::string, BrokerId>> ids;
    std::unordered_map<std::string, std::vector<Pool::Memory>> memories;
    for (const auto& pool : pools.all())
        for (const auto& broker : pool->brokers()) ids[pool->name()][broker.spec.name] = broker.id;
    std::size_t count = 0;
    for (const auto& stick : saved.sticks) {
        const auto pool = ids.find(stick.pool);
        if (pool == ids.end()) continue;
        const auto broker = pool->second.find(stick.broker);
        if (broker == pool->second.end()) continue;
        const auto since = clocks.to_steady(stick.since);
        if (since + stick.lifetime <= clocks.steady) continue;
        memories[stick.pool].push_back({stick.key_hash, broker->second, false, stick.lifetime, since});
        ++count;
    }
    for (const auto& pool : pools.all())
        if (const auto found = memories.find(pool->name()); found != memories.end())
            pool->restore(found->second);
    return count;
}

StickKeeper::StickKeeper(const Pools& pools, std::string path, std::uint64_t seed)
    : pools_(pools), path_(std::move(path)), seed_(seed) {
    write_anew();
    thread_ = std::thread([this] { run(); });
}

StickKeeper::~StickKeeper() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    save_changes();
    if (file_)
        if (auto synced = file_->sync(); !synced) say(synced.error());
}

Result<StickFile> StickKeeper::write_all(const Pools& pools, const std::string& path, std::uint64_t seed) {
    const Clocks clocks;
    return StickFile::create(path, seed, [&](StickFile& file) {
        for (const auto& pool : pools.all()) write_pool(*pool, clocks, file);
    });
}

void StickKeeper::run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, stick_save_interval, [this] { return stop_; })) {
        lock.unlock();
        save_changes();
        lock.lock();
    }
}

void StickKeeper::write_anew() {
    const auto now = SteadyClock::now();
    if (now < next_try_) return;
    file_.reset();
    // Changes of pools are noted before these are looked at, so that none falls in between.
    for (const auto& pool : pools_.all()) {
        pool->track_changes();
        static_cast<void>(pool->take_changes());
    }
    auto file = write_all(pools_, path_, seed_);
    if (!file) {
        next_try_ = now + retry_interval;
        say(file.error());
        return;
    }
    said_.clear();
    file_.emplace(std::move(*file));
    whole_size_ = file_->size();
    unsynced_ = false;
}

void StickKeeper::save_changes() {
    if (!file_) return write_anew();
    const Clocks clocks;
    for (const auto& pool : pools_.all()) {
        pool->track_changes();
        const auto changes = pool->take_changes();
        if (!changes) return write_anew();
        if (changes->empty()) continue;
        const Names names(*pool);
        for (const auto key : std::unordered_set<std::uint64_t>(changes->begin(), changes->end())) {
            const auto memory = pool->memory(key);
            file_->append(memory && memory->lifetime.count() > 0 ? names.saved(*memory, clocks)
                                                                 : names.gone(key));
            unsynced_ = true;
        }
    }
    auto written = file_->flush();
    const auto now = SteadyClock::now();
    if (written && unsynced_ && now >= next_sync_) {
        next_sync_ = now + stick_sync_interval;
        unsynced_ = false;
        written = file_->sync();
    }
    if (!written) say(written.error());
    if (file_->size() > 2 * whole_size_ + least_growth) write_anew();
}

/// Once for each trouble, however long it lasts.
void StickKeeper::say(const Error& error) {
    if (error.line() == said_) return;
    said_ = error.line();
    spdlog::warn("what pools remember is not saved: {}", said_);
}

}  // namespace limpet::daemon
