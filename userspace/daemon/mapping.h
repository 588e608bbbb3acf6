// SPDX-License-Identifier: Apache-2.0
// From the words of the configuration to the options of each room.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "balancer/balancer.h"
#include "config/config.h"
#include "daemon/pools.h"
#include "daemon/tls_terms.h"
#include "dataplane/dataplane.h"
#include "health/monitor.h"
#include "session/worker.h"

namespace limpet::daemon {

[[nodiscard]] unsigned worker_count(const config::Config& config);
[[nodiscard]] dataplane::Options dataplane_options(const config::Config& config, bool flush);
[[nodiscard]] session::Options session_options(const config::Config& config);
[[nodiscard]] balancer::PoolSpec pool_spec(const config::Pool& pool);
[[nodiscard]] health::Terms health_terms(const config::Pool& pool);
[[nodiscard]] health::ProbeTerms probe_terms(const config::Pool& pool);
/// `terms` are the pools' configurations, `pools` they themselves.
[[nodiscard]] session::Listener listener_of(const config::Listener& listener,
                                            const std::vector<config::Pool>& terms,
                                            const std::map<std::string, PoolPointer>& pools,
                                            const TlsTerms& tls);
/// IP versions of the brokers of all transparent pools.
[[nodiscard]] dataplane::Families transparent_families(const std::vector<config::Pool>& pools);

[[nodiscard]] std::string_view protocol_name(config::Protocol protocol);
[[nodiscard]] std::string_view mode_name(config::Mode mode);

}  // namespace limpet::daemon
