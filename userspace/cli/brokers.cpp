// SPDX-License-Identifier: Apache-2.0
// The commands that change brokers.
#include <ostream>
#include <set>
#include <thread>

#include "admin/client.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/progress.h"

namespace limpet::cli {
namespace {

constexpr std::chrono::milliseconds look_interval{200};

Json name_of(const Options& options) {
    Json args = Json::object();
    if (!options.broker_name.empty()) args["broker"] = options.broker_name;
    if (options.pool) args["pool"] = *options.pool;
    return args;
}

Json with_pace(const Options& options, Json args) {
    if (options.rate) args["rate"] = *options.rate;
    if (options.deadline) args["deadline"] = options.deadline->count();
    return args;
}

int change(const Options& options, const char* verb, Json args, std::ostream& out, std::ostream& err) {
    const auto answer = admin::request(socket_of(options), verb, std::move(args));
    if (!answer) return complain(err, answer.error());
    out << (options.json ? json_line(*answer) : reload_text(*answer));
    return status_ok;
}

int add(const Options& options, std::ostream& out, std::ostream& err) {
    auto args = name_of(options);
    args["address"] = options.broker_address;
    if (options.weight) args["weight"] = *options.weight;
    if (options.max_connections) args["max_connections"] = *options.max_connections;
    return change(options, "brokers_add", std::move(args), out, err);
}

int set_value(const Options& options, const char* verb, std::ostream& out, std::ostream& err) {
    auto args = name_of(options);
    args["value"] = *options.value;
    return change(options, verb, std::move(args), out, err);
}

// Those of a list of moves that were begun by this command, as they are now.
Result<Json> look_again(const Options& options, const std::set<std::uint64_t>& ids) {
    const auto all = admin::request(socket_of(options), "brokers_moves", Json::object());
    if (!all) return std::unexpected(all.error());
    auto ours = Json::array();
    for (const auto& move : *all)
        if (ids.contains(move.value("id", std::uint64_t{0}))) ours.push_back(move);
    return ours;
}

// Begins a move and stays until it is over; who leaves earlier (with ^C) does not stop it.
int move(const Options& options, const char* verb, Json args, std::ostream& out, std::ostream& err) {
    auto answer = admin::request(socket_of(options), verb, std::move(args));
    if (!answer) return complain(err, answer.error());
    const bool list = answer->is_array();
    auto moves = list ? *answer : Json::array({*answer});
    std::set<std::uint64_t> ids;
    for (const auto& one : moves) ids.insert(one.value("id", std::uint64_t{0}));
    ProgressView view(out);
    while (!options.no_wait && !ProgressView::over(moves)) {
        if (!options.json) view.show(moves);
        std::this_thread::sleep_for(look_interval);
        auto again = look_again(options, ids);
        if (!again) return complain(err, again.error());
        moves = std::move(*again);
    }
    if (options.json)
        out << json_line(list ? moves : moves.empty() ? *answer : moves.front());
    else if (moves.empty())
        out << "nothing to move: every broker is within its share\n";
    else
        view.show(moves);
    return status_ok;
}

}  // namespace

int run_broker_change(const Options& options, std::ostream& out, std::ostream& err) {
    switch (options.command) {
        case Command::brokers_add:
            return add(options, out, err);
        case Command::brokers_remove:
            return change(options, "brokers_remove", name_of(options), out, err);
        case Command::brokers_enable:
            return change(options, "brokers_enable", name_of(options), out, err);
        case Command::brokers_weight:
            return set_value(options, "brokers_weight", out, err);
        case Command::brokers_maxconn:
            return set_value(options, "brokers_maxconn", out, err);
        case Command::brokers_drain:
            if (options.cancel) return change(options, "brokers_cancel", name_of(options), out, err);
            return move(options, "brokers_drain", with_pace(options, name_of(options)), out, err);
        case Command::brokers_rebalance: {
            if (options.cancel) return change(options, "brokers_cancel", name_of(options), out, err);
            auto args = with_pace(options, name_of(options));
            if (options.tolerance) args["tolerance"] = *options.tolerance;
            return move(options, "brokers_rebalance", std::move(args), out, err);
        }
        default:
            break;
    }
    const auto answer = admin::request(socket_of(options), "brokers_moves", Json::object());
    if (!answer) return complain(err, answer.error());
    out << (options.json ? json_line(*answer) : moves_text(*answer));
    return status_ok;
}

}  // namespace limpet::cli
