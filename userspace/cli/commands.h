// SPDX-License-Identifier: Apache-2.0
// What each command does; all return the exit status.
#pragma once

#include <iosfwd>
#include <string>

#include "admin/verbs.h"
#include "base/result.h"
#include "cli/options.h"

namespace limpet::cli {

/// "limpet: what is wrong: what to do", and the status of a failure.
int complain(std::ostream& err, const Error& error);

// Asking a running daemon.
[[nodiscard]] std::string json_line(const admin::Json& json);
int run_status(const Options& options, std::ostream& out, std::ostream& err);
int run_brokers(const Options& options, std::ostream& out, std::ostream& err);
int run_broker_change(const Options& options, std::ostream& out, std::ostream& err);
int run_flows(const Options& options, std::ostream& out, std::ostream& err);
int run_stick(const Options& options, std::ostream& out, std::ostream& err);
int run_lookup(const Options& options, std::ostream& out, std::ostream& err);
int run_reload(const Options& options, std::ostream& out, std::ostream& err);
int run_trace(const Options& options, std::ostream& out, std::ostream& err);
int run_top(const Options& options, std::ostream& out, std::ostream& err);
[[nodiscard]] std::string socket_of(const Options& options);

// Without a daemon.
int run_serve(const Options& options, std::ostream& err);
int run_check(const Options& options, std::ostream& out, std::ostream& err);
int run_features(const Options& options, std::ostream& out, std::ostream& err);
int run_detach(const Options& options, std::ostream& out, std::ostream& err);
int run_bench(const Options& options, std::ostream& out, std::ostream& err);
int run_version(const Options& options, std::ostream& out);

}  // namespace limpet::cli
