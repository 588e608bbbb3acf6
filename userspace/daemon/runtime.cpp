// SPDX-License-Identifier: Apache-2.0
// Start, reload, stop. What the daemon tells of itself is in report.cpp and flows.cpp.
#include "daemon/runtime.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "daemon/difference.h"
#include "daemon/discovered.h"
#include "daemon/mapping.h"

namespace limpet::daemon {
namespace {

using Clock = std::chrono::steady_clock;

// A broker that failed is tried again after retry_down; it is said to be back when nothing failed for this
// much longer, so that a dead broker is not announced every two seconds.
constexpr std::chrono::seconds quiet_before_back{5};
// How long a start or a reload waits for DNS.
constexpr std::chrono::milliseconds first_lookup{2000};
// A certificate that ends soon is said so often.
constexpr std::chrono::hours expiry_reminder{24};

void log_listener(const config::Listener& listener) {
    spdlog::info("listener {} on {}: {} to pool {}", listener.name, listener.address.text(),
                 protocol_name(listener.protocol), fmt::join(config::pools_of(listener), ", "));
}

std::string join_lines(const std::vector<config::Problem>& problems, std::string_view separator = "\n") {
    std::vector<std::string> lines;
    for (const auto& problem : problems) lines.push_back(problem.line());
    return fmt::format("{}", fmt::join(lines, separator));
}

}  // namespace

Runtime::Runtime(config::Config config, std::string config_path, bool flush)
    : flush_(flush), config_path_(std::move(config_path)), config_(std::move(config)) {
    file_ = config_;
    if (config_path_.empty()) return;
    if (auto loaded = config::load_file(config_path_); loaded.ok()) file_ = std::move(loaded.config);
}

Runtime::~Runtime() {
    ready_ = false;
    discovery_.reset();  // its thread changes pools
    offers_.reset();
    if (moves_) moves_->stop();  // its thread gives orders to workers
    keeper_.reset();
    workers_.reset();
    watch_.reset();
    moves_.reset();
    dataplane_.reset();  // its thread reports flow ends to the pools
}

Result<void> Runtime::start() {
    auto tls = read_tls(config_);
    if (!tls.problems.empty()) return fail(join_lines(tls.problems));
    tls_ = std::move(tls);
    discovery_ = std::make_unique<discovery::Discovery>(
        read_brokers,
        discovery::Events{.changed = [this] { discovered(); }, .failed = [this] { ++discovery_failures_; }});
    if (auto found = discover(config_); !found) return found;
    const auto saved = saved_sticks();
    auto options = dataplane_options(config_, flush_);
    options.hash_seed = saved.seed;
    auto started = dataplane::Dataplane::start(std::move(options));
    if (!started) return std::unexpected(started.error());
    dataplane_ = std::move(*started);
    pools_ = std::make_unique<Pools>(dataplane_->hash_seed());
    pools_->apply(config_, prepare_pools(config_));
    // Keys of another seed are those of nobody.
    const auto restored = saved.seed == dataplane_->hash_seed() ? restore_sticks(*pools_, saved) : 0;
    if (restored > 0) spdlog::info("{} clients of an earlier daemon are remembered", restored);
    dataplane_->on_flow_end([this](const dataplane::FlowEnd& end) {
        pools_->flow_ended(end);
        if (trace_->watched())
            trace_->note_end(end.client, "ended", std::string(reason_name(end.reason)), Clock::now());
    });
    dataplane_->on_broker_reset([this](const dataplane::BrokerReset& reset) { pools_->broker_reset(reset); });
    pools_->adopt([this](const Pools::Visitor& visit) { dataplane_->for_each_flow(visit); });
    log_start();
    auto for_sessions = session_options(config_);
    for_sessions.trace = trace_;
    workers_ = std::make_unique<session::Workers>(*dataplane_, std::move(for_sessions));
    offers_ = std::make_unique<Offers>(*dataplane_, *workers_);
    offers_->follow(config_);
    offers_->ask_first();
    moves_ = std::make_unique<Moves>(*dataplane_, *workers_, *pools_);
    watch_ = std::make_unique<BrokerWatch>(*dataplane_, *pools_, *moves_);
    watch_->follow(config_.pools);
    if (auto opened = open_listeners(config_.listeners, config_.pools, prepare_pools(config_), tls_);
        !opened) {
        workers_->stop();
        // Nobody needs the programs, unless an earlier daemon's connections do.
        if (dataplane_->flow_count() == 0) dataplane_->detach();
        return opened;
    }
    for (const auto& listener : config_.listeners) log_listener(listener);
    offers_->start();
    if (!flush_)
        keeper_ = std::make_unique<StickKeeper>(*pools_, config_.daemon.state(), dataplane_->hash_seed());
    ready_ = true;
    discovered();  // what changed while all this was made
    spdlog::info("ready: {} workers, data path {}", worker_count(config_),
                 dataplane::mode_name(dataplane_->mode()));
    return {};
}

SavedSticks Runtime::saved_sticks() const {
    if (flush_) {
        std::error_code ignored;
        std::filesystem::remove(config_.daemon.state(), ignored);
        return {};
    }
    auto saved = read_sticks(config_.daemon.state());
    if (saved) return std::move(*saved);
    spdlog::warn("what pools remembered is lost: {}", saved.error().line());
    return {};
}

void Runtime::log_start() const {
    spdlog::info("limpet {} starts, mode {}", LIMPET_VERSION, mode_name(config_.dataplane.mode));
    for (const auto& interface : dataplane_->interfaces())
        spdlog::info("interface {}: {}{}{}{}", interface.name, dataplane::mode_name(interface.mode),
                     interface.dispatcher ? " through libxdp's dispatcher" : "",
                     interface.note.empty() ? "" : ", ", interface.note);
    if (const auto note = dataplane_->note(); !note.empty()) spdlog::warn("data path: {}", note);
    if (pools_->adopted() > 0) spdlog::info("adopted {} connections of an earlier daemon", pools_->adopted());
}

std::map<std::string, PoolPointer> Runtime::prepare_pools(const config::Config& config) const {
    std::map<std::string, PoolPointer> pools;
    for (const auto& pool : config.pools) pools[pool.name] = pools_->prepare(pool_spec(pool));
    return pools;
}

Runtime::Counter Runtime::accepted_counter(const std::string& listener) {
    auto& counter = accepted_[listener];
    if (!counter) counter = std::make_shared<std::atomic<std::uint64_t>>(0);
    return counter;
}

/// What is known of those who came outlives a reload.
std::shared_ptr<session::ConnectLimits> Runtime::connect_limits(const std::string& listener) {
    auto& limits = limits_[listener];
    if (!limits) limits = std::make_shared<session::ConnectLimits>();
    return limits;
}

/// All of them, or none that was not open before.
Result<void> Runtime::open_listeners(const std::vector<config::Listener>& listeners,
                                     const std::vector<config::Pool>& terms,
                                     const std::map<std::string, PoolPointer>& pools, const TlsTerms& tls) {
    std::vector<Endpoint> opened;
    for (const auto& listener : listeners) {
        auto options = listener_of(listener, terms, pools, tls);
        options.accepted = accepted_counter(listener.name);
        options.limits = connect_limits(listener.name);
        options.tls = tls.server(listener.name);
        auto& handshakes = handshakes_[listener.name];
        if (!handshakes) handshakes = options.handshakes;
        options.handshakes = handshakes;
        options.maximum_segment = offers_->segment_of(listener.name);
        auto result = workers_->open(std::move(options));
        if (!result) {
            for (const auto& address : opened) workers_->close(address);
            return std::unexpected(result.error());
        }
        opened.push_back(*result);
    }
    return {};
}

Result<admin::Json> Runtime::reload() {
    const std::lock_guard lock(mutex_);
    if (config_path_.empty()) {
        spdlog::warn("nothing to reload: this daemon was started without a configuration file");
        return fail("this daemon was started without a configuration file",
                    "start it with -c FILE to be able to reload");
    }
    if (!ready_) return fail("the daemon is starting or stopping", "try again when it is ready");
    auto loaded = config::load_file(config_path_);
    if (!loaded.ok()) {
        spdlog::error("reload refused, nothing was changed: {}", join_lines(loaded.problems, "; "));
        return fail(join_lines(loaded.problems));
    }
    auto tls = read_tls(loaded.config);
    if (!tls.problems.empty()) {
        spdlog::error("reload refused, nothing was changed: {}", join_lines(tls.problems, "; "));
        return fail(join_lines(tls.problems));
    }
    // What operators changed since is undone, or is in the file by now; either shows.
    auto before = file_;
    before.pools = without_discovered(config_.pools);
    auto difference = compare(before, loaded.config);
    if (!difference.refused.empty()) {
        spdlog::error("reload refused, nothing was changed; these need a restart: {}",
                      fmt::join(difference.refused, "; "));
        return fail(fmt::format("nothing was changed, these need a restart:\n{}",
                                fmt::join(difference.refused, "\n")),
                    "restart the daemon (spliced connections go on meanwhile), or take the change back");
    }
    std::ranges::move(compare_certificates(tls_, tls), std::back_inserter(difference.changed));
    for (const auto& warning : tls.warnings) spdlog::warn("{}", warning.line());
    auto applied = discover(loaded.config);
    if (applied) applied = apply(loaded.config, std::move(tls));
    if (!applied) {
        static_cast<void>(discover(config_));
        spdlog::error("reload refused, nothing was changed: {}", applied.error().line());
        return std::unexpected(applied.error());
    }
    for (const auto& line : difference.changed) spdlog::info("reload: {}", line);
    spdlog::info("reloaded {}: {} changes", config_path_, difference.changed.size());
    file_ = std::move(loaded.config);
    return admin::Json{{"changed", difference.changed}};
}

Result<void> Runtime::discover(config::Config& config) {
    auto followed = discovery_->follow(sources_of(config.pools), config.daemon.dns_servers, first_lookup);
    if (!followed) return followed;
    take_discovered(config, *discovery_);
    return {};
}

void Runtime::discovered() {
    const std::lock_guard lock(mutex_);
    if (!ready_) return;
    auto fresh = config_;
    take_discovered(fresh, *discovery_);
    const auto difference = compare(config_, fresh);
    if (difference.changed.empty()) return;
    if (auto served = dataplane_->serve_transparent(transparent_families(fresh.pools)); !served) {
        spdlog::error("what was discovered is not used: {}", served.error().line());
        return;
    }
    dataplane_->count(LIMPET_REASON_DISCOVERY_CHANGED);
    pools_->apply(fresh, prepare_pools(fresh));
    config_.pools = fresh.pools;
    offers_->follow(config_);
    watch_->follow(config_.pools);
    for (const auto& line : difference.changed) spdlog::info("discovery: {}", line);
}

/// What can fail comes first, what transparent pools need of the host and new addresses; then pools and the
/// terms of what is open already.
Result<void> Runtime::apply(const config::Config& fresh, TlsTerms tls) {
    if (auto served = dataplane_->serve_transparent(transparent_families(fresh.pools)); !served)
        return served;
    const auto pools = prepare_pools(fresh);
    const auto has = [](const std::vector<config::Listener>& listeners, const Endpoint& address) {
        return std::ranges::any_of(listeners,
                                   [&](const auto& listener) { return listener.address == address; });
    };
    std::vector<config::Listener> added;
    std::vector<config::Listener> kept;
    for (const auto& listener : fresh.listeners)
        (has(config_.listeners, listener.address) ? kept : added).push_back(listener);
    if (auto opened = open_listeners(added, fresh.pools, pools, tls); !opened) return opened;
    for (const auto& listener : added) log_listener(listener);
    pools_->apply(fresh, pools);
    if (auto replaced = open_listeners(kept, fresh.pools, pools, tls); !replaced) return replaced;
    for (const auto& listener : config_.listeners) {
        if (has(fresh.listeners, listener.address)) continue;
        workers_->close(listener.address);
        spdlog::info("listener {} on {} is closed", listener.name, listener.address.text());
    }
    tls_ = std::move(tls);
    for (const auto& listener : fresh.listeners)
        if (const auto keys = ticket_keys_.find(listener.name); keys != ticket_keys_.end())
            keys->second->set_lifetime(listener.tls.ticket_lifetime);
    expiry_said_.clear();
    config_.listeners = fresh.listeners;
    config_.pools = fresh.pools;
    config_.rules = fresh.rules;
    config_.daemon.dns_servers = fresh.daemon.dns_servers;
    offers_->follow(config_);
    watch_->follow(config_.pools);
    if (file_.daemon.log_level != fresh.daemon.log_level) {
        config_.daemon.log_level = fresh.daemon.log_level;
        spdlog::set_level(spdlog::level::from_str(fresh.daemon.log_level));
    }
    return {};
}

void Runtime::stop() {
    {
        const std::lock_guard lock(mutex_);
        ready_ = false;
        offers_.reset();
    }
    discovery_.reset();  // whoever takes the lock from now on sees that it stops
    if (moves_) moves_->stop();
    spdlog::info("stopping: {} spliced connections {}", dataplane_->flow_count(),
                 flush_ ? "end with the data path" : "go on without the daemon");
    workers_->stop();
    watch_.reset();
    keeper_.reset();
    if (flush_) {
        dataplane_->detach();
        spdlog::info("data path removed");
    }
    spdlog::info("stopped");
}

void Runtime::tick() {
    const auto now = Clock::now();
    {
        const std::lock_guard lock(mutex_);
        const auto counts = workers_->counts();
        accept_rate_.sample(counts.accepted, now);
        splice_rate_.sample(counts.spliced, now);
    }
    for (auto failures = discovery_failures_.exchange(0); failures > 0; --failures)
        dataplane_->count(LIMPET_REASON_DISCOVERY_FAILED);
    for (const auto& pool : pools_->all()) pool->expire(now);
    watch_->tick();
    announce_brokers();
    announce_certificates();
}

TlsTerms Runtime::read_tls(const config::Config& config) {
    return load_tls(config, [this](const std::string& listener, std::chrono::seconds lifetime) {
        auto& keys = ticket_keys_[listener];
        if (!keys) keys = std::make_shared<tls::TicketKeys>(lifetime);
        return keys;
    });
}

/// The start and a reload have said it once; from then on daily.
void Runtime::announce_certificates() {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const auto today = std::chrono::system_clock::now();
    for (const auto& listener : config_.listeners) {
        const auto server = tls_.server(listener.name);
        if (!server) continue;
        for (const auto& credentials : server->settings().credentials) {
            const auto facts = tls::facts_of(credentials->chain->leaf());
            if (facts.not_after > today + listener.tls.expiry_warning) continue;
            const auto [said, is_new] = expiry_said_.try_emplace(credentials->chain->path, now);
            if (is_new || now - said->second < expiry_reminder) continue;
            said->second = now;
            spdlog::warn("listener {}: certificate {} {} {}: renew it and reload", listener.name,
                         credentials->chain->path, facts.not_after > today ? "expires" : "expired",
                         distance(facts.not_after, today));
        }
    }
}

void Runtime::announce_brokers() {
    const auto now = Clock::now();
    for (const auto& pool : pools_->all()) {
        for (const auto& broker : pool->brokers()) {
            auto& said = announced_[pool->name() + "/" + broker.spec.name];
            if (broker.failures > said.failures) {
                said.failures = broker.failures;
                said.failed = now;
            }
            // what health checks found is said by the watch
            if (broker.unhealthy) said.down = false;
            const bool down = broker.state == balancer::BrokerState::down && !broker.unhealthy;
            if (down && !said.down) {
                said.down = true;
                spdlog::warn("broker {} ({}) of pool {} is avoided: {}", broker.spec.name,
                             broker.spec.address.text(), pool->name(),
                             broker.last_error.empty() ? "clients could not be served" : broker.last_error);
            } else if (said.down && !down && now - said.failed > quiet_before_back) {
                said.down = false;
                spdlog::info("broker {} ({}) of pool {} is used again", broker.spec.name,
                             broker.spec.address.text(), pool->name());
            }
        }
    }
}

}  // namespace limpet::daemon
