// SPDX-License-Identifier: Apache-2.0
// One section of a configuration file: which keys it may have, and getters that report what is wrong with a
// value at its line and column. Only config.cpp includes this: toml++ takes seconds to compile.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/values.h"

#define TOML_EXCEPTIONS                 0
#define TOML_ENABLE_FORMATTERS          0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
#include <toml++/toml.h>

namespace limpet::config {

using std::chrono::milliseconds;
using Words = std::span<const std::string_view>;

// Every section and its keys, sub-sections among them.
struct Schema {
    std::string_view label;
    Words keys;
};
inline constexpr std::array<std::string_view, 6> top_keys{"daemon", "dataplane", "listener",
                                                          "pool",   "rule",      "admin"};
inline constexpr std::array<std::string_view, 5> daemon_keys{"workers", "socket", "log_level", "state_file",
                                                             "dns_servers"};
inline constexpr std::array<std::string_view, 12> dataplane_keys{
    "mode",         "interfaces",    "bpffs",        "max_flows",   "source_addresses", "source_ports",
    "hold_timeout", "handoff_tries", "idle_timeout", "probe_after", "closing_timeout",  "retire_grace"};
inline constexpr std::array<std::string_view, 16> listener_keys{"name",
                                                                "address",
                                                                "protocol",
                                                                "pool",
                                                                "connect_timeout",
                                                                "connack_timeout",
                                                                "max_connect_size",
                                                                "proxy_from",
                                                                "route",
                                                                "identity",
                                                                "websocket",
                                                                "tls",
                                                                "connect_rate",
                                                                "source_connect_rate",
                                                                "client_connect_rate",
                                                                "hold_off"};
inline constexpr std::array<std::string_view, 3> route_keys{"sni", "source", "pool"};
inline constexpr std::array<std::string_view, 5> identity_keys{"username", "password", "client_id",
                                                               "require_client_id", "replace"};
inline constexpr std::array<std::string_view, 19> tls_keys{
    "certificate",   "key",        "ocsp_response", "certificates",    "strict_sni",      "client_ca",
    "client_crl",    "verify",     "verify_depth",  "minimum_version", "ciphers",         "ciphersuites",
    "groups",        "kernel_tls", "alpn",          "session_tickets", "ticket_lifetime", "max_handshakes",
    "expiry_warning"};
inline constexpr std::array<std::string_view, 3> more_certificates_keys{"certificate", "key",
                                                                        "ocsp_response"};
inline constexpr std::array<std::string_view, 10> pool_tls_keys{
    "ca",      "server_name",  "verify", "certificate", "key", "minimum_version",
    "ciphers", "ciphersuites", "groups", "kernel_tls"};
inline constexpr std::array<std::string_view, 19> pool_keys{
    "tls",           "name",          "protocol",        "path",           "host",
    "strategy",      "key",           "unknown_clients", "proxy_protocol", "transparent",
    "stick_minimum", "stick_maximum", "stick_capacity",  "retry_down",     "broker_attempts",
    "health",        "brokers_from",  "broker",          "max_connections"};
inline constexpr std::array<std::string_view, 18> health_keys{
    "probe",    "interval", "fast_interval", "timeout",  "rise",         "fall",
    "initial",  "port",     "slow_start",    "end_rate", "mqtt_version", "client_id",
    "username", "password", "path",          "host",     "status",       "proxy_command"};
inline constexpr std::array<std::string_view, 4> broker_keys{"name", "address", "weight", "max_connections"};
inline constexpr std::array<std::string_view, 1> brokers_file_keys{"broker"};
inline constexpr std::array<std::string_view, 11> rule_keys{
    "name",    "listener",         "source",           "client_id", "username",
    "version", "keep_alive_below", "keep_alive_above", "action",    "reason",
    "pool"};
inline constexpr std::array<std::string_view, 1> admin_keys{"http"};

inline constexpr Schema top_schema{"", top_keys};
inline constexpr Schema daemon_schema{"[daemon]", daemon_keys};
inline constexpr Schema dataplane_schema{"[dataplane]", dataplane_keys};
inline constexpr Schema listener_schema{"[[listener]]", listener_keys};
inline constexpr Schema route_schema{"[[listener.route]]", route_keys};
inline constexpr std::array<std::string_view, 3> websocket_keys{"paths", "origins", "headers"};
inline constexpr Schema websocket_schema{"[listener.websocket]", websocket_keys};
inline constexpr Schema identity_schema{"[listener.identity]", identity_keys};
inline constexpr Schema tls_schema{"[listener.tls]", tls_keys};
inline constexpr Schema more_certificates_schema{"[[listener.tls.certificates]]", more_certificates_keys};
inline constexpr Schema pool_schema{"[[pool]]", pool_keys};
inline constexpr Schema pool_tls_schema{"[pool.tls]", pool_tls_keys};
inline constexpr Schema health_schema{"[pool.health]", health_keys};
inline constexpr Schema broker_schema{"[[pool.broker]]", broker_keys};
inline constexpr Schema rule_schema{"[[rule]]", rule_keys};
inline constexpr Schema brokers_file_schema{"", brokers_file_keys};
inline constexpr Schema brokers_file_broker_schema{"[[broker]]", broker_keys};
inline constexpr Schema admin_schema{"[admin]", admin_keys};
inline constexpr std::array<const Schema*, 14> sections{&more_certificates_schema,
                                                        &pool_tls_schema,
                                                        &daemon_schema,
                                                        &dataplane_schema,
                                                        &listener_schema,
                                                        &route_schema,
                                                        &identity_schema,
                                                        &websocket_schema,
                                                        &tls_schema,
                                                        &pool_schema,
                                                        &health_schema,
                                                        &broker_schema,
                                                        &rule_schema,
                                                        &admin_schema};

inline std::string type_name(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::string:
            return "a string";
        case toml::node_type::integer:
            return "a whole number";
        case toml::node_type::floating_point:
            return "a number with a point";
        case toml::node_type::boolean:
            return "a boolean";
        case toml::node_type::array:
            return "an array";
        case toml::node_type::table:
            return "a table";
        default:
            return "a date or time";
    }
}

// What is common to all sections of one file: where problems go and what positions are called.
class Reader {
  public:
    Reader(std::string file, std::vector<Problem>& problems, std::vector<Problem>& warnings)
        : file_(std::move(file)), problems_(problems), warnings_(warnings) {}

    [[nodiscard]] Position at(const toml::source_region& region) const {
        return {file_, region.begin.line, region.begin.column};
    }
    [[nodiscard]] Position at(const toml::node& node) const { return at(node.source()); }
    void report(const Position& position, std::string message) {
        Problem problem;
        problem.position = position;
        problem.message = std::move(message);
        problems_.push_back(std::move(problem));
    }
    void warn(const Position& position, std::string message) {
        Problem problem;
        problem.position = position;
        problem.message = std::move(message);
        warnings_.push_back(std::move(problem));
    }

  private:
    std::string file_;
    std::vector<Problem>& problems_;
    std::vector<Problem>& warnings_;
};

// One table of the file. Reports the keys that nobody knows; every getter reports what is wrong with its
// value and says whether it stored one.
class Section {
  public:
    Section(Reader& reader, const toml::table& table, const Schema& schema)
        : reader_(reader), table_(table), schema_(schema) {
        for (const auto& [key, node] : table)
            if (std::find(schema.keys.begin(), schema.keys.end(), key.str()) == schema.keys.end())
                report_unknown(key, node);
    }

    [[nodiscard]] Position position() const { return reader_.at(table_); }
    [[nodiscard]] Position position(std::string_view key) const {
        const auto* node = table_.get(key);
        return node ? reader_.at(*node) : Position{};
    }
    [[nodiscard]] Reader& reader() const { return reader_; }

    // A key without which the section means nothing.
    void require(std::string_view key, std::string_view example) {
        if (!table_.get(key))
            reader_.report(position(), std::string(schema_.label) + " has no \"" + std::string(key) +
                                           "\": add " + std::string(key) + " = " + std::string(example));
    }

    // A string that `parse` turns into a Result<T>.
    template <class T, class Parse>
    bool text(std::string_view key, T& out, Parse parse) {
        const auto* node = table_.get(key);
        if (!node) return false;
        return element(key, *node, out, parse);
    }

    // A string that `check` (Result<void>) lets pass.
    template <class Check>
    bool checked(std::string_view key, std::string& out, Check check) {
        return text(key, out, [&](std::string_view value) -> Result<std::string> {
            if (auto good = check(value); !good) return std::unexpected(good.error());
            return std::string(value);
        });
    }

    // An array of strings, each its own value; equal ones are refused.
    template <class T, class Parse>
    bool list(std::string_view key, std::vector<T>& out, Parse parse) {
        const auto* node = table_.get(key);
        if (!node) return false;
        const auto* array = node->as_array();
        if (!array) return wrong_type(key, *node, "an array of strings");
        std::vector<T> values;
        bool good = true;
        for (const auto& item : *array) {
            T value{};
            if (!element(key, item, value, parse)) {
                good = false;
            } else if (std::find(values.begin(), values.end(), value) != values.end()) {
                reader_.report(reader_.at(item), std::string(key) + " has " +
                                                     quote(*item.value<std::string_view>()) +
                                                     " twice: leave one of them out");
                good = false;
            } else {
                values.push_back(std::move(value));
            }
        }
        if (good) out = std::move(values);
        return good;
    }

    // One string, or an array of them.
    template <class T, class Parse>
    bool words(std::string_view key, std::vector<T>& out, Parse parse) {
        const auto* node = table_.get(key);
        if (!node || node->is_array()) return list(key, out, parse);
        T value;
        if (!element(key, *node, value, parse)) return false;
        out = {std::move(value)};
        return true;
    }

    template <class T>
    bool number(std::string_view key, T& out, Bounds<std::int64_t> allowed) {
        const auto* node = table_.get(key);
        if (!node) return false;
        const auto range = "from " + std::to_string(allowed.low) + " to " + std::to_string(allowed.high);
        const auto* integer = node->as_integer();
        if (!integer) return wrong_type(key, *node, "a whole number " + range);
        if (!allowed.contain(integer->get()))
            return wrong(key, *node,
                         std::to_string(integer->get()) + " is out of range: it must be " + range);
        out = static_cast<T>(integer->get());
        return true;
    }

    template <class Duration>
    bool duration(std::string_view key, Duration& out, Bounds<milliseconds> allowed) {
        return text(key, out, [&](std::string_view value) -> Result<Duration> {
            const auto read = parse_duration(value);
            if (!read) return std::unexpected(read.error());
            if (!allowed.contain(*read))
                return fail(
                    quote(value) + " is out of range",
                    "it must be from " + duration_text(allowed.low) + " to " + duration_text(allowed.high));
            const auto whole = std::chrono::duration_cast<Duration>(*read);
            if (whole != *read) return fail(quote(value) + " is too fine", "it must be whole seconds");
            return whole;
        });
    }

    // Bytes: a whole number, or a string with a unit.
    bool size(std::string_view key, std::uint32_t& out, Bounds<std::int64_t> allowed) {
        const auto* node = table_.get(key);
        if (!node) return false;
        const auto store = [&](std::uint64_t bytes, const std::string& shown) {
            if (bytes > static_cast<std::uint64_t>(allowed.high) ||
                bytes < static_cast<std::uint64_t>(allowed.low))
                return wrong(key, *node,
                             shown + " is out of range: it must be from " +
                                 size_text(static_cast<std::uint64_t>(allowed.low)) + " to " +
                                 size_text(static_cast<std::uint64_t>(allowed.high)));
            out = static_cast<std::uint32_t>(bytes);
            return true;
        };
        if (const auto* integer = node->as_integer())
            return store(integer->get() < 0 ? 0 : static_cast<std::uint64_t>(integer->get()),
                         std::to_string(integer->get()));
        const auto* string = node->as_string();
        if (!string) return wrong_type(key, *node, "a size such as 65536, \"64KiB\" or \"1MiB\"");
        const auto bytes = parse_size(string->get());
        if (!bytes) return wrong(key, *node, bytes.error().line());
        return store(*bytes, quote(string->get()));
    }

    template <class T>
    bool choice(std::string_view key, T& out, Names<T> names) {
        return text(key, out, [&](std::string_view word) { return parse_word(word, names); });
    }

    bool boolean(std::string_view key, bool& out) {
        const auto* node = table_.get(key);
        if (!node) return false;
        const auto* value = node->as_boolean();
        if (!value) return wrong_type(key, *node, "true or false");
        out = value->get();
        return true;
    }

    [[nodiscard]] const toml::node* node(std::string_view key) const { return table_.get(key); }

  private:
    template <class T, class Parse>
    bool element(std::string_view key, const toml::node& node, T& out, Parse parse) {
        const auto* string = node.as_string();
        if (!string) return wrong_type(key, node, "a string");
        auto value = parse(std::string_view(string->get()));
        if (!value) return wrong(key, node, value.error().line());
        out = std::move(*value);
        return true;
    }

    bool wrong(std::string_view key, const toml::node& node, const std::string& message) {
        reader_.report(reader_.at(node), std::string(key) + ": " + message);
        return false;
    }

    bool wrong_type(std::string_view key, const toml::node& node, const std::string& wanted) {
        return wrong(key, node, "it must be " + wanted + ", not " + type_name(node));
    }

    void report_unknown(const toml::key& key, const toml::node& node) {
        const bool is_section = node.is_table() || node.is_array_of_tables();
        const auto where = is_section ? reader_.at(node) : reader_.at(key.source());
        const bool top = schema_.label.empty();
        auto message = is_section ? "unknown section " + quote(key.str()) : "unknown key " + quote(key.str());
        std::string homes;
        for (const auto* other : sections)
            if (std::find(other->keys.begin(), other->keys.end(), key.str()) != other->keys.end())
                homes += (homes.empty() ? "" : " or ") + std::string(other->label);
        const auto meant = nearest(key.str(), schema_.keys);
        if (!homes.empty())
            message +=
                (top ? std::string() : " in " + std::string(schema_.label)) + ": it belongs to " + homes;
        else if (!meant.empty())
            message += ": did you mean \"" + std::string(meant) + "\"?";
        else
            message += ": " + (top ? std::string("a configuration") : std::string(schema_.label)) + " has " +
                       joined(schema_.keys);
        reader_.report(where, message);
    }

    Reader& reader_;
    const toml::table& table_;
    const Schema& schema_;
};

// The one table under `key`, which must be written [key].
inline const toml::table* single(Section& parent, std::string_view key, std::string_view label) {
    const auto* node = parent.node(key);
    if (!node) return nullptr;
    if (const auto* table = node->as_table()) return table;
    parent.reader().report(parent.position(key),
                           "\"" + std::string(key) + "\" must be one section, written " + std::string(label) +
                               ", not " + (node->is_array() ? "several" : type_name(*node)));
    return nullptr;
}

// The tables under `key`, which must be written [[key]] because there may be several.
inline std::vector<const toml::table*> several(Section& parent, std::string_view key,
                                               std::string_view label) {
    std::vector<const toml::table*> tables;
    const auto* node = parent.node(key);
    if (!node) return tables;
    const auto complain = [&](const toml::node& wrong) {
        parent.reader().report(parent.reader().at(wrong),
                               "\"" + std::string(key) + "\" may be there several times: write it as " +
                                   std::string(label) + ", not as " + type_name(wrong));
    };
    const auto* array = node->as_array();
    if (!array) {
        complain(*node);
        return tables;
    }
    for (const auto& item : *array)
        if (const auto* table = item.as_table())
            tables.push_back(table);
        else
            complain(item);
    return tables;
}

}  // namespace limpet::config
