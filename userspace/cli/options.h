// SPDX-License-Identifier: Apache-2.0
// What the command line says, as values. Knows how it is spelled, not what it does.
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace limpet::cli {

enum class Command {
    serve,
    detach,
    check,
    features,
    status,
    brokers,
    brokers_add,
    brokers_remove,
    brokers_enable,
    brokers_weight,
    brokers_maxconn,
    brokers_drain,
    brokers_rebalance,
    brokers_moves,
    flows_list,
    flows_count,
    flows_show,
    flows_kill,
    lookup,
    stick_list,
    stick_show,
    stick_set,
    stick_clear,
    decode,
    reload,
    top,
    trace,
    bench,
    version,
};

struct Options {
    Command command = Command::version;
    bool json = false;
    std::optional<std::string> socket;
    std::string config_file;  ///< empty: none

    // serve; what is not there was not said
    std::vector<std::string> listen;
    std::vector<std::string> brokers;
    std::vector<std::string> interfaces;
    std::optional<std::string> mode;
    std::optional<std::string> bpffs;
    std::optional<std::string> admin;
    std::optional<std::string> strategy;
    std::optional<std::string> log_level;
    std::optional<std::int64_t> workers;
    std::optional<std::int64_t> max_flows;
    bool flush = false;

    // flows
    std::optional<std::string> client_id;
    std::optional<std::string> broker;
    std::uint64_t limit = 0;
    bool all = false;

    // lookup
    std::string lookup_client;
    std::optional<std::string> pool;

    // trace
    std::optional<std::string> source;

    // top, trace
    std::chrono::milliseconds interval{1000};
    std::uint64_t count = 0;  ///< 0: without end on a terminal, once elsewhere

    // bench
    std::uint64_t rounds = 9;
    std::uint64_t bench_flows = 64;

    // brokers; `pool` too
    std::string broker_name;
    std::string broker_address;
    std::optional<std::int64_t> value;  ///< weight, maxconn
    std::optional<std::int64_t> weight;
    std::optional<std::int64_t> max_connections;
    std::optional<double> rate;  ///< connections a second
    std::optional<std::chrono::seconds> deadline;
    std::optional<double> tolerance;  ///< a part of the fair share
    bool cancel = false;
    bool no_wait = false;

    // stick; `lookup_client`, `pool`, `broker`, `broker_name`, `limit` and `all` too
    std::optional<std::chrono::seconds> ttl;

    bool hex = false;    ///< decode
    bool force = false;  ///< detach
};

/// Fills `options`; or prints help, the version or what is wrong with the usage, and returns the exit status.
[[nodiscard]] std::optional<int> read_options(int argc, const char* const* argv, Options& options,
                                              std::ostream& out, std::ostream& err);

}  // namespace limpet::cli
