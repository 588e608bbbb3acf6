// SPDX-License-Identifier: Apache-2.0
// The commands that ask a running daemon.
#include <ostream>

#include "admin/client.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/table.h"
#include "config/config.h"

namespace limpet::cli {
namespace {

// Asks, and prints the answer as JSON or as `show` makes it.
template <class Show>
int ask(const Options& options, const char* verb, Json args, Show show, std::ostream& out,
        std::ostream& err) {
    const auto answer = admin::request(socket_of(options), verb, std::move(args));
    if (!answer) return complain(err, answer.error());
    out << (options.json ? json_line(*answer) : show(*answer));
    return status_ok;
}

Json filters(const Options& options) {
    Json args = Json::object();
    if (options.client_id) args["client_id"] = *options.client_id;
    if (options.broker) args["broker"] = *options.broker;
    if (options.limit > 0) args["limit"] = options.limit;
    return args;
}

std::string counted(const Json& answer, const char* name) {
    const auto found = answer.find(name);
    return found != answer.end() && found->is_number() ? found->dump() : "-";
}

int show_flow(const Options& options, std::ostream& out, std::ostream& err) {
    auto args = filters(options);
    args["limit"] = 2;  // enough to see that it is not the only one
    const auto answer = admin::request(socket_of(options), "flows", std::move(args));
    if (!answer) return complain(err, answer.error());
    if (!answer->is_array() || answer->empty())
        return complain(err, {"no such flow", "`limpet flows` lists those that there are", 0});
    if (answer->size() > 1)
        return complain(err, {"several flows match",
                              "narrow it with --client-id and --broker, or use `limpet flows`", 0});
    const auto& flow = answer->front();
    out << (options.json ? json_line(flow) : flow_text(flow));
    return status_ok;
}

int kill_flows(const Options& options, std::ostream& out, std::ostream& err) {
    const bool filtered = options.client_id || options.broker;
    if (!filtered && !options.all)
        return complain(err,
                        {"nothing says which flows to end", "name --client-id or --broker, or say --all", 0});
    auto args = filters(options);
    if (!filtered) args["all"] = true;
    return ask(
        options, "flows_kill", std::move(args),
        [](const Json& answer) { return counted(answer, "killed") + " killed\n"; }, out, err);
}

}  // namespace

std::string json_line(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string socket_of(const Options& options) {
    return options.socket.value_or(config::Daemon{}.socket);
}

int run_status(const Options& options, std::ostream& out, std::ostream& err) {
    return ask(options, "status", Json::object(), status_text, out, err);
}

int run_brokers(const Options& options, std::ostream& out, std::ostream& err) {
    return ask(options, "brokers", Json::object(), brokers_text, out, err);
}

int run_flows(const Options& options, std::ostream& out, std::ostream& err) {
    switch (options.command) {
        case Command::flows_count:
            return ask(
                options, "flows_count", filters(options),
                [](const Json& answer) { return counted(answer, "count") + "\n"; }, out, err);
        case Command::flows_show:
            return show_flow(options, out, err);
        case Command::flows_kill:
            return kill_flows(options, out, err);
        default:
            return ask(options, "flows", filters(options), flows_text, out, err);
    }
}

int run_stick(const Options& options, std::ostream& out, std::ostream& err) {
    Json args = Json::object();
    if (options.pool) args["pool"] = *options.pool;
    switch (options.command) {
        case Command::stick_show:
            args["client_id"] = options.lookup_client;
            return ask(options, "stick_show", std::move(args), stick_text, out, err);
        case Command::stick_set:
            args["client_id"] = options.lookup_client;
            args["broker"] = options.broker_name;
            if (options.ttl) args["ttl"] = options.ttl->count();
            return ask(options, "stick_set", std::move(args), stick_text, out, err);
        case Command::stick_clear:
            if (options.client_id) args["client_id"] = *options.client_id;
            if (options.broker) args["broker"] = *options.broker;
            if (options.all) args["all"] = true;
            return ask(
                options, "stick_clear", std::move(args),
                [](const Json& answer) { return counted(answer, "cleared") + " cleared\n"; }, out, err);
        default:
            if (options.broker) args["broker"] = *options.broker;
            if (options.limit > 0) args["limit"] = options.limit;
            return ask(options, "stick_list", std::move(args), sticks_text, out, err);
    }
}

int run_lookup(const Options& options, std::ostream& out, std::ostream& err) {
    Json args{{"client_id", options.lookup_client}};
    if (options.pool) args["pool"] = *options.pool;
    return ask(options, "lookup", std::move(args), lookup_text, out, err);
}

int run_reload(const Options& options, std::ostream& out, std::ostream& err) {
    const auto answer = admin::request(socket_of(options), "reload", Json::object());
    if (answer) {
        out << (options.json ? json_line(*answer) : reload_text(*answer));
        return status_ok;
    }
    const auto& error = answer.error();
    if (error.what.find('\n') == std::string::npos) return complain(err, error);
    // Every problem of the file on a line of its own, and then what that means.
    err << error.what << (error.what.ends_with('\n') ? "" : "\n");
    return complain(err, {"the configuration was refused and nothing was changed",
                          error.advice.empty() ? "mend the file and reload again" : error.advice, 0});
}

}  // namespace limpet::cli
