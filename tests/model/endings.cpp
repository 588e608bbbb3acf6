// SPDX-License-Identifier: Apache-2.0
// The end of an active flow (docs/MODEL.md): true ends, a client that comes back on the same port, the
// janitor, and somebody who knows the tuple and guesses numbers. `endings CASE`.
#define LIMPET_MODEL_MAIN
#include <algorithm>
#include <string_view>

#include "checker.h"
#include "world.h"

namespace limpet::model {
namespace {

struct Case {
    const char* name;
    Number forgeries;
    bool true_end;  ///< the client resets, or comes back with a SYN
};

constexpr Case cases[] = {
    {"forged", 3, false},
    {"comes_back", 0, true},
    {"forged_while_it_ends", 1, true},
};

/// Numbers from here on stand for some that are far out of every window: nobody is told what a flow's are.
constexpr Number far = 200;

struct Cpu {
    Number busy;
    Number leg;
    Number slot;
    Number life;
    Packet packet;
    friend bool operator<(const Cpu& a, const Cpu& b) { return std::memcmp(&a, &b, sizeof a) < 0; }
};

enum Phase : Number { watching, found, client_retired };

struct State {
    std::array<Packets<2>, 2> arriving;
    std::array<Cpu, 2> cpus;
    Map map;
    Number forgeries;
    Number ended;     // the client's connection has ended in truth
    Number syns;      // that the client may still send
    Number listener;  // a SYN of the client's waits there
    Number janitor;   // Phase
    Number seen;      // the life that it read
};

using Steps = Checker<State>;

std::uint32_t wide(Number number) {
    return number >= far ? 0x4000'0000U + number : number;
}

/// As the data path sees it.
model_packet true_numbers(const Packet& packet) {
    auto result = plain(packet);
    result.sequence = wide(packet.sequence);
    result.acknowledgement = wide(packet.acknowledgement);
    return result;
}

class Endings {
  public:
    explicit Endings(const Case& what) : case_(what) {}

    [[nodiscard]] State first() const {
        State state{};
        for (int leg = 0; leg < 2; ++leg) {
            state.map.create(leg, 1);
            auto& entry = *state.map.find(leg);
            entry.state = LIMPET_STATE_ACTIVE;
            entry.flags |= LIMPET_FLOW_NOTE_SEEN;
            entry.end = static_cast<Number>(theirs[leg] + 1);
            entry.acknowledged = static_cast<Number>(ours[leg] + 1);
            entry.sequence_delta = static_cast<Number>(ours[1 - leg] - theirs[leg]);
            entry.acknowledgement_delta = static_cast<Number>(theirs[1 - leg] - ours[leg]);
        }
        state.forgeries = case_.forgeries;
        state.syns = case_.true_end ? 2 : 0;
        return state;
    }

    void successors(const State& state, Steps& steps) {
        somebody(state, steps);
        client(state, steps);
        cpus(state, steps);
        listener(state, steps);
        janitor(state, steps);
    }

    [[nodiscard]] bool settled(const State& state) const {
        const auto* client = state.map.find(0);
        if (state.ended == 0) return true;
        // nothing of the old life is left, and the new one is whole
        return state.map.find(1) == nullptr && (client == nullptr || client->life == 2);
    }

  private:
    static void take(Steps& steps, State& next, const char* label) {
        if (next.cpus[1] < next.cpus[0]) std::swap(next.cpus[0], next.cpus[1]);
        steps.take(next, label);
    }

    void somebody(const State& state, Steps& steps) {
        if (state.forgeries == 0) return;
        for (int leg = 0; leg < 2; ++leg)
            for (const Number kind : {rst, fin, syn, static_cast<Number>(data | ack)}) {
                auto next = state;
                --next.forgeries;
                if (!next.arriving[leg].put({static_cast<Number>(present | kind | ack), far, far + 1, 0}))
                    continue;
                if (kind == syn) continue;  // below: without ACK, as those of clients
                take(steps, next, "somebody forges a packet");
            }
        auto next = state;
        --next.forgeries;
        if (next.arriving[0].put({present | syn, far, 0, 0})) take(steps, next, "somebody forges a SYN");
    }

    void client(const State& state, Steps& steps) {
        auto next = state;
        const auto& entry = state.map.find(0);
        if (case_.true_end && state.ended == 0 && entry != nullptr &&
            next.arriving[0].put({present | rst, static_cast<Number>(theirs[0] + 1), 0, 0})) {
            next.ended = 1;
            take(steps, next, "the client resets");
        }
        next = state;
        if (state.ended != 0 && state.syns != 0 && next.arriving[0].put({present | syn, far, 0, 0})) {
            --next.syns;
            take(steps, next, "the client sends a SYN from the same port");
        }
        next = state;
        // Its old connection was reset, so what still comes of it to the client is answered so.
        if (state.ended != 0 && next.arriving[0].empty() && state.map.spliced(0) &&
            next.arriving[0].put({present | rst, static_cast<Number>(theirs[0] + 1), 0, 0}))
            take(steps, next, "the client resets the old connection again");
    }

    void cpus(const State& state, Steps& steps) {
        for (std::size_t each = 0; each < 2; ++each) {
            if (state.cpus[each].busy != 0) {
                finish(state, each, steps);
                continue;
            }
            if (each != 0) continue;
            for (int leg = 0; leg < 2; ++leg)
                for (std::size_t at = 0; at < 2; ++at) {
                    if (state.arriving[leg].at[at].kind == 0) continue;
                    auto next = state;
                    const auto packet = next.arriving[leg].take(at);
                    if (const auto* entry = state.map.find(leg))
                        next.cpus[each] = {1, static_cast<Number>(leg), state.map.index[leg], entry->life,
                                           packet};
                    else
                        to_host(next, packet);
                    take(steps, next, "a CPU takes a packet");
                }
        }
    }

    static void to_host(State& state, const Packet& packet) {
        if (packet.is(syn)) state.listener = 1;
    }

    void finish(const State& state, std::size_t each, Steps& steps) {
        const char* label = "a CPU finishes its packet";
        auto next = state;
        const auto cpu = state.cpus[each];
        next.cpus[each] = {};
        auto& entry = next.map.slots[cpu.slot - 1];
        if (!entry.spliced()) {
            if (entry.used != 0) to_host(next, cpu.packet);
            return take(steps, next, label);
        }
        const auto key = key_of(cpu.leg);
        const auto packet = true_numbers(cpu.packet);
        Loaded::load(next.map);
        for (int leg = 0; leg < 2; ++leg) {
            if (!Loaded::there[leg]) continue;
            Loaded::flows[leg].flow.note_sequence_end = wide(next.map.find(leg)->end);
            Loaded::flows[leg].flow.note_ack = wide(next.map.find(leg)->acknowledged);
        }
        const int verdict = model_follow(&key, &Loaded::flows[cpu.leg], &packet, deadline);
        Loaded::store(next.map);
        if (verdict == MODEL_FORWARD && cpu.packet.is(syn))
            return steps.fail("I6: a SYN on a live tuple reaches the broker as it is", label);
        if (verdict == MODEL_PASS) to_host(next, cpu.packet);
        if (state.ended == 0)
            for (int leg = 0; leg < 2; ++leg)
                if (next.map.find(leg) == nullptr || next.map.find(leg)->state != LIMPET_STATE_ACTIVE)
                    return steps.fail("I6: a flow ends although neither end has ended it", label);
        take(steps, next, label);
    }

    /// Connection::State::track_client(): an entry for the new connection, or the old one made anew.
    void listener(const State& state, Steps& steps) {
        if (state.listener == 0) return;
        auto next = state;
        next.listener = 0;
        if (state.map.find(0) == nullptr) {
            next.map.create(0, 2);
            return take(steps, next, "the session makes an entry");
        }
        if (state.map.find(0)->life == 2) return take(steps, next, "the same SYN again");
        limpet_leg with{};
        with.created = 2;
        with.flags = LIMPET_FLOW_CLIENT_LEG;
        run(next.map, LIMPET_OPERATION_RENEW, 0, deadline, &with);
        take(steps, next, "the session renews the entry");
    }

    /// Janitor::end(), from what it read to what it retires; its events may come late, or a sweep instead of
    /// them.
    void janitor(const State& state, Steps& steps) {
        auto next = state;
        if (state.janitor == watching) {
            const auto* client = state.map.find(0);
            const auto* broker = state.map.find(1);
            // A doubted flow is asked about, and an end that has lost it answers what nobody else can
            // (Probing).
            const bool told = state.ended != 0 && client != nullptr && client->life == 1 &&
                              (client->flags & LIMPET_FLOW_DOUBTED) != 0;
            const bool over = broker != nullptr && (told || broker->state == LIMPET_STATE_CLOSING ||
                                                    broker->state == LIMPET_STATE_RETIRED);
            if (over && broker->removal == 0) {
                next.janitor = found;
                next.seen = client != nullptr ? client->life : 1;
                if (next.seen == 2)
                    next.seen = 1;  // the other life was ended when its tuple came back (settle)
                take(steps, next, "the janitor finds the flow over");
            }
        } else if (state.janitor == found) {
            retire(next, 0, state.seen);
            if (next.map.find(0) != nullptr && next.map.find(0)->life == 2 &&
                next.map.find(0)->state == LIMPET_STATE_RETIRED)
                return steps.fail("I6: the end of one connection retires the next one",
                                  "the janitor retires the client's entry");
            next.janitor = client_retired;
            take(steps, next, "the janitor retires the client's entry");
        } else {
            retire(next, 1, 1);
            next.janitor = watching;
            next.seen = 0;
            take(steps, next, "the janitor retires the broker's entry");
        }
        for (int leg = 0; leg < 2; ++leg) {
            next = state;
            const auto* entry = state.map.find(leg);
            if (entry == nullptr || entry->removal == 0 || entry->state != LIMPET_STATE_RETIRED) continue;
            if (entry->life != entry->removal) continue;
            if (std::ranges::any_of(state.cpus, [&](const Cpu& cpu) {
                    return cpu.busy != 0 && cpu.slot == state.map.index[leg];
                }))
                continue;
            next.map.remove(leg);
            take(steps, next, "the janitor removes an entry");
        }
    }

    static void retire(State& state, int leg, Number life) {
        auto* entry = state.map.find(leg);
        if (entry == nullptr) return;
        limpet_leg with{};
        with.created = life;
        run(state.map, LIMPET_OPERATION_RETIRE, leg, deadline, &with);
        entry->removal = life;
    }

    const Case& case_;
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
    for (const auto& each : cases) {
        if (argc < 2 || std::string_view(argv[1]) != each.name) continue;
        Endings model(each);
        Checker<State> checker(2'000'000);
        return report(each.name, checker.run(model, model.first()));
    }
    for (const auto& each : cases) std::printf("case %s\n", each.name);
    return 2;
}
