// SPDX-License-Identifier: Apache-2.0
// Who the client is to the broker: user name, password and client id of its CONNECT, set from what is known
// of it.
#pragma once

#include <optional>
#include <string>

#include "base/reason.h"
#include "base/text_template.h"
#include "mqtt/packet.h"

namespace limpet::session {

/// A listener's rules. Without any CONNECT goes as it came.
struct Identity {
    std::optional<TextTemplate> user_name;
    std::optional<TextTemplate> password;
    std::optional<TextTemplate> client_id;
    std::optional<TextTemplate> required_client_id;  ///< what the client's own id must be
    bool replace = true;  ///< also what the client says itself, not only what it leaves out

    [[nodiscard]] bool rewrites() const { return user_name || password || client_id; }
};

/// Why a client does not fit the rules.
struct Misfit {
    Reason reason = LIMPET_REASON_CLOSE_IDENTITY;
    mqtt::Refusal refusal = mqtt::Refusal::not_authorized;
    std::string detail;
};

/// Applies the rules. `known` says what cn, san, serial, fingerprint, sni and address stand for; the client's
/// own client_id and username are taken from CONNECT.
[[nodiscard]] std::optional<Misfit> apply(const Identity& rules, const TextTemplate::Lookup& known,
                                          mqtt::Connect& connect);

}  // namespace limpet::session
