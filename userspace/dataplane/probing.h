// SPDX-License-Identifier: Apache-2.0
// Asks both ends of an active flow whether they are still there, as a keep-alive of TCP does (RFC
// 9293 3.8.4): an ACK one below the next sequence number. An end that has the connection answers with an ACK
// (the sequence number is looked at first, RFC 9293 3.10.7.4), which the data path counts as a packet of that
// end. One that has not answers with a RST whose sequence number is the question's ACK number (3.10.7.1): so
// that is drawn at random, from what was acknowledged long ago, and only who got the question can give the
// answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <unordered_map>

#include "dataplane/flow_maps.h"
#include "dataplane/raw_sender.h"

namespace limpet::dataplane {

/// A connection's two keys.
struct FlowPair {
    FlowKey client;  ///< client -> listener
    FlowKey broker;  ///< broker -> our source address
    /// The client's own address and port are the source; they are none of the port allocator's.
    [[nodiscard]] bool is_transparent() const { return broker.destination() == client.source(); }
};

/// Whether the other end has acknowledged all that this one sent, its FIN included (limpet_acknowledged).
inline bool acknowledged(const FlowEntry& sender, const FlowEntry& receiver) {
    return receiver.flow.note_ack == sender.flow.note_sequence_end + sender.flow.sequence_delta;
}

/// Used on one thread.
class Probing {
  public:
    using Clock = std::chrono::steady_clock;
    enum class Cause {
        doubt,  ///< a RST or FIN that may not have been believed: silence proves nothing, keep-alive decides
                ///< later
        silence,  ///< nothing was heard of a flow without keep-alive: who does not answer now is gone
        closing,  ///< FINs that were not acknowledged: who denies its own opens the flow again by its answer
                  ///< (bpf/state.h), and of whom gives none it is not believed
    };

    /// `count` counts one event: a question, or a FIN that its end did not confirm.
    Probing(FlowMaps& maps, RawSender& sender, std::function<void(Reason)> count)
        : maps_(maps), sender_(sender), count_(std::move(count)) {}

    /// A RST came from `end` (its key) with this sequence number: whether it answers a question of ours.
    [[nodiscard]] bool is_answer(const FlowPair& pair, const FlowKey& end, std::uint32_t sequence) const;
    /// Begins to ask, unless it is asked already or too many are; false: not begun.
    bool begin(const FlowPair& pair, Cause cause, Clock::time_point now);
    /// Sends what is due. `unanswered` is called for flows of which an end gave no answer to the last
    /// question.
    void step(Clock::time_point now, const std::function<void(const FlowPair&)>& unanswered);
    [[nodiscard]] bool empty() const { return flows_.empty(); }

  private:
    struct Asked {
        FlowKey broker;
        Cause cause;
        unsigned tries = 0;
        Clock::time_point due;
        std::uint32_t client_packets = 0;  // forwarded from each end before the first question
        std::uint32_t broker_packets = 0;
        std::uint32_t client_answer = 0;  // the RST of an end that has lost the connection; 0: not asked yet
        std::uint32_t broker_answer = 0;
    };
    enum class Found { waiting, settled, unanswered };

    Found look(const FlowKey& client_key, Asked& asked, Clock::time_point now);
    void reopen(const FlowKey& client_key, const Asked& asked) const;
    void rearm(const FlowKey& client, const FlowKey& broker) const;
    void ask(const FlowKey& end, const FlowEntry& from_end, const FlowEntry& from_other,
             std::uint32_t answer);

    FlowMaps& maps_;
    RawSender& sender_;
    std::function<void(Reason)> count_;
    std::unordered_map<FlowKey, Asked> flows_;  // by the client leg
    Clock::time_point next_;
};

/// A doubted flow is asked after this time, when what was on its way has arrived.
inline constexpr std::chrono::milliseconds doubt_delay{250};
/// Waits after each question, until the last.
inline constexpr std::chrono::seconds probe_waits[] = {std::chrono::seconds{1}, std::chrono::seconds{2},
                                                       std::chrono::seconds{4}, std::chrono::seconds{8},
                                                       std::chrono::seconds{16}};
/// Flows that are asked at the same time; more wait for their turn.
inline constexpr std::size_t probing_limit = 65536;

}  // namespace limpet::dataplane
