// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limpet/reason.h>

#include <array>
#include <cstddef>
#include <string_view>

namespace limpet {

/// The reasons of include/limpet/reason.h under their C++ name: LIMPET_REASON_CLOSE_TLS and so on.
using Reason = ::limpet_reason;

/// The published name, such as "relay_parity_sack".
[[nodiscard]] std::string_view reason_name(Reason reason);
/// One sentence for people.
[[nodiscard]] std::string_view reason_sentence(Reason reason);

}  // namespace limpet
