// SPDX-License-Identifier: Apache-2.0
// How the command line asks a running daemon.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "admin/verbs.h"
#include "base/result.h"

namespace limpet::admin {

/// Sends one verb over the control socket and waits for the answer's data. `patience` bounds the connect and
/// every silence while the answer comes.
[[nodiscard]] Result<Json> request(const std::string& socket_path, std::string_view verb, Json args,
                                   std::chrono::milliseconds patience = std::chrono::seconds(30));

}  // namespace limpet::admin
