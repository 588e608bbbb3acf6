// SPDX-License-Identifier: Apache-2.0
// The end of an active flow (docs/MODEL.md): true ends, a client that comes back on the same port, the
// janitor, and somebody who knows the tuple and guesses numbers. `endings CASE`.
#define LIMPET_MODEL_MAIN
#include <algorithm>
#include <iterator>
#include <string_view>

#include "checker.h"
#include "world.h"

namespace limpet::model {
namespace {

struct Case {
    const char* name;
    Number forgeries;
    bool near;      ///< they are FINs a little ahead of the right number, and SYNs
    bool true_end;  ///< the client resets, or comes back with a SYN
};

constexpr Case cases[] = {
    {"forged", 3, false, false},
    {"guessed", 3, true, false},
    {"comes_back", 0, false, true},
    {"forged_while_it_ends", 1, false, true},
};

/// Rules of the janitor that can be left out, to see that the model notices.
enum class Mutation {
    none,
    fins_believed,  // a flow that FINs closed is over, acknowledged or not
    not_asked,      // nobody asks its ends
};
constexpr const char* mutation_names[] = {"none", "fins_believed", "not_asked"};

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

/// Packet::content of an answer to a question that was put after a silence.
constexpr Number after_silence = 1;

enum Phase : Number { watching, found, client_retired };

struct State {
    std::array<Packets<2>, 2> arriving;
    std::array<Cpu, 2> cpus;
    Map map;
    Number forgeries;
    Number ended;                 // the client's connection has ended in truth
    Number syns;                  // that the client may still send
    Number listener;              // a SYN of the client's waits there
    Number janitor;               // Phase
    Number seen;                  // the life that it read
    std::array<Number, 2> asked;  // of this leg's end: whether it got a question and has not answered it
    Number acks;                  // that the ends may send of their own
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
    Endings(const Case& what, Mutation mutation) : case_(what), mutation_(mutation) {}

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
        state.acks = case_.near ? 1 : 0;
        return state;
    }

    void successors(const State& state, Steps& steps) {
        somebody(state, steps);
        client(state, steps);
        ends(state, steps);
        cpus(state, steps);
        listener(state, steps);
        janitor(state, steps);
    }

    [[nodiscard]] bool settled(const State& state) const {
        const auto* client = state.map.find(0);
        if (state.ended == 0) return active(state, 0) && active(state, 1);
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
        for (int leg = 0; leg < 2 && case_.near; ++leg) {
            auto next = state;
            --next.forgeries;
            const auto guess = static_cast<Number>(theirs[leg] + 3);
            if (next.arriving[leg].put({present | fin | ack, guess, static_cast<Number>(ours[leg] + 1), 0}))
                take(steps, next, "somebody guesses the number of a FIN");
        }
        for (int leg = 0; leg < 2 && !case_.near; ++leg)
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

    static bool active(const State& state, int leg) {
        const auto* entry = state.map.find(leg);
        return entry != nullptr && entry->state == LIMPET_STATE_ACTIVE;
    }

    /// Both have their connection, and say so when they are asked, or now and then.
    void ends(const State& state, Steps& steps) {
        for (int leg = 0; leg < 2 && state.ended == 0; ++leg) {
            const Packet answer{present | ack, static_cast<Number>(theirs[leg] + 1),
                                static_cast<Number>(ours[leg] + 1), after_silence};
            auto next = state;
            if (state.asked[leg] != 0 && next.arriving[leg].put(answer)) {
                next.asked[leg] = 0;
                take(steps, next, "an end answers");
            }
            next = state;
            auto acknowledges = answer;
            acknowledges.content = 0;
            if (state.acks != 0 && next.arriving[leg].put(acknowledges)) {
                --next.acks;
                take(steps, next, "an end acknowledges");
            }
        }
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
        const auto now = deadline + (cpu.packet.content == after_silence ? LIMPET_TICKS_PER_SECOND : 0);
        const int verdict = model_follow(&key, &Loaded::flows[cpu.leg], &packet, now);
        Loaded::store(next.map);
        if (verdict == MODEL_FORWARD && cpu.packet.is(syn))
            return steps.fail("I6: a SYN on a live tuple reaches the broker as it is", label);
        if (verdict == MODEL_PASS) to_host(next, cpu.packet);
        if (state.ended == 0)
            for (int leg = 0; leg < 2; ++leg)
                if (!(case_.near ? next.map.spliced(leg) : active(next, leg)))
                    return steps.fail(ended_by_nobody, label);
        take(steps, next, label);
    }
    static constexpr const char* ended_by_nobody = "I6: a flow ends although neither end has ended it";

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

    /// Janitor's is_over() of what is CLOSING.
    [[nodiscard]] bool over(const State& state) const {
        const auto* client = state.map.find(0);
        const auto* broker = state.map.find(1);
        if (broker->state != LIMPET_STATE_CLOSING) return false;
        if (broker->reason != LIMPET_REASON_END_FIN || mutation_ == Mutation::fins_believed) return true;
        return client != nullptr && acknowledged(*client, *broker) && acknowledged(*broker, *client);
    }
    static bool acknowledged(const Entry& sender, const Entry& receiver) {
        return receiver.acknowledged == static_cast<Number>(sender.end + sender.sequence_delta);
    }

    /// Janitor::check_closing() and Probing, after a silence: nothing is on its way any more.
    void question(const State& state, Steps& steps) {
        if (mutation_ == Mutation::not_asked || state.map.find(1) == nullptr || over(state)) return;
        if (!state.map.both_spliced() || active(state, 0) || active(state, 1)) return;
        const bool silent = state.arriving[0].empty() && state.arriving[1].empty() &&
                            std::ranges::none_of(state.cpus, [](const Cpu& cpu) { return cpu.busy != 0; });
        if (!silent || state.asked[0] != 0 || state.asked[1] != 0) return;
        auto next = state;
        next.asked = {1, 1};
        take(steps, next, "the janitor asks both ends about their FINs");
    }

    /// Janitor::end(), from what it read to what it retires; its events may come late, or a sweep instead of
    /// them.
    void janitor(const State& state, Steps& steps) {
        question(state, steps);
        auto next = state;
        if (state.janitor == watching) {
            const auto* client = state.map.find(0);
            const auto* broker = state.map.find(1);
            // A doubted flow is asked about, and an end that has lost it answers what nobody else can
            // (Probing).
            const bool told = state.ended != 0 && client != nullptr && client->life == 1 &&
                              (client->flags & LIMPET_FLOW_DOUBTED) != 0;
            const bool ends =
                broker != nullptr && (told || over(state) || broker->state == LIMPET_STATE_RETIRED);
            if (ends && broker->removal == 0) {
                if (state.ended == 0) return steps.fail(ended_by_nobody, "the janitor finds the flow over");
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
    const std::string_view mutation = argc > 2 ? argv[2] : "none";
    const auto* const known = std::find(std::begin(mutation_names), std::end(mutation_names), mutation);
    for (const auto& each : cases) {
        if (argc < 2 || std::string_view(argv[1]) != each.name || known == std::end(mutation_names)) continue;
        Endings model(each, static_cast<Mutation>(known - std::begin(mutation_names)));
        Checker<State> checker(2'000'000);
        return report(each.name, checker.run(model, model.first()));
    }
    for (const auto& each : cases) std::printf("case %s\n", each.name);
    for (const auto* each : mutation_names) std::printf("mutation %s\n", each);
    return 2;
}
