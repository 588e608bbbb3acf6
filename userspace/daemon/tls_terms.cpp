// SPDX-License-Identifier: Apache-2.0
#include "daemon/tls_terms.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "config/values.h"

namespace limpet::daemon {
namespace {

using config::Placed;
using config::Position;

std::string path_of(const Placed& named) {
    const std::filesystem::path path(named.text);
    if (path.is_absolute() || named.position.file.empty()) return named.text;
    return (std::filesystem::path(named.position.file).parent_path() / path).lexically_normal().string();
}

tls::Policy policy_of(const config::TlsPolicy& from) {
    return {.minimum =
                from.minimum_version == config::TlsVersion::tls13 ? tls::Version::tls13 : tls::Version::tls12,
            .ciphers = from.ciphers.text,
            .ciphersuites = from.ciphersuites.text,
            .groups = from.groups.text,
            .kernel_tls = from.kernel_tls};
}

tls::Verify verify_of(config::Verify verify) {
    switch (verify) {
        case config::Verify::none:
            return tls::Verify::none;
        case config::Verify::optional:
            return tls::Verify::optional;
        case config::Verify::required:
            break;
    }
    return tls::Verify::required;
}

/// Reads the files of one configuration; what is wrong is blamed on the place that named the file.
class Loader {
  public:
    Loader(TlsTerms& terms, const TicketKeysOf& ticket_keys) : terms_(terms), ticket_keys_(ticket_keys) {}

    void load(const config::Listener& listener);
    void load(const config::Pool& pool);

  private:
    void blame(const Position& position, std::string_view key, const Error& error) {
        terms_.problems.push_back({position, fmt::format("{}: {}", key, error.line())});
        failed_ = true;
    }
    void warn(const Position& position, std::string_view key, std::string text) {
        terms_.warnings.push_back({position, fmt::format("{}: {} (warning)", key, text)});
    }
    /// True when there was nothing to complain of; the error is blamed otherwise.
    template <class Value>
    bool good(const Placed& named, std::string_view key, const Result<Value>& result) {
        if (!result) blame(named.position, key, result.error());
        return result.has_value();
    }
    [[nodiscard]] std::shared_ptr<const tls::Credentials> read(const config::Certificate& named,
                                                               std::chrono::seconds warning);
    void judge_time(const config::Certificate& named, const tls::Credentials& credentials,
                    std::chrono::seconds warning);
    void check(const config::TlsPolicy& policy);
    [[nodiscard]] std::shared_ptr<const tls::Authorities> read_authorities(std::string_view ca_key,
                                                                           const Placed& ca,
                                                                           const Placed& crl);

    TlsTerms& terms_;
    const TicketKeysOf& ticket_keys_;
    bool failed_ = false;
};

std::shared_ptr<const tls::Credentials> Loader::read(const config::Certificate& named,
                                                     std::chrono::seconds warning) {
    auto chain = tls::read_chain(path_of(named.certificate));
    const bool chained = good(named.certificate, "certificate", chain);
    const auto& key_named = named.key.empty() ? named.certificate : named.key;
    const auto key_path = path_of(key_named);
    auto key = tls::read_key(key_path);
    if (!good(key_named, "key", key) || !chained) return nullptr;
    if (const auto exposed = tls::exposure(key_path); !exposed.empty())
        warn(key_named.position, "key", exposed);
    if (!good(key_named, "key", tls::check_pair(**chain, *key))) return nullptr;
    auto credentials = std::make_shared<tls::Credentials>();
    credentials->chain = std::move(*chain);
    credentials->key = std::move(*key);
    if (!named.ocsp_response.empty() && !good(named.ocsp_response, "ocsp_response",
                                              tls::read_staple(path_of(named.ocsp_response), *credentials)))
        return nullptr;
    judge_time(named, *credentials, warning);
    return credentials;
}

void Loader::judge_time(const config::Certificate& named, const tls::Credentials& credentials,
                        std::chrono::seconds warning) {
    const auto now = std::chrono::system_clock::now();
    const auto facts = tls::facts_of(credentials.chain->leaf());
    if (facts.not_after <= now)
        warn(named.certificate.position, "certificate",
             fmt::format("{} expired {}: clients that look will leave; renew it", credentials.chain->path,
                         distance(facts.not_after, now)));
    else if (facts.not_after <= now + warning)
        warn(named.certificate.position, "certificate",
             fmt::format("{} expires {}: renew it", credentials.chain->path, distance(facts.not_after, now)));
    if (facts.not_before > now)
        warn(named.certificate.position, "certificate",
             fmt::format("{} begins to be good {}: look at this host's clock", credentials.chain->path,
                         distance(facts.not_before, now)));
    if (!credentials.staple.empty() && credentials.staple_until <= now)
        warn(named.ocsp_response.position, "ocsp_response",
             fmt::format("{} is older than its next update, {}: it is not shown to clients; fetch a new one",
                         path_of(named.ocsp_response), distance(credentials.staple_until, now)));
}

void Loader::check(const config::TlsPolicy& policy) {
    if (!policy.ciphers.empty()) good(policy.ciphers, "ciphers", tls::check_ciphers(policy.ciphers.text));
    if (!policy.ciphersuites.empty())
        good(policy.ciphersuites, "ciphersuites", tls::check_ciphersuites(policy.ciphersuites.text));
    if (!policy.groups.empty()) good(policy.groups, "groups", tls::check_groups(policy.groups.text));
}

std::shared_ptr<const tls::Authorities> Loader::read_authorities(std::string_view ca_key, const Placed& ca,
                                                                 const Placed& crl) {
    if (ca.empty()) return nullptr;
    auto authorities = std::make_shared<tls::Authorities>();
    good(ca, ca_key, tls::read_authorities(path_of(ca), *authorities));
    if (!crl.empty()) good(crl, "client_crl", tls::read_revocations(path_of(crl), *authorities));
    return authorities;
}

/// What ALPN may ask for. A WebSocket begins with HTTP/1.1 (RFC 6455 4.1), and so do browsers say.
std::vector<std::string> usual_protocols(config::Protocol protocol) {
    if (config::speaks_websocket(protocol)) return {"http/1.1"};
    return {"mqtt", "x-amzn-mqtt-ca"};
}

void Loader::load(const config::Listener& listener) {
    failed_ = false;
    const auto& from = listener.tls;
    tls::ServerSettings settings;
    settings.name = listener.name;
    settings.policy = policy_of(from.policy);
    check(from.policy);
    for (const auto& named : from.certificates)
        settings.credentials.push_back(read(named, from.expiry_warning));
    settings.strict_names = from.strict_sni;
    settings.verify = verify_of(from.verify);
    settings.verify_depth = static_cast<int>(from.verify_depth);
    settings.authorities = read_authorities("client_ca", from.client_ca, from.client_crl);
    settings.protocols = from.alpn_said ? from.alpn : usual_protocols(listener.protocol);
    settings.ticket_lifetime = from.ticket_lifetime;
    if (from.session_tickets) settings.tickets = ticket_keys_(listener.name, from.ticket_lifetime);
    if (failed_) return;
    auto server = tls::Server::make(std::move(settings));
    if (server)
        terms_.servers[listener.name] = std::move(*server);
    else
        blame(from.position, "[listener.tls]", server.error());
}

void Loader::load(const config::Pool& pool) {
    failed_ = false;
    tls::ClientSettings settings;
    settings.policy = policy_of(pool.tls.policy);
    check(pool.tls.policy);
    settings.verify = pool.tls.verify;
    settings.authorities = read_authorities("ca", pool.tls.ca, {});
    settings.server_name = pool.tls.server_name.text;
    if (!pool.tls.client.certificate.empty())
        settings.credentials = read(pool.tls.client, std::chrono::hours{14 * 24});
    if (failed_) return;
    auto client = tls::Client::make(std::move(settings));
    if (client)
        terms_.clients[pool.name] = std::move(*client);
    else
        blame(pool.tls.position, "[pool.tls]", client.error());
}

}  // namespace

std::shared_ptr<const tls::Server> TlsTerms::server(const std::string& listener) const {
    const auto found = servers.find(listener);
    return found == servers.end() ? nullptr : found->second;
}

std::shared_ptr<const tls::Client> TlsTerms::client(const std::string& pool) const {
    const auto found = clients.find(pool);
    return found == clients.end() ? nullptr : found->second;
}

TlsTerms load_tls(const config::Config& config, const TicketKeysOf& ticket_keys) {
    TlsTerms terms;
    Loader loader(terms, ticket_keys);
    for (const auto& listener : config.listeners)
        if (config::speaks_tls(listener.protocol)) loader.load(listener);
    for (const auto& pool : config.pools)
        if (pool.tls.present) loader.load(pool);
    return terms;
}

void check_tls(const config::Config& config, std::vector<config::Problem>& problems,
               std::vector<config::Problem>& warnings) {
    auto terms = load_tls(config, [](const std::string&, std::chrono::seconds lifetime) {
        return std::make_shared<tls::TicketKeys>(lifetime);
    });
    std::ranges::move(terms.problems, std::back_inserter(problems));
    std::ranges::move(terms.warnings, std::back_inserter(warnings));
}

std::string distance(tls::Time then, tls::Time now) {
    const auto days = std::chrono::floor<std::chrono::days>(then > now ? then - now : now - then).count();
    const auto text = days == 1 ? std::string("1 day") : fmt::format("{} days", days);
    return then > now ? "in " + text : text + " ago";
}

std::string date_text(tls::Time time) {
    return fmt::format("{:%FT%TZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

std::vector<std::string> compare_certificates(const TlsTerms& before, const TlsTerms& after) {
    std::vector<std::string> lines;
    const auto now = std::chrono::system_clock::now();
    for (const auto& [name, server] : after.servers) {
        const auto old = before.server(name);
        if (!old) continue;
        for (const auto& fresh : server->settings().credentials) {
            const auto facts = tls::facts_of(fresh->chain->leaf());
            const auto known = std::ranges::any_of(old->settings().credentials, [&](const auto& credentials) {
                return tls::fingerprint_of(credentials->chain->leaf()) == facts.fingerprint;
            });
            if (known) continue;
            lines.push_back(fmt::format("listener {}: new certificate from {} ({}, expires {})", name,
                                        fresh->chain->path, facts.kind, distance(facts.not_after, now)));
        }
    }
    return lines;
}

}  // namespace limpet::daemon
