// SPDX-License-Identifier: Apache-2.0
// What a reload would change, and what of it needs a restart.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace limpet::daemon {

struct Difference {
    std::vector<std::string> changed;  ///< a line each, "pool main: broker b2: weight 1 -> 3"
    std::vector<std::string> refused;  ///< the values that only a restart can change, by name
};

/// `before` is what the file said when it was read last, `after` what it says now.
[[nodiscard]] Difference compare(const config::Config& before, const config::Config& after);

}  // namespace limpet::daemon
