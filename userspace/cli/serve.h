// SPDX-License-Identifier: Apache-2.0
// From the options of `limpet serve` to the configuration that the daemon runs with.
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"
#include "config/config.h"

namespace limpet::cli {

/// A configuration, or why there is none: wrong usage, or a file with problems.
struct Serving {
    config::Config config;
    std::vector<std::string> usage;         ///< "what is wrong: what to do"
    std::vector<config::Problem> problems;  ///< of the file
    std::vector<config::Problem> warnings;  ///< what in the file has no effect
    [[nodiscard]] bool ok() const { return usage.empty() && problems.empty(); }
};
[[nodiscard]] Serving make_config(const Options& options);

}  // namespace limpet::cli
