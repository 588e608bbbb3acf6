// SPDX-License-Identifier: Apache-2.0
#include "balancer/balancer.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "balancer/rendezvous.h"
#include "balancer/stick_table.h"
#include "balancer/strategies.h"

namespace limpet::balancer {
namespace {

constexpr std::size_t max_brokers = std::size_t{UINT16_MAX} + 1;
// expire() lets others in between slices, so that nobody waits for the whole
constexpr std::size_t expire_slice = 256;
constexpr std::size_t expire_slices = 64;
constexpr std::size_t visit_slice = 4096;
// Keys whose memory changed, noted between two looks; beyond that everything is looked at.
constexpr std::size_t most_changes = 200'000;
// of its share, what a broker that came back begins with
constexpr std::uint8_t slow_start_percent = 10;

/// Reads the clock when it is first asked, which is only where some broker has failed lately.
class LazyNow {
  public:
    [[nodiscard]] bool before(Clock::time_point time) {
        return time != Clock::time_point::min() && get() < time;
    }
    [[nodiscard]] Clock::time_point get() {
        if (!now_) now_ = Clock::now();
        return *now_;
    }

  private:
    std::optional<Clock::time_point> now_;
};

bool contains(std::span<const BrokerId> ids, BrokerId id) {
    return std::ranges::find(ids, id) != ids.end();
}

/// What a pool's key comes to for this client.
Key key_of(Key key, const Client& client) {
    return client.nameless && key != Key::sni ? Key::source_ip : key;
}

/// Whether many clients may have the same.
bool is_shared(Key key) {
    return key != Key::client_id && key != Key::certificate_cn;
}

/// The key's text; an address is written into `buffer`.
std::string_view key_view(Key key, const Client& client, std::string& buffer) {
    switch (key) {
        case Key::client_id:
            return client.client_id;
        case Key::username:
            return client.username;
        case Key::certificate_cn:
            return client.certificate_cn;
        case Key::sni:
            return client.server_name;
        case Key::source_ip:
            return buffer = client.source.text();
    }
    return {};
}

/// What a choice needs of the client, hashed before the lock is taken: an id may be 64 KiB long.
struct Keys {
    std::uint64_t memory = 0;     ///< hash_key(); 0: no key
    std::uint64_t placement = 0;  ///< placement_hash()
    bool shared = false;          ///< by many clients
};

struct Pick {
    Broker* broker = nullptr;
    Why why = Why::hashed;
    bool takes_over = false;
};

/// A broker that came back a while ago and does not get its whole share yet.
struct Recovery {
    BrokerId id = 0;
    Clock::time_point since;
};

/// What is known of a broker and not needed for choosing.
struct Record {
    std::string last_error;
    unsigned refusals = 0;                                 ///< in a row
    Clock::time_point doubted = Clock::time_point::min();  ///< for resets; not told again for retry_down
};

}  // namespace

struct Pool::State {
    State(PoolSpec pool_spec, std::uint64_t seed)
        : sip_key{mix(seed + 0x9e3779b97f4a7c15ULL), mix(seed + 0x3c6ef372fe94f82aULL)},
          random(mix(seed ^ 0xda942042e4dd58b5ULL)),
          sticks(pool_spec.stick_capacity, pool_spec.stick_maximum) {
        take_over(std::move(pool_spec));
    }

    // choosing
    [[nodiscard]] Keys keys_of(const Client& client, bool for_lookup) const;
    [[nodiscard]] Pick pick(const Keys& keys, std::span<const BrokerId> tried, bool move);
    [[nodiscard]] Pick pick_among(const Candidates& candidates, const Keys& keys, bool move);
    [[nodiscard]] Candidates candidates(std::span<const BrokerId> tried, bool down, LazyNow& now);
    [[nodiscard]] Broker* remembered_broker(const StickTable::Stick& stick, std::span<const BrokerId> tried);
    [[nodiscard]] bool full() const { return spec.max_connections != 0 && taken >= spec.max_connections; }
    [[nodiscard]] bool within_bound(const Broker& broker, std::span<const BrokerId> tried, LazyNow& now);
    [[nodiscard]] Choice choice_of(const Pick& pick) const;
    /// How long memory outlives a connection: only sticky remembers beyond it.
    [[nodiscard]] std::chrono::seconds kept(std::chrono::seconds lifetime) const {
        if (spec.strategy != Strategy::sticky) return std::chrono::seconds::zero();
        return std::clamp(lifetime, spec.stick_minimum, spec.stick_maximum);
    }

    void note_change(std::uint64_t hash) {
        if (!tracking || overflowed) return;
        overflowed = changes.size() >= most_changes;
        if (!overflowed) changes.push_back(hash);
    }

    // the set of brokers
    void take_over(PoolSpec pool_spec);
    void match_brokers();
    [[nodiscard]] std::optional<BrokerId> free_slot(const std::vector<bool>& was_live);
    [[nodiscard]] bool in_use(const Broker& broker) const {
        return broker.live || broker.connections > 0 || sticks.count(broker.id) > 0;
    }
    /// What sticky remembers of this broker stays, even where another one serves the client meanwhile.
    [[nodiscard]] bool keeps_clients(BrokerId id) const {
        return brokers[id].live && !brokers[id].draining && !brokers[id].unhealthy;
    }
    [[nodiscard]] Broker* known(BrokerId id) {
        return id < brokers.size() && in_use(brokers[id]) ? &brokers[id] : nullptr;
    }
    [[nodiscard]] static bool is_down(const Broker& broker, LazyNow& now) {
        return broker.unhealthy || now.before(broker.retry_at);
    }
    void warm_up(LazyNow& now);
    void end_recovery(Broker& broker);
    [[nodiscard]] BrokerView view_of(const Broker& broker, LazyNow& now) const;

    const SipKey sip_key;
    std::atomic<Key> key{Key::client_id};  // these two are read before the lock is taken
    std::atomic<Strategy> strategy{Strategy::sticky};

    mutable std::mutex mutex;       // guards all that follows
    PoolSpec spec;                  // without brokers: those are in `specs`
    std::uint64_t taken = 0;        // places: the connections of all brokers
    std::vector<Broker> brokers;    // by BrokerId
    std::vector<BrokerSpec> specs;  // by BrokerId
    std::vector<Record> records;    // by BrokerId
    std::vector<Recovery> recoveries;
    std::function<void(BrokerId)> on_trouble;
    std::vector<BrokerId> order;   // the live ones, as the specification lists them
    std::vector<Broker*> scratch;  // candidates of the choice that is being made
    Random random;
    StickTable sticks;
    bool tracking = false;
    bool overflowed = false;             // more changes than are noted
    std::vector<std::uint64_t> changes;  // keys
};

// ---- choosing

Keys Pool::State::keys_of(const Client& client, bool for_lookup) const {
    const auto wanted = strategy.load(std::memory_order_relaxed);
    const bool keyed = wanted == Strategy::sticky || wanted == Strategy::hash;
    if (!keyed && !for_lookup) return {};
    std::string buffer;
    const auto effective = key_of(key.load(std::memory_order_relaxed), client);
    const auto text = key_view(effective, client, buffer);
    if (text.empty()) return {};
    return {std::max<std::uint64_t>(siphash(sip_key, text), 1), keyed ? placement_hash(text) : 0,
            is_shared(effective)};
}

/// Brokers that a new client may go to: live, not draining, of some weight, untried, and up (or else down),
/// and of those the ones of the lowest rank.
Candidates Pool::State::candidates(std::span<const BrokerId> tried, bool down, LazyNow& now) {
    scratch.clear();
    warm_up(now);
    Candidates found;
    for (const BrokerId id : order) {
        Broker& broker = brokers[id];
        if (broker.draining || broker.weight == 0 || is_down(broker, now) != down) continue;
        if (broker.full()) continue;
        if (contains(tried, id)) continue;
        if (!scratch.empty() && broker.rank > scratch.front()->rank) continue;
        if (!scratch.empty() && broker.rank < scratch.front()->rank) {
            scratch.clear();
            found = {};
        }
        scratch.push_back(&broker);
        found.share += broker.share();
        found.connections += broker.connections;
    }
    found.brokers = scratch;
    return found;
}

/// The broker that a stick names, if it may take the client back. Weight 0 keeps no old client away, and a
/// limit no client that is still connected there: the broker ends its former connection.
Broker* Pool::State::remembered_broker(const StickTable::Stick& stick, std::span<const BrokerId> tried) {
    Broker& broker = brokers[stick.broker];
    if (!stick.connected && (broker.full() || full())) return nullptr;
    return broker.live && !broker.draining && !contains(tried, broker.id) ? &broker : nullptr;
}

bool Pool::State::within_bound(const Broker& broker, std::span<const BrokerId> tried, LazyNow& now) {
    return broker.weight > 0 && has_room(broker, candidates(tried, false, now), spec.bounded_load);
}

Pick Pool::State::pick(const Keys& keys, std::span<const BrokerId> tried, bool move) {
    LazyNow now;
    Broker* home = nullptr;
    const auto stick = keys.memory != 0 ? sticks.find(keys.memory) : std::nullopt;
    const bool takes_over = stick && stick->connected;
    if (stick) {
        if (!move && stick->connected) return {&brokers[stick->broker], Why::remembered};
        if (spec.strategy == Strategy::sticky || (spec.strategy == Strategy::hash && stick->connected))
            home = remembered_broker(*stick, tried);
    }
    if (home && !is_down(*home, now)) {
        const bool one_client = spec.strategy == Strategy::sticky || !keys.shared;
        if (one_client || within_bound(*home, tried, now)) return {home, Why::remembered, takes_over};
    }
    if (full()) return {};
    if (const auto up = candidates(tried, false, now); !up.brokers.empty()) return pick_among(up, keys, move);
    if (home) return {home, Why::last_resort, takes_over};
    const auto down = candidates(tried, true, now);
    if (down.brokers.empty()) return {};
    return {pick_among(down, keys, move).broker, Why::last_resort};
}

Pick Pool::State::pick_among(const Candidates& among, const Keys& keys, bool move) {
    auto wanted = spec.strategy == Strategy::sticky ? spec.unknown : spec.strategy;
    if (wanted == Strategy::sticky) wanted = Strategy::hash;
    if (wanted == Strategy::hash && keys.memory == 0) wanted = Strategy::least_connections;
    Random glance = random;
    Random& source = move ? random : glance;
    switch (wanted) {
        case Strategy::least_connections:
            return {&least_connections(among, move), Why::least_connections};
        case Strategy::round_robin:
            return {&round_robin(among.brokers, move), Why::round_robin};
        case Strategy::random:
            return {&weighted_random(among, source), Why::random};
        case Strategy::power_of_two:
            return {&power_of_two(among, source), Why::power_of_two};
        case Strategy::sticky:
        case Strategy::hash:
            break;
    }
    const auto placed = place(among, keys.placement, spec.bounded_load);
    return {&placed.broker, placed.overflow ? Why::hashed_overflow : Why::hashed};
}

Choice Pool::State::choice_of(const Pick& pick) const {
    const BrokerSpec& chosen = specs[pick.broker->id];
    return {pick.broker->id, chosen.name, chosen.address, pick.why, pick.takes_over};
}

std::optional<Choice> Pool::choose(const Client& client, std::span<const BrokerId> tried) {
    const Keys keys = state_->keys_of(client, false);
    const std::lock_guard lock(state_->mutex);
    const Pick pick = state_->pick(keys, tried, true);
    if (!pick.broker) return std::nullopt;
    ++pick.broker->chosen;
    return state_->choice_of(pick);
}

std::optional<Choice> Pool::lookup(const Client& client) const {
    const Keys keys = state_->keys_of(client, true);
    const std::lock_guard lock(state_->mutex);
    const Pick pick = state_->pick(keys, {}, false);
    if (!pick.broker) return std::nullopt;
    return state_->choice_of(pick);
}

std::optional<Choice> Pool::placement(const Client& client) const {
    std::string buffer;
    const auto text = key_view(state_->key.load(std::memory_order_relaxed), client, buffer);
    if (text.empty()) return std::nullopt;
    const auto key = placement_hash(text);
    const std::lock_guard lock(state_->mutex);
    LazyNow now;
    const auto among = state_->candidates({}, false, now);
    if (among.brokers.empty()) return std::nullopt;
    const auto placed = place(among, key, state_->spec.bounded_load);
    return state_->choice_of({&placed.broker, placed.overflow ? Why::hashed_overflow : Why::hashed});
}

Fullness Pool::fullness() const {
    const std::lock_guard lock(state_->mutex);
    if (state_->full()) return Fullness::pool;
    const auto would_take = [&](BrokerId id) {
        const Broker& broker = state_->brokers[id];
        return broker.full() && !broker.draining && broker.weight > 0;
    };
    return std::ranges::any_of(state_->order, would_take) ? Fullness::brokers : Fullness::none;
}

// ---- the set of brokers

void Pool::State::take_over(PoolSpec pool_spec) {
    spec = std::move(pool_spec);
    if (!(spec.bounded_load >= 1.0))
        spec.bounded_load = 1.0;  // below its fair share nobody could take them all
    spec.stick_maximum = std::max(spec.stick_maximum, spec.stick_minimum);
    key.store(spec.key, std::memory_order_relaxed);
    strategy.store(spec.strategy, std::memory_order_relaxed);
    sticks.set_limits(spec.stick_capacity, spec.stick_maximum);
    match_brokers();
}

void Pool::State::match_brokers() {
    std::unordered_map<std::string, BrokerId> by_name;
    for (const Broker& broker : brokers)
        if (in_use(broker)) by_name.emplace(specs[broker.id].name, broker.id);
    std::vector<bool> was_live;
    for (Broker& broker : brokers) was_live.push_back(std::exchange(broker.live, false));
    bool weights_changed = false;
    order.clear();
    for (auto& wanted : std::exchange(spec.brokers, {})) {
        const auto old = by_name.find(wanted.name);
        const auto id = old != by_name.end() ? std::optional(old->second) : free_slot(was_live);
        if (!id || brokers[*id].live) continue;  // more brokers than ids, or a name twice
        Broker& broker = brokers[*id];
        const auto weight = std::min(wanted.weight, max_weight);
        const bool stays = *id < was_live.size() && was_live[*id] && old != by_name.end();
        if (!stays) {
            const auto connections = broker.connections;
            end_recovery(broker);
            broker = Broker{.placement = placement_hash(wanted.name), .connections = connections, .id = *id};
            records[*id] = {};
        } else if (specs[*id].address != wanted.address) {
            // what failed was the old address
            broker.retry_at = Clock::time_point::min();
            broker.unhealthy = false;
            end_recovery(broker);
            records[*id] = {};
        }
        weights_changed |= !stays || broker.weight != weight;
        broker.weight = weight;
        broker.most = wanted.max_connections;
        broker.rank = wanted.rank;
        broker.live = true;
        by_name.emplace(wanted.name, *id);
        specs[*id] = std::move(wanted);
        order.push_back(*id);
    }
    for (const Broker& broker : brokers)
        weights_changed |= !broker.live && broker.id < was_live.size() && was_live[broker.id];
    if (!weights_changed) return;
    for (Broker& broker : brokers) broker.current = 0;  // a new round begins for everybody
}

/// An id that nothing refers to any more, or a new one. Not one that is free only since this update: somebody
/// may have chosen it a moment ago and be about to count a connection.
std::optional<BrokerId> Pool::State::free_slot(const std::vector<bool>& was_live) {
    for (const Broker& broker : brokers)
        if (!in_use(broker) && broker.id < was_live.size() && !was_live[broker.id]) return broker.id;
    if (brokers.size() < max_brokers) {
        const auto id = static_cast<BrokerId>(brokers.size());
        brokers.push_back(Broker{.id = id});
        specs.emplace_back();
        records.emplace_back();
        scratch.reserve(brokers.size());
        return id;
    }
    for (const Broker& broker : brokers) {
        if (broker.live || broker.connections > 0) continue;
        sticks.forget_broker(broker.id);
        if (!in_use(broker)) return broker.id;
    }
    return std::nullopt;
}

BrokerView Pool::State::view_of(const Broker& broker, LazyNow& now) const {
    auto state = BrokerState::up;
    if (!broker.live || broker.draining) {
        state = BrokerState::draining;
    } else if (is_down(broker, now)) {
        state = BrokerState::down;
    }
    const Record& record = records[broker.id];
    return {broker.id,       specs[broker.id], state,          broker.connections, broker.chosen,
            broker.failures, broker.unhealthy, broker.percent, !broker.live,       record.last_error};
}

/// The shares of brokers that came back grow with time.
void Pool::State::warm_up(LazyNow& now) {
    if (recoveries.empty()) return;
    std::erase_if(recoveries, [&](const Recovery& recovery) {
        Broker& broker = brokers[recovery.id];
        const auto passed = std::max(now.get() - recovery.since, Clock::duration::zero());
        const bool over = passed >= spec.slow_start;
        const auto grown = over ? 100 : 100 * passed.count() / Clock::duration(spec.slow_start).count();
        broker.percent = static_cast<std::uint8_t>(std::max<Clock::rep>(grown, slow_start_percent));
        return over;
    });
}

void Pool::State::end_recovery(Broker& broker) {
    std::erase_if(recoveries, [&](const Recovery& recovery) { return recovery.id == broker.id; });
    broker.percent = 100;
}

void Pool::update(PoolSpec spec) {
    const std::lock_guard lock(state_->mutex);
    state_->take_over(std::move(spec));
}

std::vector<BrokerView> Pool::brokers() const {
    const std::lock_guard lock(state_->mutex);
    LazyNow now;
    state_->warm_up(now);
    std::vector<BrokerView> views;
    for (const BrokerId id : state_->order) views.push_back(state_->view_of(state_->brokers[id], now));
    for (const Broker& broker : state_->brokers)
        if (!broker.live && broker.connections > 0) views.push_back(state_->view_of(broker, now));
    return views;
}

std::optional<BrokerId> Pool::find(const Endpoint& address) const {
    const std::lock_guard lock(state_->mutex);
    for (const BrokerId id : state_->order)
        if (state_->specs[id].address == address) return id;
    for (const Broker& broker : state_->brokers)
        if (state_->in_use(broker) && state_->specs[broker.id].address == address) return broker.id;
    return std::nullopt;
}

// ---- what is reported of connections and brokers

bool Pool::take_place(const Choice& choice) {
    const std::lock_guard lock(state_->mutex);
    Broker* broker = state_->known(choice.id);
    if (!broker) return true;
    if (!choice.takes_over && (broker->full() || state_->full())) return false;
    ++broker->connections;
    ++state_->taken;
    return true;
}

void Pool::begin_connection(BrokerId id) {
    const std::lock_guard lock(state_->mutex);
    Broker* broker = state_->known(id);
    if (!broker) return;
    ++broker->connections;
    ++state_->taken;
}

void Pool::end_connection(BrokerId id) {
    const std::lock_guard lock(state_->mutex);
    Broker* broker = state_->known(id);
    if (!broker || broker->connections == 0) return;
    --broker->connections;
    --state_->taken;
}

void Pool::report_failure(BrokerId id, Clock::time_point now, Trouble trouble, std::string_view what) {
    std::function<void(BrokerId)> tell;
    {
        const std::lock_guard lock(state_->mutex);
        Broker* broker = state_->known(id);
        if (!broker) return;
        Record& record = state_->records[id];
        ++broker->failures;
        if (!what.empty() && !broker->unhealthy) record.last_error = what;
        if (trouble == Trouble::reset) {
            if (broker->unhealthy || now < record.doubted) return;
            record.doubted = now + state_->spec.retry_down;
            tell = state_->on_trouble;
        } else if (trouble == Trouble::refusal && ++record.refusals < refusals_in_a_row) {
            return;
        } else {
            record.refusals = 0;
            if (broker->retry_at <= now && !broker->unhealthy) tell = state_->on_trouble;
            broker->retry_at = std::max(broker->retry_at, now + state_->spec.retry_down);
        }
    }
    if (tell) tell(id);
}

void Pool::report_success(BrokerId id) {
    const std::lock_guard lock(state_->mutex);
    Broker* broker = state_->known(id);
    if (!broker) return;
    broker->retry_at = Clock::time_point::min();
    Record& record = state_->records[id];
    record.refusals = 0;
    if (!broker->unhealthy && !record.last_error.empty()) record.last_error.clear();
}

void Pool::on_trouble(std::function<void(BrokerId)> handler) {
    const std::lock_guard lock(state_->mutex);
    state_->on_trouble = std::move(handler);
}

void Pool::set_health(BrokerId id, bool healthy, std::string_view error, Clock::time_point now) {
    const std::lock_guard lock(state_->mutex);
    Broker* broker = state_->known(id);
    if (!broker) return;
    state_->records[id].last_error = error;
    if (broker->unhealthy == !healthy) return;
    broker->unhealthy = !healthy;
    state_->end_recovery(*broker);
    if (!healthy) return;
    broker->retry_at = Clock::time_point::min();
    if (state_->spec.slow_start > std::chrono::milliseconds::zero()) {
        state_->recoveries.push_back({id, now});
        broker->percent = slow_start_percent;
    }
}

void Pool::set_draining(BrokerId id, bool draining) {
    const std::lock_guard lock(state_->mutex);
    if (Broker* broker = state_->known(id)) broker->draining = draining;
}

void Pool::remember(std::uint64_t key_hash, BrokerId id, std::chrono::seconds lifetime) {
    if (key_hash == 0) return;
    const std::lock_guard lock(state_->mutex);
    if (!state_->known(id)) return;
    if (state_->spec.strategy == Strategy::sticky)
        if (const auto stick = state_->sticks.find(key_hash); stick && state_->keeps_clients(stick->broker))
            id = stick->broker;
    state_->sticks.connect(key_hash, id, state_->kept(lifetime));
    state_->note_change(key_hash);
}

bool Pool::move(std::uint64_t key_hash, BrokerId id) {
    if (key_hash == 0) return false;
    const std::lock_guard lock(state_->mutex);
    if (!state_->known(id) || !state_->sticks.move(key_hash, id)) return false;
    state_->note_change(key_hash);
    return true;
}

std::optional<Pool::Memory> Pool::memory(std::uint64_t key_hash) const {
    if (key_hash == 0) return std::nullopt;
    const std::lock_guard lock(state_->mutex);
    const auto stick = state_->sticks.find(key_hash);
    if (!stick) return std::nullopt;
    return Memory{key_hash, stick->broker, stick->connected, stick->lifetime, stick->since};
}

bool Pool::visit_memories(std::size_t& position, const std::function<void(const Memory&)>& visitor) const {
    const std::lock_guard lock(state_->mutex);
    return state_->sticks.visit(
        position, visit_slice, [&](std::uint64_t key, const StickTable::Stick& stick) {
            visitor({key, stick.broker, stick.connected, stick.lifetime, stick.since});
        });
}

void Pool::restore(std::span<const Memory> memories) {
    const std::lock_guard lock(state_->mutex);
    for (const auto& memory : memories)
        if (memory.key_hash != 0 && state_->known(memory.broker))
            state_->sticks.restore(memory.key_hash, {memory.broker, false, memory.lifetime, memory.since});
}

void Pool::set_memory(std::uint64_t key_hash, BrokerId id, std::chrono::seconds lifetime,
                      Clock::time_point now) {
    if (key_hash == 0) return;
    const std::lock_guard lock(state_->mutex);
    if (!state_->known(id)) return;
    state_->sticks.forget(key_hash);
    state_->sticks.restore(key_hash, {id, false, lifetime, now});
    state_->note_change(key_hash);
}

bool Pool::forget(std::uint64_t key_hash) {
    if (key_hash == 0) return false;
    const std::lock_guard lock(state_->mutex);
    if (!state_->sticks.forget(key_hash)) return false;
    state_->note_change(key_hash);
    return true;
}

std::size_t Pool::forget_all(std::optional<BrokerId> id) {
    const std::lock_guard lock(state_->mutex);
    const auto before = state_->sticks.size();
    if (id)
        state_->sticks.forget_broker(*id);
    else
        for (const Broker& broker : state_->brokers) state_->sticks.forget_broker(broker.id);
    state_->overflowed = state_->tracking;
    return before - state_->sticks.size();
}

void Pool::track_changes() {
    const std::lock_guard lock(state_->mutex);
    state_->tracking = true;
}

std::optional<std::vector<std::uint64_t>> Pool::take_changes() {
    const std::lock_guard lock(state_->mutex);
    auto changes = std::exchange(state_->changes, {});
    if (std::exchange(state_->overflowed, false)) return std::nullopt;
    return changes;
}

void Pool::release(std::uint64_t key_hash, std::chrono::seconds lifetime, Clock::time_point now) {
    if (key_hash == 0) return;
    const std::lock_guard lock(state_->mutex);
    state_->sticks.disconnect(key_hash, state_->kept(lifetime), now);
    state_->note_change(key_hash);
}

std::size_t Pool::expire(Clock::time_point now) {
    std::size_t expired = 0;
    for (std::size_t i = 0; i < expire_slices; ++i) {
        const std::lock_guard lock(state_->mutex);
        const auto slice = state_->sticks.expire(now, expire_slice);
        expired += slice;
        if (slice < expire_slice) break;
    }
    return expired;
}

std::size_t Pool::remembered() const {
    const std::lock_guard lock(state_->mutex);
    return state_->sticks.size();
}

bool Pool::connected(std::uint64_t key_hash) const {
    if (key_hash == 0) return false;
    const std::lock_guard lock(state_->mutex);
    const auto stick = state_->sticks.find(key_hash);
    return stick && stick->connected;
}

// ---- names and keys

Pool::Pool(PoolSpec spec, std::uint64_t seed) : state_(std::make_unique<State>(std::move(spec), seed)) {}
Pool::~Pool() = default;

std::string Pool::name() const {
    const std::lock_guard lock(state_->mutex);
    return state_->spec.name;
}

std::string Pool::key_text(const Client& client) const {
    std::string buffer;
    const auto key = key_of(state_->key.load(std::memory_order_relaxed), client);
    return std::string(key_view(key, client, buffer));
}

std::uint64_t Pool::hash_key(std::string_view text) const {
    return text.empty() ? 0 : std::max<std::uint64_t>(siphash(state_->sip_key, text), 1);
}

}  // namespace limpet::balancer
