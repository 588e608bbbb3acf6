// SPDX-License-Identifier: Apache-2.0
// What both models share: packets, entries, and the calls into the data path's own text. Numbers are small:
// one byte of a stream is one segment, and what a segment carries is its place in the stream.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "datapath.h"

namespace limpet::model {

using Number = std::uint8_t;

inline constexpr Number fin = 0x01;
inline constexpr Number syn = 0x02;
inline constexpr Number rst = 0x04;
inline constexpr Number ack = 0x10;
inline constexpr Number data = 0x40;  ///< one byte
inline constexpr Number present = 0x80;

/// The client's side is leg 0, the broker's leg 1. Where the streams begin: what an end sends, and what we
/// send to it, in the numbers of that leg.
inline constexpr Number theirs[2] = {16, 112};
inline constexpr Number ours[2] = {48, 80};

struct Packet {
    Number kind;  ///< 0: none
    Number sequence;
    Number acknowledgement;
    Number content;

    [[nodiscard]] bool is(Number bits) const { return (kind & bits) != 0; }
    /// Whether it takes a sequence number.
    [[nodiscard]] Number length() const { return is(data) || is(fin) || is(syn) ? 1 : 0; }
    friend bool operator<(const Packet& a, const Packet& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
};

/// A queue in which packets may overtake each other.
template <std::size_t size>
struct Packets {
    std::array<Packet, size> at;

    bool put(const Packet& packet) {
        if (at[0].kind != 0) return false;  // none sorts first
        at[0] = packet;
        for (std::size_t i = 1; i < size && at[i] < at[i - 1]; ++i) std::swap(at[i], at[i - 1]);
        return true;
    }
    Packet take(std::size_t i) {
        const auto packet = at[i];
        for (; i > 0; --i) at[i] = at[i - 1];
        at[0] = {};
        return packet;
    }
    [[nodiscard]] bool empty() const { return at[size - 1].kind == 0; }
    [[nodiscard]] bool holds(Number sequence) const {
        for (const auto& each : at)
            if (each.kind != 0 && each.length() != 0 && each.sequence == sequence) return true;
        return false;
    }
};

/// What the model keeps of a limpet_flow4.
struct Entry {
    Number used;
    Number leg;
    Number life;  ///< which connection's: its generation
    Number state;
    Number flags;
    Number end;
    Number acknowledged;
    Number sequence_delta;  ///< signed
    Number acknowledgement_delta;
    Number reason;
    Number removal;  ///< the life whose removal is due; 0: none

    [[nodiscard]] bool spliced() const {
        return state == LIMPET_STATE_ACTIVE || state == LIMPET_STATE_CLOSING;
    }
};

/// HOLD's deadline on the model's clock, which stands still but for passing it.
inline constexpr std::uint32_t deadline = 100;

inline limpet_key4 key_of(int leg) {
    limpet_key4 key{};
    key.source_port = static_cast<std::uint16_t>(leg + 1);
    return key;
}

inline limpet_flow4 expand(const Entry& entry) {
    const auto wide = [](Number value) {
        return static_cast<std::uint32_t>(static_cast<std::int8_t>(value));
    };
    limpet_flow4 flow{};
    flow.flow.state = entry.state;
    flow.flow.flags = entry.flags;
    flow.flow.note_sequence_end = entry.end;
    flow.flow.note_ack = entry.acknowledged;
    flow.flow.sequence_delta = wide(entry.sequence_delta);
    flow.flow.acknowledgement_delta = wide(entry.acknowledgement_delta);
    flow.flow.created = entry.life;
    flow.flow.close_reason = entry.reason;
    flow.flow.tick = deadline;
    flow.destination_port = static_cast<std::uint16_t>(2 - entry.leg);  // the other leg's key
    return flow;
}

inline void compress(Entry& entry, const limpet_flow4& flow) {
    entry.state = flow.flow.state;
    entry.flags = flow.flow.flags;
    entry.end = static_cast<Number>(flow.flow.note_sequence_end);
    entry.acknowledged = static_cast<Number>(flow.flow.note_ack);
    entry.sequence_delta = static_cast<Number>(flow.flow.sequence_delta);
    entry.acknowledgement_delta = static_cast<Number>(flow.flow.acknowledgement_delta);
    entry.life = static_cast<Number>(flow.flow.created);
    entry.reason = flow.flow.close_reason;
}

/// The kernel's memory: elements, and which of them a tuple leads to now. An element that is freed is used
/// again at once, whoever still holds its address.
struct Map {
    std::array<Entry, 3> slots;
    std::array<Number, 2> index;  ///< of a leg; slot + 1

    [[nodiscard]] Entry* find(int leg) { return index[leg] != 0 ? &slots[index[leg] - 1] : nullptr; }
    [[nodiscard]] const Entry* find(int leg) const {
        return index[leg] != 0 ? &slots[index[leg] - 1] : nullptr;
    }
    [[nodiscard]] bool spliced(int leg) const { return find(leg) != nullptr && find(leg)->spliced(); }
    [[nodiscard]] bool both_spliced() const { return spliced(0) && spliced(1); }

    void create(int leg, Number life) {
        for (Number slot = 0; slot < slots.size(); ++slot) {
            if (slots[slot].used != 0) continue;
            slots[slot] = {};
            slots[slot].used = 1;
            slots[slot].leg = static_cast<Number>(leg);
            slots[slot].life = life;
            slots[slot].state = LIMPET_STATE_PENDING;
            slots[slot].flags = leg == 0 ? LIMPET_FLOW_CLIENT_LEG : 0;
            index[leg] = static_cast<Number>(slot + 1);
            return;
        }
    }
    void remove(int leg) {
        if (auto* entry = find(leg)) *entry = {};
        index[leg] = 0;
    }
};

/// What model_find() finds while the data path's text runs.
struct Loaded {
    static inline std::array<limpet_flow4, 2> flows;
    static inline std::array<bool, 2> there;

    static void load(const Map& map) {
        for (int leg = 0; leg < 2; ++leg) {
            there[leg] = map.find(leg) != nullptr;
            if (there[leg]) flows[leg] = expand(*map.find(leg));
        }
    }
    static void store(Map& map) {
        for (int leg = 0; leg < 2; ++leg)
            if (there[leg]) compress(*map.find(leg), flows[leg]);
    }
};

inline model_packet plain(const Packet& packet) {
    return {packet.sequence, packet.acknowledgement, packet.is(data) ? 1U : 0U,
            static_cast<std::uint8_t>(packet.kind & (fin | syn | rst | ack))};
}

/// A command on one leg or on both (leg 2), as Dataplane runs it.
inline limpet_command run(Map& map, limpet_operation operation, int leg, std::uint32_t now,
                          const limpet_leg* with = nullptr) {
    limpet_command command{};
    command.operation = static_cast<std::uint8_t>(operation);
    command.family = 4;
    for (int each = 0; each < 2; ++each) {
        if (leg != 2 && leg != each) continue;
        if (with != nullptr) command.leg[each] = *with;
        command.leg[each].present = 1;
        const auto key = key_of(each);
        std::memcpy(command.leg[each].key, &key, sizeof key);
        command.leg[each].destination_port = static_cast<std::uint16_t>(2 - each);
    }
    Loaded::load(map);
    model_transit(&command, now);
    Loaded::store(map);
    return command;
}

/// A packet of this leg as it leaves by the other one.
inline Packet translated(Packet packet, const Entry& entry) {
    packet.sequence = static_cast<Number>(packet.sequence + entry.sequence_delta);
    packet.acknowledgement = static_cast<Number>(packet.acknowledgement + entry.acknowledgement_delta);
    return packet;
}

}  // namespace limpet::model

#ifdef LIMPET_MODEL_MAIN
extern "C" limpet_flow4* model_find(const limpet_key4* key) {
    using limpet::model::Loaded;
    const int leg = key->source_port - 1;
    return (leg == 0 || leg == 1) && Loaded::there[leg] ? &Loaded::flows[leg] : nullptr;
}
#endif
