// SPDX-License-Identifier: Apache-2.0
// The daemon's answers as text for people. A field that is missing is shown as "-": an older or newer daemon
// may know less or more.
#pragma once

#include <string>

#include "admin/verbs.h"

namespace limpet::cli {

using admin::Json;

[[nodiscard]] std::string status_text(const Json& status);
[[nodiscard]] std::string brokers_text(const Json& brokers);
[[nodiscard]] std::string flows_text(const Json& flows);
/// One flow, a line for each field.
[[nodiscard]] std::string flow_text(const Json& flow);
[[nodiscard]] std::string lookup_text(const Json& lookup);
[[nodiscard]] std::string reload_text(const Json& reload);
[[nodiscard]] std::string moves_text(const Json& moves);
[[nodiscard]] std::string sticks_text(const Json& sticks);
[[nodiscard]] std::string stick_text(const Json& stick);

}  // namespace limpet::cli
