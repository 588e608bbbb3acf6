// SPDX-License-Identifier: Apache-2.0
#include "balancer/stick_table.h"

#include <algorithm>
#include <bit>

namespace limpet::balancer {
namespace {

constexpr std::uint32_t first_slots = 8;
constexpr std::uint64_t max_milliseconds = (std::uint64_t{1} << 40) - 1;  // 34 years
// Times before the steady clock's epoch, which is the machine's start: what was known before a reboot.
constexpr std::chrono::milliseconds before_epoch = std::chrono::hours{24 * 3660};

std::uint64_t to_milliseconds(Clock::time_point time) {
    const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()) + before_epoch;
    return since.count() <= 0 ? 0 : std::min(static_cast<std::uint64_t>(since.count()), max_milliseconds);
}

Clock::time_point to_time(std::uint64_t milliseconds) {
    return Clock::time_point{} + std::chrono::milliseconds{milliseconds} - before_epoch;
}

std::uint32_t to_seconds(std::chrono::seconds lifetime) {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(lifetime.count(), 0, INT32_MAX));
}

/// The next of 1, 1.5, 2, 3, 4, 6, 8 … that is not smaller: at most 62 different values.
std::uint32_t round_up(std::uint32_t seconds) {
    const auto power = std::bit_ceil(seconds);
    const auto between = power / 4 * 3;
    return between >= seconds ? between : power;
}

}  // namespace

StickTable::StickTable(std::size_t capacity, std::chrono::seconds longest)
    : capacity_(std::min(capacity, max_capacity)), longest_(to_seconds(longest)) {}

std::uint32_t StickTable::count(BrokerId broker) const {
    return broker < counts_.size() ? counts_[broker] : 0;
}

void StickTable::count_broker(BrokerId broker, std::int32_t change) {
    if (broker >= counts_.size()) counts_.resize(std::size_t{broker} + 1);
    counts_[broker] += static_cast<std::uint32_t>(change);
}

// ---- the index: upper bits of the hash choose the part, lower bits the slot, some between are kept in it

StickTable::Place StickTable::locate(std::uint64_t key) const {
    Part& part = parts_[key >> (64 - part_bits)];
    if (!part.slots) return {&part, 0, none};
    const auto piece = static_cast<std::uint32_t>(key >> number_bits) & ~((1U << number_bits) - 1);
    auto slot = static_cast<std::uint32_t>(key) & part.mask;
    for (; part.slots[slot] != 0; slot = (slot + 1) & part.mask) {
        const auto word = part.slots[slot];
        const Number number = (word & ((1U << number_bits) - 1)) - 1;
        if (word - number - 1 == piece && entry(number).key == key) return {&part, slot, number};
    }
    return {&part, slot, none};
}

void StickTable::grow(Part& part) const {
    const std::uint32_t old_size = part.slots ? part.mask + 1 : 0;
    const std::uint32_t size = old_size == 0 ? first_slots : old_size * 2;
    auto slots = std::make_unique<std::uint32_t[]>(size);
    for (std::uint32_t i = 0; i < old_size; ++i) {
        const auto word = part.slots[i];
        if (word == 0) continue;
        const Number number = (word & ((1U << number_bits) - 1)) - 1;
        auto slot = static_cast<std::uint32_t>(entry(number).key) & (size - 1);
        while (slots[slot] != 0) slot = (slot + 1) & (size - 1);
        slots[slot] = word;
    }
    part.slots = std::move(slots);
    part.mask = size - 1;
}

StickTable::Number StickTable::take_entry() {
    if (free_ != none) {
        const Number number = free_;
        free_ = entry(number).next;
        return number;
    }
    if ((fresh_ & chunk_mask) == 0 && (fresh_ >> chunk_bits) == chunks_.size())
        chunks_.push_back(std::make_unique_for_overwrite<Entry[]>(std::size_t{1} << chunk_bits));
    return fresh_++;
}

bool StickTable::insert(std::uint64_t key, BrokerId broker, std::uint32_t lifetime) {
    if (size_ >= capacity_ && !evict()) return false;
    Part& part = parts_[key >> (64 - part_bits)];
    // three quarters full at most: behind that the runs of linear probing grow fast
    if (!part.slots || part.used + 1 > (part.mask + 1) / 4 * 3) grow(part);
    const Place place = locate(key);
    const Number number = take_entry();
    const auto piece = static_cast<std::uint32_t>(key >> number_bits) & ~((1U << number_bits) - 1);
    part.slots[place.slot] = piece | (number + 1);
    ++part.used;
    ++size_;
    entry(number) = {key, lifetime, 1, 0, broker, connected_lane, 0};
    count_broker(broker, +1);
    return true;
}

/// Closes the gap by moving back what probed past it, so that no tombstones are left to slow others down.
void StickTable::erase(const Place& place) {
    Part& part = *place.part;
    auto hole = place.slot;
    for (auto slot = (hole + 1) & part.mask; part.slots[slot] != 0; slot = (slot + 1) & part.mask) {
        const Number number = (part.slots[slot] & ((1U << number_bits) - 1)) - 1;
        const auto home = static_cast<std::uint32_t>(entry(number).key) & part.mask;
        if (((slot - home) & part.mask) < ((slot - hole) & part.mask)) continue;
        part.slots[hole] = part.slots[slot];
        hole = slot;
    }
    part.slots[hole] = 0;
    --part.used;
    --size_;
    Entry& gone = entry(place.number);
    if (gone.lane != connected_lane) leave_lane(place.number);
    count_broker(gone.broker, -1);
    gone.key = 0;
    gone.next = free_;
    free_ = place.number;
}

// ---- the lanes

StickTable::LaneIndex StickTable::lane_for(std::uint32_t lifetime) {
    const auto lane_with = [&](std::uint32_t seconds, std::size_t limit) -> std::optional<LaneIndex> {
        std::optional<LaneIndex> empty;
        for (std::size_t i = 0; i < lanes_used_; ++i) {
            if (lanes_[i].head == none) {
                if (!empty && i < limit) empty = static_cast<LaneIndex>(i);
            } else if (lanes_[i].lifetime == seconds) {
                return static_cast<LaneIndex>(i);
            }
        }
        if (!empty && lanes_used_ < limit) empty = static_cast<LaneIndex>(lanes_used_++);
        if (empty) lanes_[*empty].lifetime = seconds;
        return empty;
    };
    if (const auto lane = lane_with(lifetime, exact_lanes)) return *lane;
    if (const auto lane = lane_with(std::min(round_up(lifetime), longest_), lanes_.size())) return *lane;
    // Out of lanes, after many reloads with other limits: the next longer one, or else the longest.
    std::size_t best = 0;
    for (std::size_t i = 1; i < lanes_used_; ++i) {
        const auto candidate = lanes_[i].lifetime;
        const auto so_far = lanes_[best].lifetime;
        if (so_far < lifetime ? candidate > so_far : candidate >= lifetime && candidate < so_far) best = i;
    }
    return static_cast<LaneIndex>(best);
}

void StickTable::enter_lane(Number number, LaneIndex index, std::uint64_t milliseconds) {
    Entry& stick = entry(number);
    Lane& lane = lanes_[index];
    stick.lane = index;
    stick.since_low = static_cast<std::uint32_t>(milliseconds);
    stick.since_high = static_cast<std::uint8_t>(milliseconds >> 32);
    stick.previous = lane.tail;
    stick.next = none;
    (lane.tail == none ? lane.head : entry(lane.tail).next) = number;
    lane.tail = number;
}

void StickTable::leave_lane(Number number) {
    Entry& stick = entry(number);
    Lane& lane = lanes_[stick.lane];
    (stick.previous == none ? lane.head : entry(stick.previous).next) = stick.next;
    (stick.next == none ? lane.tail : entry(stick.next).previous) = stick.previous;
    stick.lane = connected_lane;
}

bool StickTable::evict() {
    Number oldest = none;
    std::uint64_t oldest_since = UINT64_MAX;
    for (std::size_t i = 0; i < lanes_used_; ++i) {
        if (lanes_[i].head == none) continue;
        const Entry& head = entry(lanes_[i].head);
        const auto since = (std::uint64_t{head.since_high} << 32) | head.since_low;
        if (since < oldest_since) oldest = lanes_[i].head, oldest_since = since;
    }
    if (oldest == none) return false;
    erase_number(oldest);
    return true;
}

// ---- what the pool calls

std::optional<StickTable::Stick> StickTable::find(std::uint64_t key) const {
    const Place place = locate(key);
    if (place.number == none) return std::nullopt;
    return stick_of(entry(place.number));
}

StickTable::Stick StickTable::stick_of(const Entry& stick) const {
    if (stick.lane == connected_lane) return {stick.broker, true, std::chrono::seconds{stick.previous}};
    const auto since = (std::uint64_t{stick.since_high} << 32) | stick.since_low;
    return {stick.broker, false, std::chrono::seconds{lanes_[stick.lane].lifetime}, to_time(since)};
}

bool StickTable::visit(std::size_t& position, std::size_t budget,
                       const std::function<void(std::uint64_t key, const Stick& stick)>& visitor) const {
    const auto end = std::min<std::size_t>(fresh_, position + budget);
    for (; position < end; ++position) {
        const Entry& stick = entry(static_cast<Number>(position));
        if (stick.key != 0) visitor(stick.key, stick_of(stick));
    }
    return position < fresh_;
}

void StickTable::restore(std::uint64_t key, const Stick& stick) {
    const auto seconds = std::min(to_seconds(stick.lifetime), longest_);
    if (seconds == 0 || locate(key).number != none || !insert(key, stick.broker, seconds)) return;
    enter_lane(locate(key).number, lane_for(seconds), to_milliseconds(stick.since));
}

bool StickTable::forget(std::uint64_t key) {
    const Place place = locate(key);
    if (place.number == none) return false;
    erase(place);
    return true;
}

bool StickTable::connect(std::uint64_t key, BrokerId broker, std::chrono::seconds lifetime) {
    const auto seconds = std::min(to_seconds(lifetime), longest_);
    const Place place = locate(key);
    if (place.number == none) return insert(key, broker, seconds);
    Entry& stick = entry(place.number);
    if (stick.lane == connected_lane) {
        ++stick.next;
    } else {
        leave_lane(place.number);
        stick.next = 1;
    }
    stick.previous = seconds;
    change_broker(stick, broker);
    return true;
}

void StickTable::change_broker(Entry& stick, BrokerId broker) {
    if (stick.broker == broker) return;
    count_broker(stick.broker, -1);
    count_broker(broker, +1);
    stick.broker = broker;
}

bool StickTable::move(std::uint64_t key, BrokerId broker) {
    const Place place = locate(key);
    if (place.number == none) return false;
    change_broker(entry(place.number), broker);
    return true;
}

void StickTable::disconnect(std::uint64_t key, std::chrono::seconds lifetime, Clock::time_point now) {
    const Place place = locate(key);
    if (place.number == none) return;
    Entry& stick = entry(place.number);
    if (stick.lane != connected_lane || --stick.next > 0) return;
    const auto seconds = std::min(to_seconds(lifetime), longest_);
    if (seconds == 0) return erase(place);
    enter_lane(place.number, lane_for(seconds), to_milliseconds(now));
}

std::size_t StickTable::expire(Clock::time_point now, std::size_t budget) {
    const auto milliseconds = to_milliseconds(now);
    std::size_t expired = 0;
    for (std::size_t i = 0; i < lanes_used_; ++i) {
        while (expired < budget && lanes_[i].head != none) {
            const Entry& head = entry(lanes_[i].head);
            const auto since = (std::uint64_t{head.since_high} << 32) | head.since_low;
            if (since + std::uint64_t{lanes_[i].lifetime} * 1000 > milliseconds) break;
            erase_number(lanes_[i].head);
            ++expired;
        }
    }
    return expired;
}

void StickTable::forget_broker(BrokerId broker) {
    for (const Lane& lane : lanes_) {
        for (Number number = lane.head; number != none;) {
            const Number next = entry(number).next;
            if (entry(number).broker == broker) erase_number(number);
            number = next;
        }
    }
}

void StickTable::set_limits(std::size_t capacity, std::chrono::seconds longest) {
    longest_ = to_seconds(longest);
    capacity_ = std::min(capacity, max_capacity);
    while (size_ > capacity_ && evict()) {
    }
}

}  // namespace limpet::balancer
