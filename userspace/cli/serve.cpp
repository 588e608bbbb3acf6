// SPDX-License-Identifier: Apache-2.0
#include "cli/serve.h"

#include <filesystem>
#include <limits>

#include "config/values.h"

namespace limpet::cli {
namespace {

// Flags are relative to where the user stands; the daemon may stand elsewhere.
std::string absolute(const std::string& path) {
    std::error_code error;
    const auto full = std::filesystem::absolute(path, error);
    return error || path.empty() ? path : full.lexically_normal().string();
}

class Maker {
  public:
    explicit Maker(const Options& options) : options_(options) {}

    Serving make() {
        if (options_.config_file.empty())
            from_flags();
        else
            from_file();
        if (serving_.ok()) override_values();
        if (serving_.ok()) cross_check();
        return std::move(serving_);
    }

  private:
    void complain(const std::string& flag, const Error& error) {
        serving_.usage.push_back(flag + ": " + error.line());
    }

    // Stores a value that could be read.
    template <class T>
    bool take(const std::string& flag, T& out, Result<T> value) {
        if (!value) {
            complain(flag, value.error());
            return false;
        }
        out = std::move(*value);
        return true;
    }

    void from_file() {
        if (!options_.listen.empty() || !options_.brokers.empty() || options_.strategy)
            serving_.usage.emplace_back(
                "--listen, --broker and --strategy do not go with a configuration file: "
                "write them into the file, or leave -c out");
        if (!serving_.usage.empty()) return;
        auto loaded = config::load_file(options_.config_file);
        serving_.config = std::move(loaded.config);
        serving_.problems = std::move(loaded.problems);
        serving_.warnings = std::move(loaded.warnings);
    }

    void from_flags() {
        if (options_.listen.empty() || options_.brokers.empty()) {
            serving_.usage.emplace_back(
                options_.listen.empty() && options_.brokers.empty()
                    ? "there is nothing to serve: name a file with -c, or --listen and --broker"
                : options_.listen.empty() ? "there is nothing to listen on: add --listen ADDR:PORT"
                                          : "there is nowhere to go: add --broker ADDR:PORT");
            return;
        }
        config::Pool pool;
        pool.name = "main";
        if (options_.strategy)
            take("--strategy", pool.strategy,
                 config::parse_word(*options_.strategy, config::strategy_names()));
        for (const auto& text : options_.brokers) add_broker(pool, text);
        serving_.config.pools.push_back(std::move(pool));
        for (const auto& text : options_.listen) {
            config::Listener listener;
            const auto number = serving_.config.listeners.size() + 1;
            listener.name = number == 1 ? "mqtt" : "mqtt" + std::to_string(number);
            listener.pool = "main";
            take("--listen", listener.address, config::parse_listener_address(text));
            serving_.config.listeners.push_back(std::move(listener));
        }
    }

    // ADDR:PORT is b1, b2 … by its place; NAME=ADDR:PORT says its name.
    void add_broker(config::Pool& pool, const std::string& text) {
        config::Broker broker;
        broker.name = "b" + std::to_string(pool.brokers.size() + pool.hosts.size() + 1);
        const auto equals = text.find('=');
        if (equals != std::string::npos) {
            broker.name = text.substr(0, equals);
            if (auto good = config::check_name(broker.name); !good) complain("--broker", good.error());
        }
        config::BrokerPlace place;
        take("--broker", place,
             config::parse_broker_place(equals == std::string::npos ? text : text.substr(equals + 1)));
        broker.address = place.address;
        broker.host = std::move(place.host);
        (broker.host.name.empty() ? pool.brokers : pool.hosts).push_back(std::move(broker));
    }

    template <class T>
    void number(const std::string& flag, std::optional<std::int64_t> said,
                config::Bounds<std::int64_t> allowed, T& out) {
        if (!said) return;
        if (allowed.contain(*said))
            out = static_cast<T>(*said);
        else
            complain(flag, {std::to_string(*said) + " is out of range",
                            "it must be from " + std::to_string(allowed.low) + " to " +
                                std::to_string(allowed.high),
                            0});
    }

    void override_values() {
        auto& config = serving_.config;
        if (options_.mode)
            take("--mode", config.dataplane.mode, config::parse_word(*options_.mode, config::mode_names()));
        if (!options_.interfaces.empty()) config.dataplane.interfaces = options_.interfaces;
        for (const auto& name : options_.interfaces)
            if (auto good = config::check_interface(name); !good) complain("--interface", good.error());
        if (options_.bpffs) config.dataplane.bpffs = absolute(*options_.bpffs);
        if (auto good = config::check_absolute_path(config.dataplane.bpffs); !good)
            complain("--bpffs", good.error());
        if (options_.socket) config.daemon.socket = absolute(*options_.socket);
        if (auto good = config::check_socket_path(config.daemon.socket); !good)
            complain("--socket", good.error());
        if (options_.admin) {
            config.admin.http = *options_.admin;
            if (!options_.admin->empty())
                if (auto good = config::parse_admin_address(*options_.admin); !good)
                    complain("--admin", good.error());
        }
        if (options_.log_level) {
            const auto levels = config::log_level_names();
            config.daemon.log_level = *options_.log_level;
            if (std::find(levels.begin(), levels.end(), *options_.log_level) == levels.end())
                complain("--log-level", config::unknown_word(*options_.log_level, levels));
        }
        number("--workers", options_.workers, config::bounds::workers, config.daemon.workers);
        number("--max-flows", options_.max_flows, config::bounds::max_flows, config.dataplane.max_flows);
    }

    // What stands in the file was checked; what a flag changed may not fit it.
    void cross_check() {
        std::vector<config::Problem> problems;
        config::validate(serving_.config, problems);
        for (auto& problem : problems)
            if (problem.position.file.empty())
                serving_.usage.push_back(problem.line());
            else
                serving_.problems.push_back(std::move(problem));
    }

    const Options& options_;
    Serving serving_;
};

}  // namespace

Serving make_config(const Options& options) {
    return Maker(options).make();
}

}  // namespace limpet::cli
