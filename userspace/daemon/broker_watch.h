// SPDX-License-Identifier: Apache-2.0
// From what probes and real clients find out about brokers to what follows from it: who gets clients, and
// whose connections end.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "daemon/moves.h"
#include "daemon/pools.h"
#include "dataplane/dataplane.h"
#include "health/monitor.h"

namespace limpet::daemon {

class BrokerWatch {
  public:
    /// All must outlive this, and no client may be served any more when it goes.
    BrokerWatch(dataplane::Dataplane& dataplane, Pools& pools, Moves& moves);
    ~BrokerWatch();
    BrokerWatch(const BrokerWatch&) = delete;
    BrokerWatch& operator=(const BrokerWatch&) = delete;

    /// How the brokers of these pools are asked from now on.
    void follow(const std::vector<config::Pool>& pools);
    /// Once a second: follows the brokers that pools have by now, and what is left at dead ones.
    void tick();

  private:
    using Clock = std::chrono::steady_clock;
    using Name = std::pair<std::string, std::string>;  // pool and broker

    struct Known {
        PoolPointer pool;
        balancer::BrokerId id = 0;
        Endpoint address;
        double end_rate = 0;
        bool well = true;   // by its last answer, or not asked
        bool dead = false;  // down, and by a probe that can be believed
        std::uint64_t order = 0;
        Clock::time_point ordered;
    };

    void look();
    void heard(const health::Report& report);
    void log_change(const health::Report& report, const Known& known) const;
    void end_connections(Known& known);
    void spare_connections(Known& known);
    [[nodiscard]] static bool is_believed(const health::Report& report, const health::ProbeTerms& probe);
    [[nodiscard]] bool has_survivor(const balancer::Pool& pool) const;

    dataplane::Dataplane& dataplane_;
    Pools& pools_;
    Moves& moves_;
    mutable std::mutex mutex_;  // guards all that follows
    std::map<std::string, config::Pool> terms_;
    std::map<Name, Known> brokers_;
    std::vector<health::Target> targets_;
    std::vector<PoolPointer> followed_;
    std::unique_ptr<health::Monitor> monitor_;
};

}  // namespace limpet::daemon
