// SPDX-License-Identifier: Apache-2.0
// The running daemon: what it owns, how it starts, reloads and stops, and what it tells of itself.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "admin/verbs.h"
#include "base/result.h"
#include "config/config.h"
#include "daemon/broker_watch.h"
#include "daemon/moves.h"
#include "daemon/offers.h"
#include "daemon/pools.h"
#include "daemon/rates.h"
#include "daemon/stick_keeper.h"
#include "daemon/tls_terms.h"
#include "dataplane/dataplane.h"
#include "discovery/discovery.h"
#include "session/worker.h"

namespace limpet::daemon {

class Runtime : public admin::Verbs {
  public:
    Runtime(config::Config config, std::string config_path, bool flush);
    ~Runtime() override;
    Runtime(const Runtime&) = delete;
    Runtime& operator=(const Runtime&) = delete;

    // The main thread's part.
    /// Data path, pools, adopted connections, listeners. On failure nothing new is left attached.
    Result<void> start();
    /// Stops accepting, closes what does not leave within the grace, and, after a start with `flush`, takes
    /// the data path down.
    void stop();
    /// Once a second: rates, brokers that went down or came back, memories that expired.
    void tick();

    // admin::Verbs; the admin thread's part (reload also comes from a signal, on the main thread).
    [[nodiscard]] bool ready() const override { return ready_; }
    Result<admin::Json> status() override;
    Result<admin::Json> brokers() override;
    Result<admin::Json> flows(const admin::FlowQuery& query) override;
    Result<admin::Json> flows_count(const admin::FlowQuery& query) override;
    Result<admin::Json> flows_kill(const admin::FlowQuery& query) override;
    Result<admin::Json> lookup(const std::string& client_id, const std::optional<std::string>& pool) override;
    Result<admin::Json> brokers_add(const admin::NewBroker& broker) override;
    Result<admin::Json> brokers_remove(const admin::BrokerName& name) override;
    Result<admin::Json> brokers_enable(const admin::BrokerName& name) override;
    Result<admin::Json> brokers_weight(const admin::BrokerName& name, std::uint64_t weight) override;
    Result<admin::Json> brokers_maxconn(const admin::BrokerName& name, std::uint64_t most) override;
    Result<admin::Json> brokers_drain(const admin::BrokerName& name, const admin::Pace& pace) override;
    Result<admin::Json> brokers_rebalance(const admin::Rebalance& order) override;
    Result<admin::Json> brokers_cancel(const std::optional<std::string>& broker,
                                       const std::optional<std::string>& pool) override;
    Result<admin::Json> brokers_moves() override;
    Result<admin::Json> stick_list(const admin::StickQuery& query) override;
    Result<admin::Json> stick_show(const std::string& client_id,
                                   const std::optional<std::string>& pool) override;
    Result<admin::Json> stick_set(const admin::StickOrder& order) override;
    Result<admin::Json> stick_clear(const admin::StickClearance& order) override;
    Result<admin::Json> reload() override;
    Result<admin::Json> trace(const admin::TraceQuery& query) override;
    std::string metrics() override;

  private:
    using Counter = std::shared_ptr<std::atomic<std::uint64_t>>;
    /// What was last said in the log of a broker.
    struct Announced {
        std::uint64_t failures = 0;
        std::chrono::steady_clock::time_point failed;
        bool down = false;
    };

    /// `terms` are the pools' configurations, `pools` they themselves.
    Result<void> open_listeners(const std::vector<config::Listener>& listeners,
                                const std::vector<config::Pool>& terms,
                                const std::map<std::string, PoolPointer>& pools, const TlsTerms& tls);
    Result<void> apply(const config::Config& fresh, TlsTerms tls);
    /// Reads the files of TLS; ticket keys are those that there are already.
    [[nodiscard]] TlsTerms read_tls(const config::Config& config);
    /// With mutex_ held.
    Result<admin::Json> change_pools(const config::Config& next, const admin::BrokerName& name,
                                     const std::string& pool);
    [[nodiscard]] Result<std::vector<PoolPointer>> pools_named(const std::optional<std::string>& name) const;
    [[nodiscard]] Result<PoolPointer> one_pool(const std::optional<std::string>& name) const;
    /// What an earlier daemon saved, for whoever does not begin anew; trouble is logged and is no reason not
    /// to start.
    [[nodiscard]] SavedSticks saved_sticks() const;
    struct LiveBroker {
        PoolPointer pool;
        balancer::BrokerView view;
        std::size_t others = 0;  ///< of its pool, that may take clients
    };
    Result<LiveBroker> live_broker(const admin::BrokerName& name);
    /// Looks the sources of this configuration up and gives its pools what they have.
    Result<void> discover(config::Config& config);
    /// Discovery's thread: some source has other brokers.
    void discovered();
    [[nodiscard]] std::map<std::string, PoolPointer> prepare_pools(const config::Config& config) const;
    [[nodiscard]] Counter accepted_counter(const std::string& listener);
    [[nodiscard]] std::shared_ptr<session::ConnectLimits> connect_limits(const std::string& listener);
    void announce_certificates();
    void log_start() const;
    void announce_brokers();
    using FlowVisitor = std::function<void(const dataplane::FlowView& flow, const std::string& broker_name)>;
    /// Visits the flows that the query means; returns how many.
    std::size_t walk_flows(const admin::FlowQuery& query, const FlowVisitor& visit) const;
    [[nodiscard]] admin::Json listeners_json() const;
    [[nodiscard]] admin::Json reasons_json() const;

    const bool flush_;
    const std::string config_path_;
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    const std::chrono::system_clock::time_point started_at_ = std::chrono::system_clock::now();
    std::atomic<bool> ready_{false};

    mutable std::mutex mutex_;  // guards the configuration, the listeners and the rates
    config::Config config_;     // in force: the file's, and what flags said on top
    config::Config file_;       // as the file was read last; operators may have changed pools since
    std::map<std::string, Counter> accepted_;
    std::map<std::string, std::shared_ptr<session::ConnectLimits>> limits_;
    std::map<std::string, std::shared_ptr<std::atomic<std::uint32_t>>> handshakes_;
    std::map<std::string, std::shared_ptr<tls::TicketKeys>> ticket_keys_;
    TlsTerms tls_;
    /// When a certificate's end was said last, by its file.
    std::map<std::string, std::chrono::steady_clock::time_point> expiry_said_;
    Rate accept_rate_;
    Rate splice_rate_;

    std::atomic<std::uint64_t> discovery_failures_{0};  // not counted yet
    std::unique_ptr<discovery::Discovery> discovery_;
    std::map<std::string, Announced> announced_;  // main thread only
    std::unique_ptr<Pools> pools_;
    std::unique_ptr<dataplane::Dataplane> dataplane_;
    std::shared_ptr<session::Trace> trace_ = std::make_shared<session::Trace>();
    std::unique_ptr<BrokerWatch> watch_;
    std::unique_ptr<session::Workers> workers_;
    std::unique_ptr<Offers> offers_;
    std::unique_ptr<Moves> moves_;
    std::unique_ptr<StickKeeper> keeper_;
};

}  // namespace limpet::daemon
