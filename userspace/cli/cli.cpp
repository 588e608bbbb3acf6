// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <exception>
#include <iostream>

#include "cli/commands.h"
#include "cli/decode.h"
#include "cli/options.h"

namespace limpet::cli {
namespace {

int dispatch(const Options& options, std::istream& in, std::ostream& out, std::ostream& err) {
    switch (options.command) {
        case Command::serve:
            return run_serve(options, err);
        case Command::detach:
            return run_detach(options, out, err);
        case Command::check:
            return run_check(options, out, err);
        case Command::features:
            return run_features(options, out, err);
        case Command::status:
            return run_status(options, out, err);
        case Command::brokers:
            return run_brokers(options, out, err);
        case Command::brokers_add:
        case Command::brokers_remove:
        case Command::brokers_enable:
        case Command::brokers_weight:
        case Command::brokers_maxconn:
        case Command::brokers_drain:
        case Command::brokers_rebalance:
        case Command::brokers_moves:
            return run_broker_change(options, out, err);
        case Command::flows_list:
        case Command::flows_count:
        case Command::flows_show:
        case Command::flows_kill:
            return run_flows(options, out, err);
        case Command::lookup:
            return run_lookup(options, out, err);
        case Command::stick_list:
        case Command::stick_show:
        case Command::stick_set:
        case Command::stick_clear:
            return run_stick(options, out, err);
        case Command::decode:
            return decode(in, out, options.hex);
        case Command::reload:
            return run_reload(options, out, err);
        case Command::top:
            return run_top(options, out, err);
        case Command::trace:
            return run_trace(options, out, err);
        case Command::bench:
            return run_bench(options, out, err);
        case Command::version:
            return run_version(options, out);
    }
    return status_usage;
}

}  // namespace

int run(int argc, const char* const* argv, std::istream& in, std::ostream& out, std::ostream& err) {
    try {
        Options options;
        if (const auto status = read_options(argc, argv, options, out, err)) return *status;
        const int status = dispatch(options, in, out, err);
        out.flush();
        if (!out) return complain(err, {"the output could not be written", "look at where it goes", 0});
        return status;
    } catch (const std::exception& error) {
        return complain(
            err, {std::string("this should not have happened: ") + error.what(), "please report it", 0});
    }
}

int run(int argc, char** argv) {
    return run(argc, argv, std::cin, std::cout, std::cerr);
}

}  // namespace limpet::cli
