// SPDX-License-Identifier: Apache-2.0
// Leaving (docs/MODEL.md): worker, data path on two CPUs, the host's TCP, both ends and a daemon that may be
// killed between any two of its steps, in every order. `handoff CASE [MUTATION]`.
#define LIMPET_MODEL_MAIN
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "checker.h"
#include "world.h"

namespace limpet::model {
namespace {

/// What may happen in one exploration; more of everything at once would be too many states.
struct Case {
    const char* name;
    Number
        bytes[2];   ///< what each end has still to send; the first byte of each stream is CONNECT and CONNACK
    bool fin;       ///< the client's last byte is its FIN
    bool resets;    ///< the client may end with a RST
    Number losses;  ///< packets lost on the wire
    Number repeats;  ///< packets that an end sends twice without need
    Number tries;    ///< handoff_tries
    bool kill;       ///< the daemon may die
    bool next;       ///< and another one is started
    std::size_t cpus;
    int under_way;  ///< packets that are on their way at once, wherever
};

constexpr Case cases[] = {
    {"client_talks", {1, 0}, false, false, 0, 1, 1, false, false, 1, 2},
    {"two_cpus", {1, 0}, false, false, 0, 0, 1, false, false, 2, 2},
    {"lossy", {1, 0}, false, false, 1, 0, 1, false, false, 1, 2},
    {"broker_talks", {0, 1}, false, false, 0, 0, 1, false, false, 1, 2},
    {"both_talk", {1, 1}, false, false, 0, 0, 1, false, false, 1, 1},
    {"tried_again", {1, 0}, false, false, 0, 0, 2, false, false, 1, 2},
    {"client_ends", {1, 0}, true, true, 0, 0, 1, false, false, 1, 2},
    {"killed", {1, 0}, false, false, 0, 0, 1, true, true, 1, 2},
    {"killed_for_good", {1, 0}, false, false, 0, 0, 1, true, false, 1, 2},
};

/// Rules of the protocol that can be left out, to see that the model notices.
enum class Mutation {
    none,
    ack_unchecked,       // the peers' ACK numbers are not looked at
    arrival_unchecked,   // nor whether what was let through has arrived
    unread_unchecked,    // nor what lies unread in the socket
    buffer_unchecked,    // nor what the session holds
    entry_replaced,      // a change of state copies the entry and puts the copy in its place
    no_socket_grace,     // sockets are closed as soon as the flow is active
    no_retire_grace,     // entries are removed as soon as they are retired
    not_frozen,          // sockets are closed like any others
    half_pair_adopted,   // the next daemon keeps a pair of which one leg is active
    orphans_not_told,    // it tells nobody of what it removes
    late_reset_ignored,  // a RST that a frozen socket gets is not acted upon
    expiry_not_told,     // the next daemon tells nobody whose HOLD expired
    result_unchecked,    // the worker does not look whether ACTIVATE was done
    half_activated,      // the client's leg is activated although the broker's could not be
};

constexpr const char* mutation_names[] = {"none",
                                          "ack_unchecked",
                                          "arrival_unchecked",
                                          "unread_unchecked",
                                          "buffer_unchecked",
                                          "entry_replaced",
                                          "no_socket_grace",
                                          "no_retire_grace",
                                          "not_frozen",
                                          "half_pair_adopted",
                                          "orphans_not_told",
                                          "late_reset_ignored",
                                          "expiry_not_told",
                                          "result_unchecked",
                                          "half_activated"};

enum Phase : Number {
    pumping,      // PENDING: bytes go between the sockets
    to_hold,      // between the two legs of HOLD
    holding,      // in HOLD
    reading,      // between the two reads of the notes
    frozen,       // notes read, both sockets in repair mode
    positioned,   // the client's leg is found drained
    activating,   // both are
    half_active,  // the broker's leg is ACTIVE
    delivering,   // parked packets are sent on
    gracing,      // sockets still open
    gone,
    releasing,  // between the two legs of RELEASE
    dropping,   // relayed for good: the client's entry is to be retired
    dropping_broker,
    relaying,
    ended,  // the session's sockets are closed
    dead,   // the daemon is
    adopting,
    adopted,
};

struct Socket {
    Number next;      // to send
    Number unacked;   // first byte that its end has not acknowledged
    Number received;  // next expected
    Number unread;
    Number repair;
    Number marked;  // as leaving
    Number closed;
    Number finished;  // FIN was sent or received: not ESTABLISHED
    Number reset;     // closed by its end
};

struct End {
    Number next;
    Number unacked;
    Number received;
    Number owes;
    Number over;  // it was told, or ended by itself
};

struct Cpu {
    Number busy;
    Number leg;
    Number slot;
    Number life;
    Number active;  // the state that it saw was ACTIVE or CLOSING
    Packet packet;
    friend bool operator<(const Cpu& a, const Cpu& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
};

struct State {
    std::array<Packets<2>, 2> arriving;  // from an end to us
    std::array<Packets<1>, 2> leaving;   // from us to an end
    std::array<Packets<1>, 2> passed;    // to the host's TCP
    std::array<Packets<1>, 2> parked;
    std::array<Cpu, 2> cpus;
    Map map;
    std::array<Socket, 2> sockets;
    std::array<End, 2> ends;
    Number phase;
    Number tries;
    std::array<Number, 2> buffer;  // of the session, by stream: bytes read and not yet written
    std::array<Number, 2> note_end;
    std::array<Number, 2> note_ack;
    std::array<Entry, 2> copies;  // entry_replaced
    Number expired;               // HOLD's deadline has passed
    Number losses;
    Number repeats;
    Number spliced;  // both legs were ACTIVE
};

using Steps = Checker<State>;

class Handoff {
  public:
    Handoff(const Case& what, Mutation mutation) : case_(what), mutation_(mutation) {}

    [[nodiscard]] State first() const {
        State state{};
        for (int leg = 0; leg < 2; ++leg) {
            state.map.create(leg, 1);
            auto& entry = *state.map.find(leg);
            entry.flags |= LIMPET_FLOW_NOTE_SEEN;
            auto& socket = state.sockets[leg];
            auto& end = state.ends[leg];
            socket.next = socket.unacked = end.received = static_cast<Number>(ours[leg] + 1);
            end.next = end.unacked = socket.received = entry.end = static_cast<Number>(theirs[leg] + 1);
            entry.acknowledged = end.received;
        }
        // CONNACK was just relayed
        state.sockets[0].unacked = state.ends[0].received = state.map.find(0)->acknowledged = ours[0];
        state.leaving[0].put({present | data | ack, ours[0], static_cast<Number>(theirs[0] + 1), 0});
        state.losses = case_.losses;
        state.repeats = case_.repeats;
        return state;
    }

    void successors(const State& state, Steps& steps) {
        wire(state, steps);
        for (int leg = 0; leg < 2; ++leg) {
            end_acts(state, leg, steps);
            host_acts(state, leg, steps);
        }
        cpus(state, steps);
        worker(state, steps);
        pump(state, steps);
        janitor(state, steps);
        daemon(state, steps);
    }

    [[nodiscard]] bool settled(const State& state) const {
        if (state.ends[0].over != 0 && state.ends[1].over != 0) {
            if (state.map.both_spliced()) return true;            // closing: the other model
            if (!case_.next && state.phase == dead) return true;  // entries wait for the next daemon
            return state.map.index[0] == 0 && state.map.index[1] == 0;
        }
        if (state.phase == dead && !state.map.both_spliced()) return false;
        if (state.phase != gone && state.phase != adopted && state.phase != relaying && state.phase != dead)
            return false;
        if (state.phase == relaying && (state.map.index[0] != 0 || state.map.index[1] != 0)) return false;
        for (int leg = 0; leg < 2; ++leg) {
            const auto& end = state.ends[leg];
            if (end.next != theirs[leg] + total(leg) || end.unacked != end.next) return false;
            if (state.ends[1 - leg].received != ours[1 - leg] + total(leg)) return false;
        }
        return true;
    }

  private:
    [[nodiscard]] Number total(int leg) const { return static_cast<Number>(1 + case_.bytes[leg]); }
    [[nodiscard]] std::uint32_t now(const State& state) const { return deadline + state.expired; }
    static bool held(const State& state) {
        for (int leg = 0; leg < 2; ++leg)
            if (state.map.find(leg) != nullptr && state.map.find(leg)->state == LIMPET_STATE_HOLD)
                return true;
        return false;
    }

    /// One segment of a stream: the byte at this place of it, which of the client's may be its FIN.
    [[nodiscard]] Packet segment(int stream, Number place, Number sequence, Number acknowledgement) const {
        const bool last = case_.fin && stream == 0 && place + 1 == total(0);
        return {static_cast<Number>(present | ack | (last ? fin : data)), sequence, acknowledgement, place};
    }

    // the wire

    void wire(const State& state, Steps& steps) {
        if (state.losses == 0) return;
        for (int leg = 0; leg < 2; ++leg) {
            auto next = state;
            --next.losses;
            for (std::size_t at = 0; at < 2; ++at)
                if (state.arriving[leg].at[at].kind != 0) {
                    next.arriving[leg].take(at);
                    take(steps, next, "the wire loses a packet to the gateway");
                    next.arriving[leg] = state.arriving[leg];
                }
            if (!state.leaving[leg].empty()) {
                next.leaving[leg] = {};
                take(steps, next, "the wire loses a packet from the gateway");
            }
        }
    }

    // both ends: a TCP that repeats, delays ACKs, and has no more than it needs

    /// Whether another packet may come to those that are on their way.
    [[nodiscard]] bool room(const State& state) const {
        int packets = 0;
        for (int leg = 0; leg < 2; ++leg) {
            for (const auto& each : state.arriving[leg].at) packets += each.kind != 0;
            packets += !state.leaving[leg].empty();
            packets += !state.passed[leg].empty();
            packets += state.cpus[leg].busy;
        }
        return packets < case_.under_way;
    }

    void end_acts(const State& state, int leg, Steps& steps) {
        const auto& end = state.ends[leg];
        if (!state.leaving[leg].empty()) end_hears(state, leg, steps);
        if (end.over != 0 || !room(state)) return;
        auto next = state;
        if (end.next < theirs[leg] + total(leg)) {
            const auto place = static_cast<Number>(end.next - theirs[leg]);
            if (next.arriving[leg].put(segment(leg, place, end.next, end.received))) {
                ++next.ends[leg].next;
                next.ends[leg].owes = 0;
                take(steps, next, leg == 0 ? "the client sends a byte" : "the broker sends a byte");
            }
        }
        next = state;
        if (end.unacked != end.next) {
            const bool lost = !under_way(state, leg, end.unacked);
            const auto place = static_cast<Number>(end.unacked - theirs[leg]);
            if ((lost || state.repeats != 0) &&
                next.arriving[leg].put(segment(leg, place, end.unacked, end.received))) {
                if (!lost) --next.repeats;
                next.ends[leg].owes = 0;
                take(steps, next, leg == 0 ? "the client repeats a byte" : "the broker repeats a byte");
            }
        }
        next = state;
        if (end.owes != 0 && next.arriving[leg].put({present | ack, end.next, end.received, 0})) {
            next.ends[leg].owes = 0;
            take(steps, next, leg == 0 ? "the client acknowledges" : "the broker acknowledges");
        }
        next = state;
        if (leg == 0 && case_.resets &&
            next.arriving[0].put({present | rst | ack, end.next, end.received, 0})) {
            next.ends[0].over = 1;
            take(steps, next, "the client resets");
        }
        next = state;
        // A quiet end finds out by asking (keep-alive): nobody else would tell it.
        // Half a pair, of which the other half expired: keep-alive ends it where no daemon ever comes.
        if (!case_.next && state.phase == dead && state.map.spliced(leg) && !state.map.spliced(1 - leg)) {
            next.ends[leg].over = 1;
            take(steps, next, "an end gives up the silent other one");
            next = state;
        }
        if (!case_.next && state.phase == dead && state.arriving[leg].empty() && state.passed[leg].empty() &&
            state.leaving[leg].empty() && next.arriving[leg].put({present | ack, end.next, end.received, 0}))
            take(steps, next, "an end asks whether the other is there");
    }

    [[nodiscard]] static bool under_way(const State& state, int leg, Number sequence) {
        if (state.arriving[leg].holds(sequence) || state.passed[leg].holds(sequence)) return true;
        for (const auto& cpu : state.cpus)
            if (cpu.busy != 0 && cpu.leg == leg && cpu.packet.length() != 0 &&
                cpu.packet.sequence == sequence)
                return true;
        // as it left by the other leg
        return state.leaving[1 - leg].holds(static_cast<Number>(sequence - theirs[leg] + ours[1 - leg]));
    }

    void end_hears(const State& state, int leg, Steps& steps) {
        const char* label = leg == 0 ? "a packet reaches the client" : "a packet reaches the broker";
        auto next = state;
        const auto packet = next.leaving[leg].take(0);
        auto& end = next.ends[leg];
        if (end.over != 0) {
            if (!packet.is(rst)) next.arriving[leg].put({present | rst, packet.acknowledgement, 0, 0});
            return take(steps, next, label);
        }
        if (packet.is(rst)) {
            if (packet.sequence == end.received)
                end.over = 1;
            else
                end.owes = 1;  // RFC 5961 3.2
            return take(steps, next, label);
        }
        if (packet.acknowledgement > end.next)
            return steps.fail("I1: an end is told that bytes arrived which it never sent", label);
        end.unacked = std::max(end.unacked, packet.acknowledgement);
        if (packet.length() != 0) {
            end.owes = 1;
            if (packet.sequence == end.received) {
                if (packet.content != end.received - ours[leg])
                    return steps.fail("I1: an end takes another byte for the one that it expects", label);
                ++end.received;
            }
        }
        take(steps, next, label);
    }

    // the host's TCP

    /// Egress, with the guard.
    [[nodiscard]] static bool speak(State& state, int leg, const Packet& packet) {
        if (state.map.spliced(leg)) {
            // Dropped. It counts as harmless from a socket that leaves; to an end that is over; and when the
            // daemon, and with it its sockets, was killed within their grace.
            return (state.sockets[leg].marked != 0 && state.sockets[leg].closed == 0) ||
                   state.ends[leg].over != 0 || state.phase >= dead;
        }
        state.leaving[leg].put(packet);  // a full queue loses it
        return true;
    }
    static constexpr const char* spoke = "I2: the host's TCP speaks on an active flow";

    void host_acts(const State& state, int leg, Steps& steps) {
        const auto& socket = state.sockets[leg];
        if (!state.passed[leg].empty()) host_hears(state, leg, steps);
        if (socket.closed != 0) return;
        auto next = state;
        if (socket.unacked != socket.next && room(state) && !state.leaving[leg].holds(socket.unacked)) {
            const auto place = static_cast<Number>(socket.unacked - ours[leg]);
            if (!speak(next, leg, segment(1 - leg, place, socket.unacked, socket.received)))
                return steps.fail(spoke, "the host repeats a byte");
            take(steps, next, "the host repeats a byte");
        }
    }

    void host_hears(const State& state, int leg, Steps& steps) {
        const char* label =
            leg == 0 ? "the host takes a packet of the client's" : "the host takes a packet of the broker's";
        auto next = state;
        const auto packet = next.passed[leg].take(0);
        auto& socket = next.sockets[leg];
        if (socket.closed != 0) {
            if (!packet.is(rst) && !speak(next, leg, {present | rst, packet.acknowledgement, 0, 0}))
                return steps.fail(spoke, label);
            return take(steps, next, label);
        }
        if (packet.is(rst)) {
            if (packet.sequence == socket.received) {
                socket.closed = socket.reset = 1;
            }
            return take(steps, next, label);
        }
        bool answer = packet.length() != 0 || packet.acknowledgement > socket.next;
        if (packet.acknowledgement <= socket.next)
            socket.unacked = std::max(socket.unacked, packet.acknowledgement);
        if (packet.length() != 0) {
            if (packet.sequence == socket.received) {
                ++socket.received;
                ++socket.unread;
                if (packet.is(fin)) socket.finished = 1;
            }
        }
        if (answer && !speak(next, leg, {present | ack, socket.next, socket.received, 0}))
            return steps.fail(spoke, label);
        take(steps, next, label);
    }

    /// The kernel's farewell on a socket that is closed in the ordinary way is repeated until it is heard.
    void close_socket(State& state, int leg) {
        auto& socket = state.sockets[leg];
        if (socket.closed == 0 && socket.repair == 0 && !state.map.spliced(leg)) state.ends[leg].over = 1;
        socket = {};
        socket.closed = 1;
    }

    void session_ends(State& state) {
        close_socket(state, 0);
        close_socket(state, 1);
        if (state.phase < dropping) state.phase = dropping;
    }

    // the data path, on two CPUs

    void cpus(const State& state, Steps& steps) {
        for (std::size_t each = 0; each < 2; ++each) {
            const auto& cpu = state.cpus[each];
            if (cpu.busy != 0) {
                cpu_finishes(state, each, steps);
            } else if (each ==
                       2 - case_.cpus) {  // both idle: one of them is enough, as they are alike and sorted
                for (int leg = 0; leg < 2; ++leg)
                    for (std::size_t at = 0; at < 2; ++at)
                        if (state.arriving[leg].at[at].kind != 0) cpu_begins(state, each, leg, at, steps);
            }
        }
    }

    static void take(Steps& steps, State& next, const char* label) {
        if (next.phase == gone || next.phase == adopted || next.phase == relaying || next.phase == ended)
            next.tries = 0;
        if (!held(next)) next.expired = 0;
        if (next.cpus[1] < next.cpus[0]) std::swap(next.cpus[0], next.cpus[1]);
        if (next.map.both_spliced()) next.spliced = 1;
        steps.take(next, label);
    }

    void cpu_begins(const State& state, std::size_t each, int leg, std::size_t at, Steps& steps) {
        auto next = state;
        const auto packet = next.arriving[leg].take(at);
        const auto* entry = state.map.find(leg);
        if (entry == nullptr) {
            if (!next.passed[leg].put(packet)) return;  // a queue of the host's: it waits
            return take(steps, next, "a packet without an entry goes to the host");
        }
        next.cpus[each] = {1,
                           static_cast<Number>(leg),
                           state.map.index[leg],
                           entry->life,
                           static_cast<Number>(entry->spliced() ? 1 : 0),
                           packet};
        take(steps, next,
             leg == 0 ? "a CPU looks up the client's entry" : "a CPU looks up the broker's entry");
    }

    void cpu_finishes(const State& state, std::size_t each, Steps& steps) {
        auto next = state;
        const auto cpu = state.cpus[each];
        next.cpus[each] = {};
        auto& entry = next.map.slots[cpu.slot - 1];
        if (entry.used == 0 || entry.life != cpu.life || entry.leg != cpu.leg)
            return steps.fail("I6: a CPU works with an element that is free or another connection's",
                              "a CPU goes on with the entry that it looked up");
        int verdict = MODEL_FORWARD;
        const auto packet = plain(cpu.packet);
        if (cpu.active == 0) {
            auto flow = expand(entry);
            verdict = model_note(&flow, &packet, now(state));
            compress(entry, flow);
        }
        if (verdict == MODEL_PASS) {
            if (!next.passed[cpu.leg].put(cpu.packet)) return;
            return take(steps, next, "a packet passes to the host");
        }
        if (verdict == MODEL_PARK) {
            if (state.expired != 0 && cpu.active == 0)
                return steps.fail("I4: a packet is parked although HOLD's deadline has passed",
                                  "a packet is parked");
            next.parked[cpu.leg].put(cpu.packet);
            return take(steps, next, "a packet is parked");
        }
        if (!state.leaving[1 - cpu.leg].empty()) return;
        const auto key = key_of(cpu.leg);
        Loaded::load(next.map);
        verdict = model_follow(&key, &Loaded::flows[cpu.leg], &packet, now(state));
        Loaded::store(next.map);
        if (verdict == MODEL_FORWARD)
            next.leaving[1 - cpu.leg].put(translated(cpu.packet, next.map.slots[cpu.slot - 1]));
        else if (verdict == MODEL_PASS)
            next.passed[cpu.leg].put(cpu.packet);
        take(steps, next, "a packet is forwarded");
    }

    // the session

    void pump(const State& state, Steps& steps) {
        if (state.phase != pumping && state.phase != holding && state.phase != relaying) return;
        for (int stream = 0; stream < 2; ++stream) {
            auto next = state;
            if (state.sockets[stream].unread != 0 && state.buffer[stream] == 0) {
                --next.sockets[stream].unread;
                next.buffer[stream] = 1;
                take(steps, next, "the session reads a byte");
            }
            next = state;
            auto& socket = next.sockets[1 - stream];
            if (state.buffer[stream] == 0 || socket.closed != 0) continue;
            next.buffer[stream] = 0;
            const auto out = segment(stream, static_cast<Number>(socket.next - ours[1 - stream]), socket.next,
                                     socket.received);
            ++socket.next;
            if (out.is(fin)) socket.finished = 1;
            if (!speak(next, 1 - stream, out)) return steps.fail(spoke, "the session writes a byte");
            take(steps, next, "the session writes a byte");
        }
        // A RST is noticed at once; whom nobody hears of any more, by keep-alive.
        const bool reset = state.sockets[0].reset != 0 || state.sockets[1].reset != 0;
        if (!reset && (state.phase != relaying || state.ends[0].over == 0)) return;
        auto next = state;
        session_ends(next);
        if (state.phase == relaying) next.phase = ended;
        take(steps, next, "the session ends with its client");
    }

    /// Connection::step() and what it calls, one access to shared things at a time.
    void worker(const State& state, Steps& steps) {
        auto next = state;
        const bool idle =
            mutation_ == Mutation::buffer_unchecked || (state.buffer[0] == 0 && state.buffer[1] == 0);
        switch (state.phase) {
            case pumping:
                if (!idle || state.tries >= case_.tries) return;
                next.sockets[0].marked = next.sockets[1].marked = 1;
                next.expired = 0;
                if (!change(next, LIMPET_OPERATION_HOLD, 1)) return drop(next, steps, "HOLD is refused");
                next.phase = to_hold;
                return take(steps, next, "the worker holds the broker's leg");
            case to_hold:
                if (!change(next, LIMPET_OPERATION_HOLD, 0)) return drop(next, steps, "HOLD is refused");
                next.phase = holding;
                return take(steps, next, "the worker holds the client's leg");
            case holding:
                release(state, steps);
                if (!idle) return;
                if (!read_note(next, 1)) return drop(next, steps, "the broker's leg is not in HOLD any more");
                next.phase = reading;
                return take(steps, next, "the worker reads the broker's note");
            case reading:
                if (!read_note(next, 0)) return drop(next, steps, "the client's leg is not in HOLD any more");
                if (mutation_ != Mutation::not_frozen) next.sockets[0].repair = next.sockets[1].repair = 1;
                next.phase = frozen;
                return take(steps, next, "the worker freezes both sockets");
            case frozen:
                if (!drained(state, 0)) return thaw(next, steps);
                next.phase = positioned;
                return take(steps, next, "the client's leg is drained");
            case positioned:
                if (!drained(state, 1)) return thaw(next, steps);
                next.phase = activating;
                return take(steps, next, "the broker's leg is drained");
            case activating:
                return activate(next, steps, 1);
            case half_active:
                return activate(next, steps, 0);
            case delivering:
                return deliver(next, steps);
            case gracing:
                return close_after_grace(next, steps);
            case releasing:
                change(next, LIMPET_OPERATION_RELEASE, 0);
                next.parked = {};
                ++next.tries;
                if (next.tries >= case_.tries) return drop(next, steps, "the worker gives up leaving");
                next.phase = pumping;
                return take(steps, next, "the worker releases the client's leg");
            case dropping:
                retire(next, 0);
                next.phase = dropping_broker;
                return take(steps, next, "the worker retires the client's entry");
            case dropping_broker:
                retire(next, 1);
                next.phase = state.sockets[0].closed != 0 && state.sockets[1].closed != 0 ? ended : relaying;
                return take(steps, next, "the worker retires the broker's entry");
            default:
                return;
        }
    }

    bool change(State& state, limpet_operation operation, int leg) {
        limpet_leg with{};
        with.tick = deadline;
        if (mutation_ == Mutation::entry_replaced && operation == LIMPET_OPERATION_HOLD) {
            // a copy is made, changed, and put in the place of the element, which is free then
            const auto copy = *state.map.find(leg);
            state.map.remove(leg);
            for (Number slot = 3; slot-- > 0;)
                if (state.map.slots[slot].used == 0 && state.map.index[leg] == 0 && slot == 2) {
                    state.map.slots[slot] = copy;
                    state.map.index[leg] = static_cast<Number>(slot + 1);
                }
            if (state.map.index[leg] == 0) state.map.create(leg, copy.life), *state.map.find(leg) = copy;
        }
        return run(state.map, operation, leg, now(state), &with).leg[leg].result == LIMPET_RESULT_OK;
    }

    void drop(State& next, Steps& steps, const char* label) {
        next.sockets[0].repair = next.sockets[1].repair = 0;
        next.phase = dropping;
        take(steps, next, label);
    }

    void release(const State& state, Steps& steps) {
        auto next = state;
        change(next, LIMPET_OPERATION_RELEASE, 1);
        next.phase = releasing;
        take(steps, next, "the worker has waited long enough, and releases the broker's leg");
    }

    bool read_note(State& state, int leg) {
        const auto read = run(state.map, LIMPET_OPERATION_READ, leg, now(state));
        state.note_end[leg] = static_cast<Number>(read.leg[leg].note_sequence_end);
        state.note_ack[leg] = static_cast<Number>(read.leg[leg].note_ack);
        return read.leg[leg].result == LIMPET_RESULT_OK && read.leg[leg].state == LIMPET_STATE_HOLD;
    }

    [[nodiscard]] bool drained(const State& state, int leg) const {
        const auto& socket = state.sockets[leg];
        if (socket.closed != 0 || socket.finished != 0) return false;
        return (mutation_ == Mutation::arrival_unchecked || socket.received == state.note_end[leg]) &&
               (mutation_ == Mutation::ack_unchecked || socket.next == state.note_ack[leg]) &&
               (mutation_ == Mutation::unread_unchecked || socket.unread == 0);
    }

    void thaw(State& next, Steps& steps) {
        next.sockets[0].repair = next.sockets[1].repair = 0;
        next.note_end = next.note_ack = {};
        next.phase = holding;
        take(steps, next, "not drained");
    }

    void activate(State& next, Steps& steps, int leg) {
        const auto& from = next.sockets[leg];
        const auto& to = next.sockets[1 - leg];
        limpet_leg with{};
        with.sequence_delta = static_cast<std::uint32_t>(to.next - from.received);
        with.acknowledgement_delta = static_cast<std::uint32_t>(to.received - from.next);
        // limpet_change_pair(): not the client's leg where the broker's could not be
        const bool half = leg == 0 && next.copies[0].used != 0;
        const auto done = half && mutation_ != Mutation::half_activated
                              ? limpet_command{}
                              : run(next.map, LIMPET_OPERATION_ACTIVATE, leg, now(next), &with);
        if (half && next.map.spliced(0))
            return steps.fail("I3: a leg is active although the other one could not be activated",
                              "the worker activates the client's leg");
        const bool good = done.leg[leg].result == LIMPET_RESULT_OK || mutation_ == Mutation::result_unchecked;
        next.note_end = next.note_ack = {};
        // One command sets both legs: what the first one came to is seen after the second.
        next.copies[0].used = static_cast<Number>(next.copies[0].used | (good ? 0 : 1));
        if (leg == 1) {
            next.phase = half_active;
            return take(steps, next, "the worker activates the broker's leg");
        }
        const bool failed = next.copies[0].used != 0;
        next.copies[0].used = 0;
        if (failed) return drop(next, steps, "one leg could not be activated");
        next.phase = delivering;
        take(steps, next, "the worker activates the client's leg");
    }

    /// Connection::State::deliver_parked()
    void deliver(State& next, Steps& steps) {
        bool reset = false;
        Number finished[2] = {0, 0};
        for (int leg = 0; leg < 2; ++leg)
            if (!next.parked[leg].empty() && !next.leaving[1 - leg].empty()) return;
        for (int leg = 0; leg < 2; ++leg) {
            if (next.parked[leg].empty()) continue;
            const auto packet = next.parked[leg].take(0);
            const auto* entry = next.map.find(leg);
            if (entry == nullptr || packet.is(syn)) continue;
            next.leaving[1 - leg].put(translated(packet, *entry));
            if (packet.is(fin)) finished[leg] = LIMPET_FLOW_FIN_SEEN;
            if (packet.is(rst)) reset = true;
        }
        for (int leg = 0; leg < 2; ++leg) {
            limpet_leg with{};
            with.flags = finished[leg];
            if (finished[leg] != 0) run(next.map, LIMPET_OPERATION_MARK, leg, now(next), &with);
        }
        if (reset) {
            limpet_leg with{};
            with.close_reason = LIMPET_REASON_END_RST;
            run(next.map, LIMPET_OPERATION_CLOSE, 2, now(next), &with);
        }
        next.phase = gracing;
        take(steps, next, "the worker sends what was parked");
    }

    /// 50 ms are longer than any packet is on its way within the host: that is what the grace is for.
    void close_after_grace(State& next, Steps& steps) {
        if (mutation_ != Mutation::no_socket_grace) {
            for (int leg = 0; leg < 2; ++leg)
                if (!next.passed[leg].empty()) return;
            for (const auto& cpu : next.cpus)
                if (cpu.busy != 0 && cpu.active == 0) return;
        }
        // A RST that passed before HOLD and reached its socket behind the handoff (Janitor::close_due()).
        const bool reset = mutation_ != Mutation::late_reset_ignored &&
                           (next.sockets[0].reset != 0 || next.sockets[1].reset != 0);
        if (reset && (!next.leaving[0].empty() || !next.leaving[1].empty())) return;
        for (int leg = 0; leg < 2; ++leg) {
            const auto& socket = next.sockets[leg];
            if (socket.closed == 0 && socket.repair == 0)
                return steps.fail(spoke, "a socket is closed with a FIN");
            close_socket(next, leg);
        }
        next.phase = gone;
        if (reset) {
            for (int leg = 0; leg < 2; ++leg)
                if (const auto* entry = next.map.find(leg))
                    next.leaving[leg].put({present | rst | ack, entry->acknowledged, entry->end, 0});
            retire(next, 0);
            retire(next, 1);
            next.phase = ended;
        }
        take(steps, next, "both sockets are closed");
    }

    void retire(State& state, int leg) {
        auto* entry = state.map.find(leg);
        if (entry == nullptr) return;
        limpet_leg with{};
        with.created = 1;
        run(state.map, LIMPET_OPERATION_RETIRE, leg, now(state), &with);
        entry->removal = 1;
    }

    // the janitor, and the daemon's life

    [[nodiscard]] bool removable(const State& state, int leg) const {
        if (mutation_ == Mutation::no_retire_grace) return true;
        // retire_grace is longer than any CPU has a packet in its hands
        return std::ranges::none_of(
            state.cpus, [&](const Cpu& cpu) { return cpu.busy != 0 && cpu.slot == state.map.index[leg]; });
    }

    void janitor(const State& state, Steps& steps) {
        if (state.phase == dead || state.phase == adopting) return;
        for (int leg = 0; leg < 2; ++leg) {
            const auto* entry = state.map.find(leg);
            if (entry == nullptr || entry->removal == 0 || entry->state != LIMPET_STATE_RETIRED ||
                !removable(state, leg))
                continue;
            auto next = state;
            next.map.remove(leg);
            take(steps, next, "the janitor removes an entry");
        }
    }

    void daemon(const State& state, Steps& steps) {
        auto next = state;
        if (state.expired == 0 && held(state)) {
            next.expired = 1;
            take(steps, next, "HOLD's deadline passes");
        }
        next = state;
        // One command changes both legs, and no signal comes between.
        const bool inside = state.phase == to_hold || state.phase == half_active || state.phase == releasing;
        if (case_.kill && state.phase < dead && !inside) {
            for (int leg = 0; leg < 2; ++leg) close_socket(next, leg);
            next.phase = dead;
            next.buffer = next.note_end = next.note_ack = {};
            next.copies = {};
            next.parked = {};
            for (auto& slot : next.map.slots) slot.removal = 0;
            take(steps, next, "the daemon is killed");
        }
        next = state;
        if (state.phase == dead && case_.next) {
            next.phase = adopting;
            take(steps, next, "another daemon starts");
        }
        if (state.phase == adopting) adopt(state, steps);
        if ((state.phase == dead || state.phase == adopted) && state.spliced != 0 && !case_.resets &&
            state.map.index[0] == 0)
            steps.fail("I4: a flow that was active did not outlive its daemon", "the flow is gone");
    }

    /// Janitor::adopt() and remove_orphan()
    void adopt(const State& state, Steps& steps) {
        auto next = state;
        const bool keep = mutation_ == Mutation::half_pair_adopted
                              ? state.map.spliced(0) || state.map.spliced(1)
                              : state.map.both_spliced();
        for (int leg = 0; leg < 2 && !keep; ++leg) {
            auto* entry = next.map.find(leg);
            if (entry == nullptr) continue;
            if (!removable(state, leg) || !state.leaving[leg].empty()) return;
            // A RST of ours is marked, so the guard lets it pass.
            const bool quiet =
                entry->state == LIMPET_STATE_RETIRED &&
                (entry->reason != LIMPET_REASON_HOLD_EXPIRED || mutation_ == Mutation::expiry_not_told);
            if (!quiet && (entry->flags & LIMPET_FLOW_NOTE_SEEN) != 0 &&
                mutation_ != Mutation::orphans_not_told)
                next.leaving[leg].put({present | rst | ack, entry->acknowledged, entry->end, 0});
            next.map.remove(leg);
        }
        next.phase = adopted;
        take(steps, next, keep ? "it adopts the flow" : "it resets what was not finished");
    }

    const Case& case_;
    Mutation mutation_;
};

int report(const char* name, const Verdict& verdict) {
    std::printf("%s: %zu states, %zu steps: %s\n", name, verdict.states, verdict.steps,
                verdict.broken.empty() ? "holds" : verdict.broken.c_str());
    for (std::size_t at = 0; at < verdict.trace.size(); ++at)
        std::printf("  %3zu. %s\n", at + 1, verdict.trace[at].c_str());
    return verdict.broken.empty() ? 0 : 1;
}

}  // namespace
}  // namespace limpet::model

int main(int argc, char** argv) {
    using namespace limpet::model;
    const std::string_view wanted = argc > 1 ? argv[1] : "";
    const std::string_view mutation = argc > 2 ? argv[2] : "none";
    const auto* const found = std::find(std::begin(mutation_names), std::end(mutation_names), mutation);
    for (const auto& each : cases) {
        if (wanted != each.name || found == std::end(mutation_names)) continue;
        Handoff model(each, static_cast<Mutation>(found - std::begin(mutation_names)));
        Checker<State> checker(argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 8'000'000);
        return report(each.name, checker.run(model, model.first()));
    }
    for (const auto& each : cases) std::printf("case %s\n", each.name);
    for (const auto* each : mutation_names) std::printf("mutation %s\n", each);
    return 2;
}
