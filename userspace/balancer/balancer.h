// SPDX-License-Identifier: Apache-2.0
// Which broker, and why. Knows no sockets and no packets; safe to call from all workers at once.
#pragma once

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
#include "base/result.h"

namespace limpet::balancer {

using Clock = std::chrono::steady_clock;

enum class Strategy { sticky, hash, least_connections, round_robin, random, power_of_two };
enum class Key { client_id, username, source_ip, certificate_cn, sni };

/// Names as the configuration spells them; and back (empty when unknown).
[[nodiscard]] std::string_view strategy_name(Strategy strategy);
[[nodiscard]] std::optional<Strategy> strategy_from_name(std::string_view name);
[[nodiscard]] std::string_view key_name(Key key);
[[nodiscard]] std::optional<Key> key_from_name(std::string_view name);

/// Within a pool; stable for as long as a broker of that name stays, reused afterwards.
using BrokerId = std::uint16_t;

enum class BrokerState {
    up,        ///< takes new clients
    down,      ///< did not answer lately; tried only where nobody else is left
    draining,  ///< keeps its connections, takes no new clients
};
[[nodiscard]] std::string_view broker_state_name(BrokerState state);

struct BrokerSpec {
    std::string name;
    Endpoint address;
    std::uint32_t weight = 1;           ///< 0: no new clients
    std::uint32_t max_connections = 0;  ///< 0: no limit
    std::uint8_t rank = 0;              ///< gets new clients only where no broker of a lower one can

    bool operator==(const BrokerSpec&) const = default;
};

struct PoolSpec {
    std::string name;
    Strategy strategy = Strategy::sticky;
    Strategy unknown =
        Strategy::hash;  ///< whom sticky asks for ids that it does not know: hash or least_connections
    Key key = Key::client_id;
    double bounded_load = 1.25;               ///< hash: no broker above this times its fair share
    std::chrono::seconds stick_minimum{600};  ///< memory of a client whose session ended with its connection
    std::chrono::seconds stick_maximum{7 * 86400};  ///< memory of a client whose session never expires
    std::size_t stick_capacity = 2'000'000;         ///< ids; when full the one disconnected longest ago goes
    std::chrono::milliseconds retry_down{2000};     ///< how long a broker that failed is avoided
    std::uint64_t max_connections = 0;              ///< of all brokers together; 0: no limit
    std::chrono::milliseconds slow_start{30000};    ///< from its recovery until a broker has its whole share
    std::vector<BrokerSpec> brokers;
};

/// What the balancer knows of a client when it chooses.
struct Client {
    std::string_view client_id;  ///< may be empty: such clients are spread, never hashed
    std::string_view username;
    std::string_view certificate_cn;
    std::string_view server_name;  ///< SNI
    IpAddress source;
    /// Its protocol tells nothing of it: the address stands for what could never be known (all but `sni`).
    bool nameless = false;
};

/// Why a broker was chosen.
enum class Why {
    remembered,
    hashed,
    hashed_overflow,
    least_connections,
    round_robin,
    random,
    power_of_two,
    last_resort
};
[[nodiscard]] std::string_view why_name(Why why);

struct Choice {
    BrokerId id = 0;
    std::string name;
    Endpoint address;
    Why why = Why::hashed;
    bool takes_over = false;  ///< of a connection that the key has there: no limit is in its way
};

/// Why nobody can be chosen.
enum class Fullness {
    none,
    pool,     ///< the pool has as many connections as it may have
    brokers,  ///< every broker that takes clients has
};

/// What went wrong between a client and a broker.
enum class Trouble {
    unreachable,  ///< the connect failed, or nothing answered CONNECT: the broker is avoided at once
    refusal,  ///< it hung up, spoke nonsense, or said that it is busy. A client may have its part in that,
              ///< so it takes refusals_in_a_row without a client that was accepted in between
    reset,    ///< it reset a client's connection early in life: worth a question, no verdict
};
inline constexpr unsigned refusals_in_a_row = 3;

/// One broker, as shown to people.
struct BrokerView {
    BrokerId id = 0;
    BrokerSpec spec;
    BrokerState state = BrokerState::up;
    std::uint64_t connections = 0;  ///< now
    std::uint64_t chosen = 0;       ///< since the start
    std::uint64_t failures = 0;     ///< connects that failed, CONNACKs that did not come
    bool unhealthy = false;         ///< health checks say so; otherwise `down` is for retry_down
    unsigned percent = 100;         ///< of its share of new clients, while it starts slowly
    bool gone = false;              ///< no longer in the specification; it has connections left
    std::string last_error;  ///< of a health check, or of a client's connection; empty: none since it is up
};

/// A set of brokers with a strategy and a memory.
class Pool {
  public:
    explicit Pool(PoolSpec spec, std::uint64_t seed);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    [[nodiscard]] std::string name() const;

    /// Chooses a broker that is not among `tried`; nothing when all were tried or none exists. Chooses among
    /// `up` brokers first, then among `down` ones (Why::last_resort), never a draining one. A broker of
    /// weight 0 gets only clients that are remembered there. A remembered broker that is down, draining or
    /// tried is not chosen, and forgotten only when another one accepts. Does not count a connection.
    ///
    /// Beside `sticky`, `hash` goes back to the broker where the key has a live connection, so that a client
    /// that takes its session over finds it; keys that many clients share (user name, address) only while
    /// that broker is within its bound. Clients without a key go to the least loaded broker.
    [[nodiscard]] std::optional<Choice> choose(const Client& client, std::span<const BrokerId> tried = {});
    /// The broker where the key has a live connection (whatever the strategy, and also if that broker takes
    /// no new clients), or else what choose() would answer now; moves no round robin, random or bounded-load
    /// state.
    [[nodiscard]] std::optional<Choice> lookup(const Client& client) const;
    /// Where `hash` would place the client if nothing was remembered; nothing where it has no key.
    [[nodiscard]] std::optional<Choice> placement(const Client& client) const;
    /// After choose() found nobody: whether limits are why.
    [[nodiscard]] Fullness fullness() const;

    /// A connection to the broker begins and ends; the counts drive least connections and bounded load. Call
    /// begin as soon as it was chosen (before connecting), so that a storm is spread by what is under way.
    void begin_connection(BrokerId id);
    /// The same, within the limits. False: the last place was taken since the choice was made, and nothing
    /// was counted; choose again.
    [[nodiscard]] bool take_place(const Choice& choice);
    void end_connection(BrokerId id);

    /// The broker accepted the client: sticky remembers it, for ever while connected. `key_hash` is
    /// hash_key() of the client's key text (the id assigned in CONNACK, where the server chose it).
    /// What sticky remembers moves only when the old broker is really gone: unhealthy, draining or removed.
    /// One that was only busy or unreachable for a moment keeps its client's session, and gets the client
    /// back.
    /// `lifetime`: as in release(), for whoever finds what was remembered after a daemon that was killed.
    void remember(std::uint64_t key_hash, BrokerId id,
                  std::chrono::seconds lifetime = std::chrono::seconds::max());
    /// The client's memory is of this broker from now on, whatever broker it is connected to. False: nothing
    /// is remembered of it.
    bool move(std::uint64_t key_hash, BrokerId id);
    /// The client's connection ended: the memory now expires after `lifetime`, clamped to the pool's minimum
    /// and maximum (seconds::max(): the session never expires). Other connections of the same key keep it.
    void release(std::uint64_t key_hash, std::chrono::seconds lifetime, Clock::time_point now);
    /// Forgets what has expired, a bounded piece of work per call; returns how many.
    std::size_t expire(Clock::time_point now);
    [[nodiscard]] std::size_t remembered() const;

    // What is remembered, for people and for whoever saves it.
    struct Memory {
        std::uint64_t key_hash = 0;
        BrokerId broker = 0;
        bool connected = false;
        std::chrono::seconds lifetime{0};  ///< beyond the connection
        Clock::time_point since{};         ///< when it disconnected
    };
    [[nodiscard]] std::optional<Memory> memory(std::uint64_t key_hash) const;
    /// Visits a piece from `position` on, which begins with 0 and is moved; false when it was the last. The
    /// pool is locked meanwhile.
    bool visit_memories(std::size_t& position, const std::function<void(const Memory&)>& visitor) const;
    /// What an earlier daemon remembered, in the order of disconnecting; whoever is known already stays.
    void restore(std::span<const Memory> memories);
    /// A client that is not connected goes to this broker when it comes, as if it had disconnected now.
    void set_memory(std::uint64_t key_hash, BrokerId id, std::chrono::seconds lifetime,
                    Clock::time_point now);
    /// False: nothing was remembered.
    bool forget(std::uint64_t key_hash);
    /// Everybody who is not connected, of one broker or of all; returns how many.
    std::size_t forget_all(std::optional<BrokerId> id);
    /// From now on it is noted whose memory changes.
    void track_changes();
    /// Who that was since the last call, some of them more than once; nothing where there were too many to
    /// note: look at all.
    [[nodiscard]] std::optional<std::vector<std::uint64_t>> take_changes();
    /// Whether a connection of this key lives now.
    [[nodiscard]] bool connected(std::uint64_t key_hash) const;

    /// The text that this pool's key takes of a client.
    [[nodiscard]] std::string key_text(const Client& client) const;
    /// Keyed hash (SipHash-2-4 with the seed given at construction) of a key's text; 0 stands for no key and
    /// is never returned for a text that is not empty.
    [[nodiscard]] std::uint64_t hash_key(std::string_view text) const;

    /// A connect or CONNACK failed: the broker is `down` for retry_down. Success makes it `up` again, unless
    /// it is unhealthy. `what` is said to people.
    void report_failure(BrokerId id, Clock::time_point now, Trouble trouble = Trouble::unreachable,
                        std::string_view what = {});
    void report_success(BrokerId id);
    /// Told, on the caller's thread, when traffic makes a broker `down` that was not before.
    void on_trouble(std::function<void(BrokerId)> handler);

    /// What health checks found: an unhealthy broker is `down` until they say otherwise, and begins with a
    /// small share of new clients that grows for slow_start. `error` is the last one, also of a broker that
    /// is still healthy.
    void set_health(BrokerId id, bool healthy, std::string_view error, Clock::time_point now);

    /// Drains a broker (it keeps its connections and takes no new clients) or ends that. update() keeps it.
    void set_draining(BrokerId id, bool draining);

    /// Takes over a new specification: brokers are matched by name, those that stay keep id, counts and
    /// memory; a change moves only the keys that it must. Brokers that left are draining until their last
    /// connection ends; one that comes back under its name finds its memory again.
    void update(PoolSpec spec);

    [[nodiscard]] std::vector<BrokerView> brokers() const;
    /// The broker with this address, for connections that were adopted from an earlier daemon.
    [[nodiscard]] std::optional<BrokerId> find(const Endpoint& address) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace limpet::balancer
