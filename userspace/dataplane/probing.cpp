// SPDX-License-Identifier: Apache-2.0
#include "dataplane/probing.h"

#include <sys/random.h>

#include <cstring>
#include <iterator>

namespace limpet::dataplane {
namespace {

constexpr std::chrono::milliseconds look_interval{100};

/// An ACK number that `next` has left behind; without randomness there is no question that only its receiver
/// knows.
std::uint32_t draw_answer(std::uint32_t next) {
    std::uint32_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value) return 0;
    const auto answer = next - 1 - (value & 0x3fffffff);
    return answer != 0 ? answer : 1;
}

}  // namespace

bool Probing::is_answer(const FlowPair& pair, const FlowKey& end, std::uint32_t sequence) const {
    const auto found = flows_.find(pair.client);
    if (found == flows_.end() || sequence == 0) return false;
    return sequence == (end == pair.client ? found->second.client_answer : found->second.broker_answer);
}

bool Probing::begin(const FlowPair& pair, Cause cause, Clock::time_point now) {
    if (flows_.size() >= probing_limit) return false;
    return flows_
        .try_emplace(pair.client, Asked{.broker = pair.broker, .cause = cause, .due = now + doubt_delay})
        .second;
}

void Probing::step(Clock::time_point now, const std::function<void(const FlowPair&)>& unanswered) {
    if (flows_.empty() || now < next_) return;
    next_ = now + look_interval;
    for (auto at = flows_.begin(); at != flows_.end();) {
        if (at->second.due > now) {
            ++at;
            continue;
        }
        const auto found = look(at->first, at->second, now);
        if (found == Found::waiting) {
            ++at;
            continue;
        }
        const FlowPair pair{at->first, at->second.broker};
        const bool silent = found == Found::unanswered;
        const auto asked = at->second;
        at = flows_.erase(at);
        if (silent && asked.cause == Cause::silence)
            unanswered(pair);
        else if (silent && asked.cause == Cause::closing)
            reopen(pair.client, asked);
        else
            rearm(pair.client, pair.broker);
    }
}

Probing::Found Probing::look(const FlowKey& client_key, Asked& asked, Clock::time_point now) {
    const auto client = maps_.read(client_key);
    const auto broker = maps_.read(asked.broker);
    const auto state = asked.cause == Cause::closing ? LIMPET_STATE_CLOSING : LIMPET_STATE_ACTIVE;
    if (!client || !broker || client->flow.state != state || broker->flow.state != state)
        return Found::settled;  // it ended meanwhile, or goes on, and whoever did that sees to the rest
    if (asked.cause == Cause::closing && acknowledged(*client, *broker) && acknowledged(*broker, *client))
        return Found::settled;
    if (asked.tries == 0) {
        asked.client_packets = client->flow.packets;
        asked.broker_packets = broker->flow.packets;
        asked.client_answer = draw_answer(client->flow.note_sequence_end);
        asked.broker_answer = draw_answer(broker->flow.note_sequence_end);
    }
    const bool client_answered = asked.tries != 0 && client->flow.packets != asked.client_packets;
    const bool broker_answered = asked.tries != 0 && broker->flow.packets != asked.broker_packets;
    if (client_answered && broker_answered) return Found::settled;
    if (asked.tries == std::size(probe_waits)) return Found::unanswered;
    rearm(client_key, asked.broker);
    if (!client_answered) ask(client_key, *client, *broker, asked.client_answer);
    if (!broker_answered) ask(asked.broker, *broker, *client, asked.broker_answer);
    asked.due = now + probe_waits[asked.tries++];
    return Found::waiting;
}

/// Who vanished while it closed is found by its keep-alive or by probe_after, as any other who vanishes; who
/// never closed, and sleeps, is not lost to a guessed FIN.
void Probing::reopen(const FlowKey& client_key, const Asked& asked) const {
    const auto client = maps_.read(client_key);
    const auto broker = maps_.read(asked.broker);
    if (!client || !broker) return;
    limpet_command command{};
    command.operation = LIMPET_OPERATION_REOPEN;
    command.family = client_key.family;
    for (int side = 0; side < 2; ++side) {
        auto& leg = command.leg[side];
        const auto& key = side == 0 ? client_key : asked.broker;
        const bool answered = side == 0 ? client->flow.packets != asked.client_packets
                                        : broker->flow.packets != asked.broker_packets;
        leg.present = 1;
        leg.flags = static_cast<std::uint8_t>(LIMPET_FLOW_DOUBTED | (answered ? 0U : LIMPET_FLOW_FIN_SEEN));
        std::memcpy(leg.key, key.bytes.data(), key.bytes.size());
    }
    if (maps_.run(command) && command.leg[0].result == LIMPET_RESULT_OK)
        count_(LIMPET_REASON_FIN_UNCONFIRMED);
}

/// The next RST or FIN is worth an event again.
void Probing::rearm(const FlowKey& client, const FlowKey& broker) const {
    limpet_command command{};
    command.operation = LIMPET_OPERATION_UNMARK;
    command.family = client.family;
    for (int side = 0; side < 2; ++side) {
        auto& leg = command.leg[side];
        const auto& key = side == 0 ? client : broker;
        leg.present = 1;
        leg.flags = LIMPET_FLOW_DOUBTED;
        std::memcpy(leg.key, key.bytes.data(), key.bytes.size());
    }
    [[maybe_unused]] const auto done = maps_.run(command);  // gone meanwhile: nothing to unmark
}

void Probing::ask(const FlowKey& end, const FlowEntry& from_end, const FlowEntry& from_other,
                  std::uint32_t answer) {
    Segment probe;
    probe.from = end.destination();
    probe.to = end.source();
    probe.sequence = from_end.flow.note_ack - 1;
    probe.acknowledgement = answer;
    if ((from_end.flow.flags & LIMPET_FLOW_TIMESTAMPS) != 0) {
        // As the other end's last packet left us, so that it is not older than what this end has seen (RFC
        // 7323 5.3).
        probe.timestamps = {from_other.flow.note_tsval + from_other.flow.tsval_delta,
                            from_end.flow.note_tsval};
    }
    if (sender_.send_probe(probe)) count_(LIMPET_REASON_PROBED);
}

}  // namespace limpet::dataplane
