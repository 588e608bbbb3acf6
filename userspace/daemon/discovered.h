// SPDX-License-Identifier: Apache-2.0
// Between the configuration, which names sources of brokers, and discovery, which knows what they have now.
#pragma once

#include <memory>
#include <vector>

#include "config/config.h"
#include "discovery/discovery.h"

namespace limpet::daemon {

/// The sources that pools name.
[[nodiscard]] std::vector<discovery::Source> sources_of(const std::vector<config::Pool>& pools);
/// Reads a file or folder for discovery.
[[nodiscard]] Result<std::vector<discovery::Found>> read_brokers(const std::string& path);
/// Gives each pool the brokers that its sources have now, in place of those that they had before. What is
/// written down comes first: a name or an address that is there already is left out, and so is an address
/// that a transparent pool's listeners cannot reach, or that is one of the listeners.
void take_discovered(config::Config& config, const discovery::Discovery& discovery);
/// The configuration as it was written, without what was discovered.
[[nodiscard]] std::vector<config::Pool> without_discovered(std::vector<config::Pool> pools);

}  // namespace limpet::daemon
