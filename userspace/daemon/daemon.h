// SPDX-License-Identifier: Apache-2.0
// `limpet serve`: puts all rooms together and runs until it is told to stop.
#pragma once

#include <string>

#include "config/config.h"

namespace limpet::daemon {

/// Runs the daemon in the foreground; returns the process's exit status. Errors go to stderr as
/// "limpet: what is wrong: what to do". `config_path` is read again by reload (empty: there is no file).
/// `flush`: starts from nothing, and removes programs and pins when it stops.
[[nodiscard]] int serve(config::Config config, std::string config_path, bool flush);

}  // namespace limpet::daemon
