// SPDX-License-Identifier: Apache-2.0
// The memory of a sticky pool: which broker a key went to.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "balancer/balancer.h"

namespace limpet::balancer {

/// Key hash to broker, for millions of keys: 24 bytes a key in chunks that never move, and 4 bytes a slot in
/// an index with open addressing, 30 to 36 bytes in all. The index is cut into parts that grow on their own,
/// so that no insertion ever pays for rehashing the whole.
///
/// A key is connected (it counts its connections and never expires) or disconnected. Those wait in lanes: one
/// lane for each lifetime, in the order of their disconnecting. So the head of a lane is both the first of it
/// to expire and the one disconnected longest ago, and no other order has to be kept.
///
/// Not synchronized: the pool's mutex guards it.
class StickTable {
  public:
    struct Stick {
        BrokerId broker = 0;
        bool connected = false;
        std::chrono::seconds lifetime{0};  ///< beyond the connection
        Clock::time_point since{};         ///< when it disconnected
    };

    /// No lifetime is taken for more than `longest`.
    StickTable(std::size_t capacity, std::chrono::seconds longest);

    [[nodiscard]] std::optional<Stick> find(std::uint64_t key) const;
    /// One more connection of this key, and it is at `broker`. False where the table is full of connected
    /// keys. `lifetime` is what it would have if nobody were there to see it disconnect.
    bool connect(std::uint64_t key, BrokerId broker,
                 std::chrono::seconds lifetime = std::chrono::seconds::max());
    /// What an earlier daemon knew of a key that has disconnected; nothing where this one knows more. They
    /// must come in the order of their disconnecting.
    void restore(std::uint64_t key, const Stick& stick);
    /// False: nothing was known.
    bool forget(std::uint64_t key);
    /// Visits what is known, at most `budget` places at a time, from `position` on, which begins with 0 and
    /// is moved; false when it was the last piece.
    bool visit(std::size_t& position, std::size_t budget,
               const std::function<void(std::uint64_t key, const Stick& stick)>& visitor) const;
    /// What is known of this key is of `broker` now. False: nothing is known.
    bool move(std::uint64_t key, BrokerId broker);
    /// One connection less. With the last one the key's lifetime begins; zero forgets it at once.
    void disconnect(std::uint64_t key, std::chrono::seconds lifetime, Clock::time_point now);
    /// Forgets at most `budget` keys whose lifetime has passed; returns how many.
    std::size_t expire(Clock::time_point now, std::size_t budget);
    /// Forgets every disconnected key of a broker. Looks at all keys: for rare occasions.
    void forget_broker(BrokerId broker);
    /// Where the new capacity is smaller those go that were disconnected longest ago.
    void set_limits(std::size_t capacity, std::chrono::seconds longest);

    [[nodiscard]] std::size_t size() const { return size_; }
    /// How many keys are at this broker.
    [[nodiscard]] std::uint32_t count(BrokerId broker) const;

  private:
    using Number = std::uint32_t;  ///< of an entry
    using LaneIndex = std::uint8_t;

    static constexpr Number none = UINT32_MAX;
    static constexpr LaneIndex connected_lane = 255;
    static constexpr unsigned number_bits = 26;  ///< of an index slot; the upper 6 hold a piece of the hash
    static constexpr unsigned part_bits = 6;
    static constexpr unsigned chunk_bits = 12;
    static constexpr std::size_t max_capacity = (std::size_t{1} << number_bits) - 2;
    /// Beyond this many exact lifetimes at once new ones are rounded up to a power of two or 1.5 times one.
    static constexpr std::size_t exact_lanes = 190;

    struct Entry {
        std::uint64_t key;        ///< 0: free
        Number previous;          ///< in its lane; while connected: the lifetime, seconds
        std::uint32_t next;       ///< in its lane or among the free; while connected: the connections
        std::uint32_t since_low;  ///< when it disconnected, in milliseconds of the steady clock, 40 bits
        BrokerId broker;
        LaneIndex lane;
        std::uint8_t since_high;
    };
    static_assert(sizeof(Entry) == 24);

    struct Lane {
        std::uint32_t lifetime = 0;  ///< seconds
        Number head = none;
        Number tail = none;
    };

    struct Part {
        std::unique_ptr<std::uint32_t[]> slots;  ///< 0, or hash piece and entry number + 1
        std::uint32_t mask = 0;
        std::uint32_t used = 0;
    };

    struct Place {
        Part* part;
        std::uint32_t slot;
        Number number;  ///< none: not there
    };

    [[nodiscard]] Entry& entry(Number number) const {
        return chunks_[number >> chunk_bits][number & chunk_mask];
    }
    [[nodiscard]] Place locate(std::uint64_t key) const;
    void grow(Part& part) const;
    Number take_entry();
    bool insert(std::uint64_t key, BrokerId broker, std::uint32_t lifetime);
    [[nodiscard]] Stick stick_of(const Entry& entry) const;
    void erase(const Place& place);
    void erase_number(Number number) { erase(locate(entry(number).key)); }
    void count_broker(BrokerId broker, std::int32_t change);
    void change_broker(Entry& stick, BrokerId broker);

    [[nodiscard]] LaneIndex lane_for(std::uint32_t lifetime);
    void enter_lane(Number number, LaneIndex index, std::uint64_t milliseconds);
    void leave_lane(Number number);
    bool evict();

    static constexpr Number chunk_mask = (1U << chunk_bits) - 1;

    std::size_t capacity_;
    std::uint32_t longest_;  ///< lifetime, seconds
    std::size_t size_ = 0;
    mutable std::array<Part, std::size_t{1} << part_bits> parts_;
    std::vector<std::unique_ptr<Entry[]>> chunks_;
    Number fresh_ = 0;    ///< entries from here on were never used
    Number free_ = none;  ///< first of those that were
    std::array<Lane, connected_lane> lanes_{};
    std::size_t lanes_used_ = 0;         ///< lanes from here on were never used
    std::vector<std::uint32_t> counts_;  ///< keys of each broker
};

}  // namespace limpet::balancer
