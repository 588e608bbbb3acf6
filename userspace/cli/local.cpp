// SPDX-License-Identifier: Apache-2.0
// The commands that need no daemon.
#include <sys/stat.h>

#include <algorithm>
#include <ostream>

#include "admin/client.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/serve.h"
#include "cli/table.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/tls_terms.h"
#include "dataplane/dataplane.h"
#include "dataplane/interfaces.h"

namespace limpet::cli {
namespace {

void print_problems(std::ostream& err, const std::vector<config::Problem>& problems) {
    for (const auto& problem : problems) err << problem.line() << "\n";
}

std::string problem_count(std::size_t count) {
    return std::to_string(count) + (count == 1 ? " problem" : " problems");
}

std::string connection_count(std::uint64_t count) {
    return std::to_string(count) + (count == 1 ? " live connection" : " live connections");
}

// Is the process in our network namespace? What cannot be looked at counts as yes.
bool same_network(const Json& status) {
    const auto pid = status.is_object() ? status.value("pid", 0) : 0;
    struct stat ours{};
    struct stat theirs{};
    if (pid <= 0 || ::stat("/proc/self/ns/net", &ours) != 0 ||
        ::stat(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), &theirs) != 0)
        return true;
    return ours.st_ino == theirs.st_ino;
}

struct Auto {
    std::string interface;
    dataplane::Mode mode;
    std::string why;
};

std::vector<Auto> automatic_modes(const std::vector<std::string>& names) {
    auto all = names;
    if (all.empty())
        for (const auto& interface : dataplane::addressed_interfaces()) all.push_back(interface.name);
    std::vector<Auto> modes;
    for (const auto& name : all) {
        auto [mode, why] = dataplane::automatic_mode(name);
        modes.push_back({name, mode, std::move(why)});
    }
    return modes;
}

// The best that `auto` finds anywhere, XDP over TC over nothing, where the kernel has what both stand on.
dataplane::Mode best_mode(const std::vector<Auto>& modes, const std::vector<dataplane::Feature>& features) {
    auto best = dataplane::Mode::relay;
    for (const auto& feature : features)
        if (!feature.available &&
            (feature.name == "root" || feature.name == "tc" || feature.name == "ringbuf"))
            return best;
    for (const auto& one : modes)
        if (one.mode == dataplane::Mode::xdp ||
            (one.mode == dataplane::Mode::tc && best == dataplane::Mode::relay))
            best = one.mode;
    return best;
}

std::string joined(const std::vector<std::string>& words) {
    std::string list;
    for (const auto& word : words) list += (list.empty() ? "" : ", ") + word;
    return list;
}

}  // namespace

int complain(std::ostream& err, const Error& error) {
    err << "limpet: " << error.line() << "\n";
    return status_failed;
}

int run_serve(const Options& options, std::ostream& err) {
    auto serving = make_config(options);
    for (const auto& usage : serving.usage) err << "limpet: " << usage << "\n";
    if (!serving.usage.empty()) return status_usage;
    if (serving.problems.empty()) daemon::check_tls(serving.config, serving.problems, serving.warnings);
    if (!serving.problems.empty()) {
        print_problems(err, serving.problems);
        return complain(err, {options.config_file + " has " + problem_count(serving.problems.size()) +
                                  ", nothing was started",
                              "mend the file and start again", 0});
    }
    print_problems(err, serving.warnings);
    return daemon::serve(std::move(serving.config), options.config_file, options.flush);
}

int run_check(const Options& options, std::ostream& out, std::ostream& err) {
    auto loaded = config::load_file(options.config_file);
    if (loaded.ok()) daemon::check_tls(loaded.config, loaded.problems, loaded.warnings);
    if (options.json) {
        Json problems = Json::array();
        for (const auto& problem : loaded.problems)
            problems.push_back({{"file", problem.position.file},
                                {"line", problem.position.line},
                                {"column", problem.position.column},
                                {"message", problem.message}});
        const Json answer{{"file", options.config_file}, {"ok", loaded.ok()}, {"problems", problems}};
        out << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    } else if (loaded.ok()) {
        print_problems(err, loaded.warnings);
        out << options.config_file << ": ok\n";
    } else {
        print_problems(err, loaded.problems);
    }
    return loaded.ok() ? status_ok : status_failed;
}

int run_features(const Options& options, std::ostream& out, std::ostream& err) {
    for (const auto& name : options.interfaces)
        if (const auto interface = dataplane::find_interface(name); !interface)
            return complain(err, interface.error());
    const auto features = dataplane::probe_features(options.interfaces);
    const auto modes = automatic_modes(options.interfaces);
    const auto best = dataplane::mode_name(best_mode(modes, features));
    if (options.json) {
        Json answer{{"features", Json::array()}, {"interfaces", Json::array()}, {"mode", best}};
        for (const auto& feature : features)
            answer["features"].push_back(
                {{"name", feature.name}, {"available", feature.available}, {"detail", feature.detail}});
        for (const auto& one : modes)
            answer["interfaces"].push_back(
                {{"name", one.interface}, {"mode", dataplane::mode_name(one.mode)}, {"why", one.why}});
        out << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
        return status_ok;
    }
    Table table({{"FEATURE"}, {"HERE"}, {"DETAIL"}});
    for (const auto& feature : features)
        table.add({visible(feature.name), feature.available ? "yes" : "no", visible(feature.detail)});
    out << table.text() << "\nmode auto would take: " << best << "\n";
    return status_ok;
}

int run_detach(const Options& options, std::ostream& out, std::ostream& err) {
    auto bpffs = config::Dataplane{}.bpffs;
    auto asked = options;
    if (!options.config_file.empty()) {
        const auto loaded = config::load_file(options.config_file);
        print_problems(err, loaded.problems);
        if (!loaded.ok())
            return complain(err, {"the configuration has problems", "name the folder with --bpffs", 0});
        bpffs = loaded.config.dataplane.bpffs;
        if (!asked.socket) asked.socket = loaded.config.daemon.socket;
    }
    if (options.bpffs) bpffs = *options.bpffs;
    const auto status = admin::request(socket_of(asked), "status", Json::object(), std::chrono::seconds(5));
    if (status && same_network(*status) && !options.force)
        return complain(err, {"a daemon answers at " + socket_of(asked), "stop it first, or say --force", 0});
    const auto leftover = dataplane::find_leftover(bpffs);
    if (!leftover) return complain(err, leftover.error());
    const bool nothing = leftover->interfaces.empty() && !leftover->pins && !leftover->policy;
    if (leftover->daemon && !options.force)
        return complain(err, {"a daemon works with the data path of this network namespace",
                              "stop it first, or say --force", 0});
    if (leftover->flows > 0 && !options.force)
        return complain(err,
                        {connection_count(leftover->flows) + " would end", "say --force to end them", 0});
    if (!options.json) {
        if (leftover->flows > 0) out << connection_count(leftover->flows) << " will end\n" << std::flush;
        if (nothing) out << "nothing to remove\n";
    }
    if (auto removed = dataplane::remove_leftover(bpffs); !removed) return complain(err, removed.error());
    if (options.json) {
        const Json answer{{"interfaces", leftover->interfaces},
                          {"flows", leftover->flows},
                          {"pins", leftover->pins},
                          {"policy", leftover->policy}};
        out << answer.dump() << "\n";
        return status_ok;
    }
    if (!leftover->interfaces.empty())
        out << "removed programs from " << joined(leftover->interfaces) << "\n";
    if (leftover->pins) out << "removed pins from " << bpffs << "\n";
    if (leftover->policy) out << "removed the policy rules of transparent pools\n";
    return status_ok;
}

int run_version(const Options& options, std::ostream& out) {
    if (options.json)
        out << Json{{"version", LIMPET_VERSION}}.dump() << "\n";
    else
        out << "limpet " << LIMPET_VERSION << "\n";
    return status_ok;
}

}  // namespace limpet::cli
