// SPDX-License-Identifier: Apache-2.0
// Whether a client may come in: by how often it came, and by the rules.
#include <fmt/format.h>

#include "base/quote.h"
#include "session/session.h"

namespace limpet::session {

/// `over`: why a client from there may not connect now. False: it was refused.
bool Session::admit(Reason over) {
    if (over != LIMPET_REASON_NONE) {
        refuse(over, over == LIMPET_REASON_CLOSE_LISTENER_RATE ? mqtt::Refusal::server_busy
                                                               : mqtt::Refusal::rate_exceeded);
        return false;
    }
    if (!version_) return true;  // of no MQTT client anything is known
    const auto& client_id = handshake_->connect.client_id;
    const auto& rates = listener_->rates;
    const auto passage = listener_->limits->admit_client(rates, client_id, Clock::now());
    if (passage == Passage::passed) return true;
    const auto hold_off = std::chrono::duration_cast<std::chrono::seconds>(rates.hold_off);
    refuse(LIMPET_REASON_CLOSE_CLIENT_RATE, mqtt::Refusal::rate_exceeded,
           passage == Passage::over
               ? fmt::format("{} came too often and is held off for {} s", quote(client_id), hold_off.count())
               : fmt::format("{} is held off", quote(client_id)));
    return false;
}

/// The first rule that fits decides. False: it denied the client, who was told.
bool Session::apply_rules() {
    if (!version_) return true;
    for (const auto& rule : listener_->rules) {
        if (!fits(rule.conditions, handshake_->connect, client_address().address)) continue;
        if (rule.refusal) {
            refuse(LIMPET_REASON_CLOSE_DENIED, *rule.refusal,
                   fmt::format("rule {} denies {}", rule.name, quote(handshake_->connect.client_id)));
            return false;
        }
        if (rule.destination.pool) destination_ = &rule.destination;
        return true;
    }
    return true;
}

}  // namespace limpet::session
