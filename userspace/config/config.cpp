// SPDX-License-Identifier: Apache-2.0
// From a file to typed values. A value that is wrong is reported and leaves its default behind, so that one
// mistake is one problem and every mistake of the file is found in one go.
#include "config/config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "base/fd.h"
#include "config/read_tls.h"
#include "config/section.h"
#include "config/values.h"

namespace limpet::config {
namespace {

void read_daemon(Section& section, Daemon& daemon) {
    section.number("workers", daemon.workers, bounds::workers);
    section.checked("socket", daemon.socket, check_socket_path);
    section.checked("state_file", daemon.state_file, check_absolute_path);
    section.text("log_level", daemon.log_level, [](std::string_view word) -> Result<std::string> {
        const auto levels = log_level_names();
        if (std::find(levels.begin(), levels.end(), word) == levels.end())
            return std::unexpected(unknown_word(word, levels));
        return std::string(word);
    });
}

void read_resolver(Section& section, Daemon& daemon) {
    section.list("dns_servers", daemon.dns_servers, parse_dns_server);
}

void read_dataplane(Section& section, Dataplane& dataplane) {
    section.choice("mode", dataplane.mode, mode_names());
    section.list("interfaces", dataplane.interfaces, [](std::string_view name) -> Result<std::string> {
        if (auto good = check_interface(name); !good) return std::unexpected(good.error());
        return std::string(name);
    });
    section.checked("bpffs", dataplane.bpffs, check_absolute_path);
    section.number("max_flows", dataplane.max_flows, bounds::max_flows);
    section.list("source_addresses", dataplane.source_addresses, parse_source_address);
    std::pair<std::uint16_t, std::uint16_t> ports;
    if (section.text("source_ports", ports, parse_port_range)) {
        dataplane.first_source_port = ports.first;
        dataplane.last_source_port = ports.second;
    }
    section.duration("hold_timeout", dataplane.hold_timeout, bounds::hold_timeout);
    section.number("handoff_tries", dataplane.handoff_tries, bounds::handoff_tries);
    section.duration("idle_timeout", dataplane.idle_timeout, bounds::idle_timeout);
    section.duration("probe_after", dataplane.probe_after, bounds::probe_after);
    section.duration("closing_timeout", dataplane.closing_timeout, bounds::closing_timeout);
    section.duration("retire_grace", dataplane.retire_grace, bounds::retire_grace);
}

Result<std::string> one_line(std::string_view text) {
    const auto is_control = [](char character) {
        return static_cast<unsigned char>(character) < 0x20 || character == 0x7f;
    };
    if (text.empty()) return fail("it is empty", "leave the key out, or name something");
    if (text.size() > 1024) return fail("it is longer than 1024 bytes");
    if (std::ranges::any_of(text, is_control)) return fail(quote(text) + " has a control character");
    return std::string(text);
}

Result<std::string> http_path(std::string_view text) {
    if (auto line = one_line(text); !line) return line;
    const bool printable =
        std::ranges::all_of(text, [](char letter) { return letter > 0x20 && letter < 0x7f; });
    if (text.front() != '/' || !printable)
        return fail(quote(text) + " is no path", "it begins with / and has no spaces, such as \"/healthz\"");
    return std::string(text);
}

Result<std::string> path_without_query(std::string_view text) {
    auto path = http_path(text);
    if (path && path->find_first_of("?#") != path->npos)
        return fail(quote(text) + " has a query", "name the path alone: any query may follow it");
    return path;
}

/// Keys that only one sort of probe reads.
void refuse_foreign(Section& section, std::span<const std::string_view> keys, std::string_view probe) {
    for (const auto key : keys)
        if (section.node(key))
            section.reader().report(
                section.position(key),
                quote(key) + " is only for probe = " + quote(probe) + ": leave it out, or change the probe");
}

Health read_health(Section& section) {
    constexpr std::array<std::pair<std::string_view, Probe>, 3> probes{
        {{"tcp", Probe::tcp}, {"mqtt", Probe::mqtt}, {"http", Probe::http}}};
    constexpr std::array<std::pair<std::string_view, ProxyCommand>, 2> commands{
        {{"local", ProxyCommand::local}, {"proxy", ProxyCommand::proxy}}};
    constexpr std::array<std::pair<std::string_view, bool>, 2> states{{{"up", true}, {"down", false}}};
    constexpr std::array<std::pair<std::string_view, MqttVersion>, 3> versions{
        {{"3.1", MqttVersion::v31}, {"3.1.1", MqttVersion::v311}, {"5", MqttVersion::v5}}};
    constexpr std::array<std::string_view, 4> for_mqtt{"mqtt_version", "client_id", "username", "password"};
    constexpr std::array<std::string_view, 3> for_http{"path", "host", "status"};
    Health health;
    health.always = true;
    section.choice("probe", health.probe, Names<Probe>(probes));
    section.duration("interval", health.interval, bounds::probe_interval);
    section.duration("fast_interval", health.fast_interval, bounds::probe_interval);
    section.duration("timeout", health.timeout, bounds::probe_timeout);
    section.number("rise", health.rise, bounds::probe_streak);
    section.number("fall", health.fall, bounds::probe_streak);
    section.choice("initial", health.initially_up, Names<bool>(states));
    section.number("port", health.port, bounds::probe_port);
    section.choice("proxy_command", health.proxy_command, Names<ProxyCommand>(commands));
    section.duration("slow_start", health.slow_start, bounds::slow_start);
    section.number("end_rate", health.end_rate, bounds::end_rate);
    section.choice("mqtt_version", health.mqtt_version, Names<MqttVersion>(versions));
    section.text("client_id", health.client_id, one_line);
    section.text("username", health.username, one_line);
    section.text("password", health.password, one_line);
    section.text("path", health.path, http_path);
    section.text("host", health.host, one_line);
    section.number("status", health.status, bounds::http_status);
    if (health.probe != Probe::mqtt) refuse_foreign(section, for_mqtt, "mqtt");
    if (health.probe != Probe::http) refuse_foreign(section, for_http, "http");
    // MQTT-3.1.1 3.1.2.9; MQTT 5 has no such rule
    if (section.node("password") && !section.node("username") && health.mqtt_version != MqttVersion::v5)
        section.reader().report(section.position("password"),
                                "password without username: MQTT before 5 has no such thing, add username");
    return health;
}

WebSocketRules read_websocket(Section& section) {
    WebSocketRules rules;
    rules.position = section.position();
    section.list("paths", rules.paths, path_without_query);
    section.list("origins", rules.origins, parse_origin);
    section.list("headers", rules.headers, parse_header_rule);
    return rules;
}

Identity read_identity(Section& section) {
    constexpr std::array<std::string_view, 5> names{"cn", "sni", "address", "client_id", "username"};
    Identity identity;
    identity.position = section.position();
    const auto read = [&](std::string_view key, std::optional<TextTemplate>& into) {
        section.text(key, into, [&](std::string_view text) -> Result<std::optional<TextTemplate>> {
            auto parsed = TextTemplate::parse(text, names);
            if (!parsed) return std::unexpected(parsed.error());
            return std::move(*parsed);
        });
    };
    read("username", identity.username);
    read("password", identity.password);
    read("client_id", identity.client_id);
    read("require_client_id", identity.require_client_id);
    section.boolean("replace", identity.replace);
    return identity;
}

Route read_route(Section& section) {
    Route route;
    route.position = section.position();
    route.pool_position = section.position("pool");
    section.require("pool", "\"main\"");
    section.text("sni", route.sni, parse_server_name);
    section.list("source", route.sources, Network::parse);
    section.checked("pool", route.pool, check_name);
    if (!section.node("sni") && !section.node("source"))
        section.reader().report(
            route.position,
            "[[listener.route]] says neither \"sni\" nor \"source\": name the clients that "
            "it is for; the listener's own pool is for all others");
    return route;
}

Listener read_listener(Section& section) {
    constexpr std::array<std::pair<std::string_view, Protocol>, 6> protocols{
        {{"mqtt", Protocol::mqtt},
         {"mqtts", Protocol::mqtts},
         {"ws", Protocol::ws},
         {"wss", Protocol::wss},
         {"tcp", Protocol::tcp},
         {"tls_passthrough", Protocol::tls_passthrough}}};
    Listener listener;
    listener.position = section.position();
    listener.name_position = section.position("name");
    listener.address_position = section.position("address");
    listener.pool_position = section.position("pool");
    section.require("name", "\"mqtt\"");
    section.require("address", "\"ADDR:PORT\"");
    if (!section.node("route")) section.require("pool", "\"main\"");
    section.checked("name", listener.name, check_name);
    section.text("address", listener.address, parse_listener_address);
    section.choice("protocol", listener.protocol, Names<Protocol>(protocols));
    section.checked("pool", listener.pool, check_name);
    section.duration("connect_timeout", listener.connect_timeout, bounds::connect_timeout);
    section.duration("connack_timeout", listener.connack_timeout, bounds::connack_timeout);
    section.size("max_connect_size", listener.max_connect_size, bounds::max_connect_size);
    section.text("connect_rate", listener.connect_rate, parse_limit);
    section.text("source_connect_rate", listener.source_connect_rate, parse_limit);
    section.text("client_connect_rate", listener.client_connect_rate, parse_limit);
    section.duration("hold_off", listener.hold_off, bounds::hold_off);
    section.list("proxy_from", listener.proxy_from, Network::parse);
    if (const auto* table = single(section, "websocket", websocket_schema.label)) {
        Section websocket(section.reader(), *table, websocket_schema);
        listener.websocket = read_websocket(websocket);
    }
    if (const auto* table = single(section, "identity", identity_schema.label)) {
        Section identity(section.reader(), *table, identity_schema);
        listener.identity = read_identity(identity);
    }
    for (const auto* table : several(section, "route", route_schema.label)) {
        Section route(section.reader(), *table, route_schema);
        listener.routes.push_back(read_route(route));
    }
    if (const auto* table = single(section, "tls", tls_schema.label)) {
        Section tls(section.reader(), *table, tls_schema);
        read_listener_tls(tls, listener.tls, speaks_tls(listener.protocol));
        if (!speaks_tls(listener.protocol))
            section.reader().warn(tls.position(),
                                  "[listener.tls] has no effect: this listener speaks no TLS; say protocol = "
                                  "\"mqtts\" or \"wss\" (warning)");
    } else if (speaks_tls(listener.protocol)) {
        section.reader().report(section.position("protocol"),
                                "protocol: TLS needs a [listener.tls] section with certificate and key");
    }
    return listener;
}

// Whatever a name or id may hold, with * and ? for any text and any byte.
Result<std::string> parse_pattern(std::string_view text) {
    constexpr std::size_t longest = 1024;
    if (text.size() > longest) return fail(quote(text) + " is longer than 1024 bytes", "shorten it with a *");
    return std::string(text);
}

Result<unsigned> parse_version(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, unsigned>, 3> versions{
        {{"3.1", 3}, {"3.1.1", 4}, {"5", 5}}};
    return parse_word(text, Names<unsigned>(versions));
}

// A bound of a keep-alive, which CONNECT has in seconds and two bytes.
void read_keep_alive(Section& section, std::string_view key, std::optional<std::chrono::seconds>& bound) {
    std::chrono::seconds read{};
    if (section.duration(key, read, bounds::keep_alive)) bound = read;
}

Rule read_rule(Section& section, std::size_t number) {
    constexpr std::array<std::pair<std::string_view, bool>, 2> actions{{{"allow", false}, {"deny", true}}};
    Rule rule;
    rule.name = "rule" + std::to_string(number);
    rule.position = section.position();
    rule.listener_position = section.position("listener");
    rule.pool_position = section.position("pool");
    const auto name = [](std::string_view text) -> Result<std::string> {
        if (auto good = check_name(text); !good) return std::unexpected(good.error());
        return std::string(text);
    };
    section.checked("name", rule.name, check_name);
    section.words("listener", rule.listeners, name);
    section.words("source", rule.sources, Network::parse);
    section.words("client_id", rule.client_ids, parse_pattern);
    section.words("username", rule.usernames, parse_pattern);
    section.words("version", rule.versions, parse_version);
    read_keep_alive(section, "keep_alive_below", rule.keep_alive_below);
    read_keep_alive(section, "keep_alive_above", rule.keep_alive_above);
    section.require("action", "\"allow\" or \"deny\"");
    section.choice("action", rule.deny, Names<bool>(actions));
    section.choice("reason", rule.reason, deny_reason_names());
    section.checked("pool", rule.pool, check_name);
    if (section.node("reason") && !rule.deny)
        section.reader().report(section.position("reason"),
                                "reason: a rule that allows has none: leave it out");
    if (section.node("pool") && rule.deny)
        section.reader().report(section.position("pool"),
                                "pool: a rule that denies leads nowhere: leave it out");
    return rule;
}

// Each listener that reads CONNECT has the rules that name it, or that name none.
void give_rules(Config& config) {
    for (auto& listener : config.listeners) {
        if (!reads_connect(listener.protocol)) continue;
        for (const auto& rule : config.rules)
            if (rule.listeners.empty() ||
                std::ranges::find(rule.listeners, listener.name) != rule.listeners.end())
                listener.rules.push_back(rule);
    }
}

Broker read_broker(Section& section) {
    Broker broker;
    broker.position = section.position();
    broker.name_position = section.position("name");
    broker.address_position = section.position("address");
    section.require("name", "\"b1\"");
    section.require("address", "\"ADDR:PORT\"");
    section.checked("name", broker.name, check_name);
    BrokerPlace place;
    section.text("address", place, parse_broker_place);
    broker.address = place.address;
    broker.host = std::move(place.host);
    section.number("weight", broker.weight, bounds::weight);
    section.number("max_connections", broker.max_connections, bounds::max_connections);
    if (!broker.host.name.empty() && broker.host.is_service() && section.node("weight"))
        section.reader().report(section.position("weight"),
                                "weight: SRV records have weights of their own: leave it out");
    return broker;
}

// tls = true takes the defaults; a section says more.
void read_tls_towards_brokers(Section& section, PoolTls& tls) {
    const auto* node = section.node("tls");
    if (node && node->is_boolean()) {
        section.boolean("tls", tls.present);
        tls.position = section.position("tls");
    } else if (const auto* table = single(section, "tls", pool_tls_schema.label)) {
        Section terms(section.reader(), *table, pool_tls_schema);
        read_pool_tls(terms, tls);
    }
}

Pool read_pool(Section& section) {
    constexpr std::array<std::pair<std::string_view, bool>, 2> proxy_protocols{
        {{"none", false}, {"v2", true}}};
    constexpr std::array<std::pair<std::string_view, bool>, 2> protocols{{{"mqtt", false}, {"ws", true}}};
    Pool pool;
    pool.position = section.position();
    pool.name_position = section.position("name");
    section.require("name", "\"main\"");
    section.checked("name", pool.name, check_name);
    section.choice("strategy", pool.strategy, strategy_names());
    section.choice("unknown_clients", pool.unknown, unknown_clients_names());
    section.choice("key", pool.key, key_names());
    section.choice("protocol", pool.websocket, Names<bool>(protocols));
    section.text("path", pool.path, http_path);
    section.text("host", pool.host, one_line);
    if (!pool.websocket)
        for (const auto* key : {"path", "host"})
            if (section.node(key))
                section.reader().report(
                    section.position(key),
                    quote(key) + " is only for protocol = \"ws\": leave it out, or change the protocol");
    section.choice("proxy_protocol", pool.proxy_protocol, Names<bool>(proxy_protocols));
    section.boolean("transparent", pool.transparent);
    section.number("max_connections", pool.max_connections, bounds::max_connections);
    section.duration("stick_minimum", pool.stick_minimum, bounds::stick);
    section.duration("stick_maximum", pool.stick_maximum, bounds::stick);
    section.number("stick_capacity", pool.stick_capacity, bounds::stick_capacity);
    section.duration("retry_down", pool.retry_down, bounds::retry_down);
    section.number("broker_attempts", pool.broker_attempts, bounds::broker_attempts);
    read_tls_towards_brokers(section, pool.tls);
    if (const auto* table = single(section, "health", health_schema.label)) {
        Section health(section.reader(), *table, health_schema);
        pool.health = read_health(health);
    }
    for (const auto* table : several(section, "broker", broker_schema.label)) {
        Section broker(section.reader(), *table, broker_schema);
        auto read = read_broker(broker);
        (read.host.name.empty() ? pool.brokers : pool.hosts).push_back(std::move(read));
    }
    section.checked("brokers_from", pool.brokers_from, check_absolute_path);
    return pool;
}

void read_admin(Section& section, Admin& admin) {
    section.text("http", admin.http, [](std::string_view text) -> Result<std::string> {
        if (text.empty()) return std::string();
        if (auto endpoint = parse_admin_address(text); !endpoint) return std::unexpected(endpoint.error());
        return std::string(text);
    });
}

void read_all(Reader& reader, const toml::table& root, Config& config) {
    Section top(reader, root, top_schema);
    if (const auto* table = single(top, "daemon", daemon_schema.label)) {
        Section section(reader, *table, daemon_schema);
        read_daemon(section, config.daemon);
        read_resolver(section, config.daemon);
    }
    if (const auto* table = single(top, "dataplane", dataplane_schema.label)) {
        Section section(reader, *table, dataplane_schema);
        read_dataplane(section, config.dataplane);
    }
    for (const auto* table : several(top, "listener", listener_schema.label)) {
        Section section(reader, *table, listener_schema);
        config.listeners.push_back(read_listener(section));
    }
    for (const auto* table : several(top, "pool", pool_schema.label)) {
        Section section(reader, *table, pool_schema);
        config.pools.push_back(read_pool(section));
    }
    for (const auto* table : several(top, "rule", rule_schema.label)) {
        Section section(reader, *table, rule_schema);
        config.rules.push_back(read_rule(section, config.rules.size() + 1));
    }
    give_rules(config);
    if (const auto* table = single(top, "admin", admin_schema.label)) {
        Section section(reader, *table, admin_schema);
        read_admin(section, config.admin);
    }
}

// The first byte that no text file has: NUL, or what is not UTF-8. The parser would stop there too, but not
// say in a person's words what kind of file this is.
std::optional<Position> find_garbage(std::string_view text, const std::string& file_name) {
    Position position{file_name, 1, 1};
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80   ? 1
                                   : lead < 0xc2 ? 0
                                   : lead < 0xe0 ? 2
                                   : lead < 0xf0 ? 3
                                   : lead < 0xf5 ? 4
                                                 : 0;
        bool good = lead != 0 && length != 0 && i + length <= text.size();
        for (std::size_t k = 1; good && k < length; ++k)
            good = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
        if (!good) return position;
        position.line += lead == '\n' ? 1 : 0;
        position.column = lead == '\n' ? 1 : position.column + 1;
        i += length;
    }
    return std::nullopt;
}

Result<std::string> read_whole(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file) return fail_errno("opening it", errno, "name a file that is there and may be read");
    struct stat about{};
    if (::fstat(file.get(), &about) != 0) return fail_errno("looking at it", errno);
    if (S_ISDIR(about.st_mode)) return fail("it is a folder", "name the configuration file in it");
    std::string text;
    char buffer[16384];
    while (text.size() <= bounds::file_size) {
        const auto count = ::read(file.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("reading it", errno);
        if (count == 0) return text;
        text.append(buffer, static_cast<std::size_t>(count));
    }
    return fail("it is larger than 1 MiB", "name a configuration file");
}

// A file of which nothing could be taken.
Loaded refused(Position position, std::string message) {
    Loaded loaded;
    Problem problem;
    problem.position = std::move(position);
    problem.message = std::move(message);
    loaded.problems.push_back(std::move(problem));
    return loaded;
}

// Those of one place stay in the order in which they were found.
void sort_by_position(std::vector<Problem>& problems) {
    std::multimap<std::pair<unsigned, unsigned>, Problem> sorted;
    for (auto& problem : problems)
        sorted.emplace(std::pair(problem.position.line, problem.position.column), std::move(problem));
    problems.clear();
    for (auto& [place, problem] : sorted) problems.push_back(std::move(problem));
}

}  // namespace

std::vector<std::string> pools_of(const Listener& listener) {
    std::vector<std::string> names;
    const auto add = [&](const std::string& name) {
        if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(name);
    };
    add(listener.pool);
    for (const auto& route : listener.routes) add(route.pool);
    for (const auto& rule : listener.rules) add(rule.pool);
    return names;
}

std::string Daemon::state() const {
    if (!state_file.empty()) return state_file;
    return std::filesystem::path(socket).replace_extension(".sticks");
}

std::string Problem::line() const {
    if (position.file.empty()) return message;
    if (position.line == 0) return position.file + ": " + message;
    return position.file + ":" + std::to_string(position.line) + ":" + std::to_string(position.column) +
           ": " + message;
}

namespace {

/// A parsed file, or why there is none.
Result<toml::table> parse_file(std::string_view text, const std::string& file_name, Problem& problem) {
    problem.position = {file_name, 1, 1};
    if (text.size() > bounds::file_size) {
        problem.message = "it is larger than 1 MiB: name a configuration file";
    } else if (const auto garbage = find_garbage(text, file_name)) {
        problem.position = *garbage;
        problem.message = "this is not a text file in UTF-8: a configuration is TOML, which is text";
    } else {
        auto parsed = toml::parse(text);
        if (parsed) return std::move(parsed).table();
        const auto& error = parsed.error();
        problem.position = {file_name, error.source().begin.line, error.source().begin.column};
        problem.message = "not valid TOML: " + std::string(error.description());
    }
    return fail(problem.line());
}

}  // namespace

Loaded load_text(std::string_view text, const std::string& file_name) {
    Problem problem;
    const auto parsed = parse_file(text, file_name, problem);
    if (!parsed) return refused(std::move(problem.position), std::move(problem.message));
    Loaded loaded;
    Reader reader(file_name, loaded.problems, loaded.warnings);
    read_all(reader, *parsed, loaded.config);
    const auto before = loaded.problems.size();
    validate(loaded.config, loaded.problems);
    for (auto i = before; i < loaded.problems.size(); ++i)
        if (loaded.problems[i].position.line == 0) loaded.problems[i].position = {file_name, 1, 1};
    sort_by_position(loaded.problems);
    return loaded;
}

namespace {

Result<std::vector<Broker>> load_brokers_file(const std::string& path) {
    const auto text = read_whole(path);
    if (!text) return fail(path + ": " + text.error().line());
    Problem problem;
    const auto parsed = parse_file(*text, path, problem);
    if (!parsed) return std::unexpected(parsed.error());
    std::vector<Problem> problems;
    std::vector<Problem> warnings;
    Reader reader(path, problems, warnings);
    Section top(reader, *parsed, brokers_file_schema);
    std::vector<Broker> brokers;
    for (const auto* table : several(top, "broker", brokers_file_broker_schema.label)) {
        Section section(reader, *table, brokers_file_broker_schema);
        auto broker = read_broker(section);
        if (!broker.host.name.empty())
            reader.report(broker.address_position, "address: a file of brokers has addresses, no DNS names");
        brokers.push_back(std::move(broker));
    }
    if (problems.empty()) return brokers;
    sort_by_position(problems);
    std::string lines;
    for (const auto& each : problems) lines += (lines.empty() ? "" : "\n") + each.line();
    return fail(lines);
}

}  // namespace

Result<std::vector<Broker>> load_brokers(const std::string& path) {
    namespace fs = std::filesystem;
    std::error_code failed;
    if (!fs::is_directory(path, failed)) return load_brokers_file(path);
    std::vector<std::string> files;
    for (fs::directory_iterator entry(path, failed), end; !failed && entry != end; entry.increment(failed))
        if (entry->path().extension() == ".toml") files.push_back(entry->path().string());
    if (failed) return fail(path + ": " + failed.message());
    std::ranges::sort(files);
    std::vector<Broker> brokers;
    for (const auto& file : files) {
        auto more = load_brokers_file(file);
        if (!more) return more;
        std::ranges::move(*more, std::back_inserter(brokers));
    }
    return brokers;
}

Loaded load_file(const std::string& path) {
    auto text = read_whole(path);
    if (text) return load_text(*text, path);
    return refused({path, 1, 1}, text.error().line());
}

}  // namespace limpet::config
