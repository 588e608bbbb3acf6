// SPDX-License-Identifier: Apache-2.0
// TLS of listeners and pools: what the configuration says, with the files as they are now.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "tls/client.h"
#include "tls/server.h"

namespace limpet::daemon {

/// The keys of a listener's tickets: the same ones across reloads.
using TicketKeysOf = std::function<std::shared_ptr<tls::TicketKeys>(const std::string& listener,
                                                                    std::chrono::seconds lifetime)>;

struct TlsTerms {
    std::map<std::string, std::shared_ptr<const tls::Server>> servers;  ///< by the listener's name
    std::map<std::string, std::shared_ptr<const tls::Client>> clients;  ///< by the pool's name
    std::vector<config::Problem> problems;  ///< at the file's name in the configuration
    std::vector<config::Problem> warnings;  ///< keys that others can read, certificates about to end

    [[nodiscard]] std::shared_ptr<const tls::Server> server(const std::string& listener) const;
    [[nodiscard]] std::shared_ptr<const tls::Client> client(const std::string& pool) const;
};

/// Reads every file that the configuration names for TLS. Paths that do not begin with / are looked for
/// beside the configuration.
[[nodiscard]] TlsTerms load_tls(const config::Config& config, const TicketKeysOf& ticket_keys);
/// The same, for who only wants to know what is wrong.
void check_tls(const config::Config& config, std::vector<config::Problem>& problems,
               std::vector<config::Problem>& warnings);

/// "2026-03-01T12:00:00Z"
[[nodiscard]] std::string date_text(tls::Time time);
/// "in 12 days", "3 days ago".
[[nodiscard]] std::string distance(tls::Time then, tls::Time now);
/// What of the certificates is different now, a line each, for the answer to a reload.
[[nodiscard]] std::vector<std::string> compare_certificates(const TlsTerms& before, const TlsTerms& after);

}  // namespace limpet::daemon
