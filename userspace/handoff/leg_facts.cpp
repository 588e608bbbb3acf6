// SPDX-License-Identifier: Apache-2.0
#include "handoff/leg_facts.h"

namespace limpet::handoff {
namespace {

/// TCP_TIMESTAMP reads our clock with its lowest bit used as a flag, so it may be one less than what was sent
/// last; one more on top keeps the receiver from ever seeing time stand behind (RFC 7323 5.3).
constexpr std::uint32_t clock_rounding = 2;

Direction direction(const LegPosition& from, const LegPosition& to, std::uint8_t sender_scale,
                    std::uint8_t announced_scale) {
    Direction constants;
    constants.sequence_delta = to.send_next - from.receive_next;
    constants.acknowledgement_delta = to.receive_next - from.send_next;
    // The sender's last TSval becomes what our socket on the other leg would say now.
    constants.tsval_delta = to.clock + clock_rounding - from.peer_tsval;
    constants.window_shift = static_cast<std::int8_t>(sender_scale - announced_scale);
    return constants;
}

}  // namespace

std::uint8_t missing_options(const LegOptions& options) {
    return static_cast<std::uint8_t>((options.timestamps ? 0U : LIMPET_SYN_NO_TIMESTAMPS) |
                                     (options.sack ? 0U : LIMPET_SYN_NO_SACK) |
                                     (options.window_scale ? 0U : LIMPET_SYN_NO_WINDOW_SCALE));
}

Reason check_parity(const LegOptions& client, const LegOptions& broker) {
    if (client.timestamps != broker.timestamps) return LIMPET_REASON_RELAY_PARITY_TIMESTAMPS;
    if (client.sack != broker.sack) return LIMPET_REASON_RELAY_PARITY_SACK;
    if (client.window_scale != broker.window_scale) return LIMPET_REASON_RELAY_PARITY_WINDOW_SCALE;
    if (client.announced_segment > broker.peer_segment || broker.announced_segment > client.peer_segment)
        return LIMPET_REASON_RELAY_PARITY_MSS;
    return LIMPET_REASON_NONE;
}

Translation translation_between(const LegOptions& client_options, const LegPosition& client,
                                const LegOptions& broker_options, const LegPosition& broker) {
    Translation translation;
    translation.from_client = direction(client, broker, client_options.peer_scale, broker_options.own_scale);
    translation.from_broker = direction(broker, client, broker_options.peer_scale, client_options.own_scale);
    translation.timestamps = client_options.timestamps && broker_options.timestamps;
    translation.clear_ecn = client_options.ecn != broker_options.ecn;
    // What a receiver echoes is what it was sent: the other direction's shift, taken back.
    translation.from_client.tsecr_delta = 0U - translation.from_broker.tsval_delta;
    translation.from_broker.tsecr_delta = 0U - translation.from_client.tsval_delta;
    return translation;
}

}  // namespace limpet::handoff
