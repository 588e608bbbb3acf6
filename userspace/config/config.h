// SPDX-License-Identifier: Apache-2.0
// The configuration as typed values (shared contract: docs/CONFIGURATION.md). Knows nobody but base.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.h"
#include "base/network.h"
#include "base/result.h"
#include "base/text_template.h"
#include "config/tls.h"

namespace limpet::config {

/// One thing that is wrong, and what to do about it.
struct Problem {
    Position position;
    std::string message;
    /// "FILE:LINE:COL: message"
    [[nodiscard]] std::string line() const;
};

enum class Mode { automatic, xdp, tc, relay };
enum class Protocol { mqtt, tcp, tls_passthrough, mqtts, ws, wss };
enum class Strategy { sticky, hash, least_connections, round_robin, random, power_of_two };
enum class Key { client_id, username, source_ip, certificate_cn, sni };

struct Daemon {
    unsigned workers = 0;  ///< 0: one per core
    std::string socket = "/run/limpet/limpet.sock";
    std::string log_level = "info";          ///< trace | debug | info | warn | error
    std::vector<std::string> dns_servers{};  ///< ADDRESS or ADDRESS:PORT; empty: as the host has it
    std::string state_file{};                ///< what pools remember; empty: beside the socket
    /// Where that is.
    [[nodiscard]] std::string state() const;
    bool operator==(const Daemon&) const = default;
};

struct Dataplane {
    Mode mode = Mode::automatic;
    std::vector<std::string> interfaces;  ///< empty: every interface that has an address and speaks Ethernet
    std::string bpffs = "/sys/fs/bpf/limpet";
    std::uint32_t max_flows = 1'000'000;      ///< connections
    std::vector<IpAddress> source_addresses;  ///< towards brokers; empty: from the route
    std::uint16_t first_source_port = 10000;
    std::uint16_t last_source_port = 32767;
    std::chrono::milliseconds hold_timeout{2000};  ///< longest time in HOLD
    unsigned handoff_tries = 5;                    ///< then a relay for good
    std::chrono::seconds idle_timeout{0};          ///< flows without keep-alive; 0: never
    std::chrono::seconds probe_after{600};         ///< silence until such a flow's ends are asked; 0: never
    std::chrono::milliseconds closing_timeout{
        2000};                                     ///< silence after FIN both ways or RST until an entry goes
    std::chrono::milliseconds retire_grace{1000};  ///< a retired entry until it is deleted
    bool operator==(const Dataplane&) const = default;
};

/// Who a listener's clients are to the brokers: what their CONNECT says.
struct Identity {
    std::optional<TextTemplate> username;
    std::optional<TextTemplate> password;
    std::optional<TextTemplate> client_id;
    std::optional<TextTemplate> require_client_id;
    bool replace = true;  ///< also what a client says itself
    Position position{};  ///< of the [listener.identity]; line 0: there is none
};

/// Who may open a WebSocket at a listener.
struct WebSocketRules {
    std::vector<std::string> paths;                            ///< empty: any
    std::vector<std::string> origins;                          ///< empty: any
    std::vector<std::pair<std::string, std::string>> headers;  ///< name and value, which may be empty: any
    Position position{};  ///< of the [listener.websocket]; line 0: there is none
};

/// Leads some of a listener's clients to another pool.
struct Route {
    std::string sni;               ///< in lower case, "*.example.org" for any one label; empty: any client
    std::vector<Network> sources;  ///< where the client is; empty: anywhere
    std::string pool;
    Position position;  ///< of the [[listener.route]]
    Position pool_position{};
};

/// At most so many in a time, and as many at once.
struct Rate {
    std::uint32_t most = 0;  ///< 0: no limit
    std::chrono::seconds time{1};
    bool operator==(const Rate&) const = default;
};

enum class DenyReason {
    bad_user_name_or_password,
    not_authorized,
    banned,
    client_id_not_valid,
    server_unavailable,
    server_busy,
    quota_exceeded,
    connection_rate_exceeded,
    use_another_server,
};

/// Decides on clients by what their CONNECT says. What is empty says nothing; the first rule that fits
/// counts.
struct Rule {
    std::string name;
    std::vector<std::string> listeners;
    std::vector<Network> sources;
    std::vector<std::string> client_ids;  ///< patterns with * and ?
    std::vector<std::string> usernames;
    std::vector<unsigned> versions;  ///< protocol levels: 3, 4, 5
    std::optional<std::chrono::seconds> keep_alive_below;
    std::optional<std::chrono::seconds> keep_alive_above;
    bool deny = false;
    DenyReason reason = DenyReason::not_authorized;
    std::string pool;  ///< empty: where the listener leads
    Position position;
    Position listener_position{};
    Position pool_position{};
};

struct Listener {
    std::string name;
    Endpoint address;
    Protocol protocol = Protocol::mqtt;
    std::string pool;  ///< empty: only what a route leads somewhere is served
    WebSocketRules websocket;
    Identity identity;
    std::vector<Route> routes;  ///< the first that fits counts
    std::chrono::milliseconds connect_timeout{10000};
    std::chrono::milliseconds connack_timeout{10000};
    std::uint32_t max_connect_size = 64 * 1024;  ///< bytes
    ListenerTls tls{};
    Rate connect_rate{};                ///< of all clients together
    Rate source_connect_rate{};         ///< of one address
    Rate client_connect_rate{};         ///< of one client id; who comes more often is held off
    std::chrono::seconds hold_off{60};  ///< so long
    std::vector<Rule> rules{};          ///< those of the configuration that are for it
    std::vector<Network> proxy_from;    ///< proxies that begin with a PROXY header
    Position position;                  ///< of the [[listener]]
    Position name_position{};           ///< of the values, where the file has them
    Position address_position{};
    Position pool_position{};
};

/// Every pool that a listener may lead to, each once, its own first.
[[nodiscard]] std::vector<std::string> pools_of(const Listener& listener);

/// A DNS name that stands for brokers.
struct HostName {
    std::string name;        ///< empty: none
    std::uint16_t port = 0;  ///< 0: of SRV records, which have ports of their own
    [[nodiscard]] bool is_service() const { return port == 0; }
    bool operator==(const HostName&) const = default;
};

struct Broker {
    std::string name;
    Endpoint address;
    std::uint32_t weight = 1;           ///< 1 to 65535
    std::uint32_t max_connections = 0;  ///< 0: no limit
    HostName host{};                    ///< instead of an address
    std::string origin{};   ///< found by discovery: the source that it comes of; empty: it was written down
    std::uint8_t rank = 0;  ///< of its SRV priority, the lowest first
    Position position;      ///< of the [[pool.broker]]
    Position name_position{};
    Position address_position{};
};

enum class Probe { tcp, mqtt, http };
enum class ProxyCommand { local, proxy };
enum class MqttVersion { v31, v311, v5 };

struct Health {
    bool always =
        false;  ///< the section is there; otherwise a broker is only asked when clients have trouble
    Probe probe = Probe::tcp;
    std::chrono::milliseconds interval{5000};
    std::chrono::milliseconds fast_interval{500};  ///< while the answers differ from the verdict
    std::chrono::milliseconds timeout{2000};
    unsigned rise = 2;
    unsigned fall = 3;
    bool initially_up = true;
    std::uint16_t port = 0;                            ///< 0: the broker's own
    ProxyCommand proxy_command = ProxyCommand::local;  ///< of probes, where the pool has proxy_protocol
    std::chrono::milliseconds slow_start{30000};
    std::uint32_t end_rate = 2500;  ///< connections a second that a dead broker's clients lose; 0: at once
    MqttVersion mqtt_version = MqttVersion::v311;
    std::string client_id;  ///< empty: one of Limpet's own
    std::string username;   ///< empty: none
    std::string password;   ///< empty: none
    std::string path = "/";
    std::string host;  ///< empty: the address
    unsigned status = 200;
    bool operator==(const Health&) const = default;
};

struct Pool {
    std::string name;
    Strategy strategy = Strategy::sticky;
    Strategy unknown = Strategy::hash;  ///< "unknown_clients": hash | least_connections
    Key key = Key::client_id;
    std::chrono::seconds stick_minimum{600};
    std::chrono::seconds stick_maximum{7 * 86400};
    std::uint32_t stick_capacity = 2'000'000;
    std::chrono::milliseconds retry_down{2000};
    unsigned broker_attempts = 16;      ///< brokers that are tried for one CONNECT
    bool transparent = false;           ///< brokers see the client's own address and port
    bool proxy_protocol = false;        ///< brokers are told of the client in a PROXY v2 header
    std::uint32_t max_connections = 0;  ///< 0: no limit
    Health health{};
    PoolTls tls{};
    bool websocket = false;      ///< "protocol": its brokers speak MQTT over WebSocket
    std::string path = "/mqtt";  ///< of that
    std::string host;            ///< of that; empty: the broker's address
    std::vector<Broker> brokers;
    std::vector<Broker> hosts{};  ///< brokers whose addresses DNS knows
    std::string brokers_from{};   ///< file or folder with more brokers; empty: none
    Position position;            ///< of the [[pool]]
    Position name_position{};
};

struct Admin {
    std::string http = "127.0.0.1:9883";  ///< ADDR:PORT; empty: off
    bool operator==(const Admin&) const = default;
};

struct Config {
    Daemon daemon;
    Dataplane dataplane;
    std::vector<Listener> listeners;
    std::vector<Pool> pools;
    std::vector<Rule> rules;
    Admin admin;
};

/// A configuration, or everything that is wrong with it (never empty then), in the order of the file.
/// `warnings` name what is right but has no effect in this version.
struct Loaded {
    Config config;
    std::vector<Problem> problems;
    std::vector<Problem> warnings;
    [[nodiscard]] bool ok() const { return problems.empty(); }
};

[[nodiscard]] Loaded load_file(const std::string& path);
[[nodiscard]] Loaded load_text(std::string_view text, const std::string& file_name);
/// The brokers of a file, or of every *.toml in a folder: [[broker]] sections with name, address and weight.
/// The error has a line for each problem.
[[nodiscard]] Result<std::vector<Broker>> load_brokers(const std::string& path);
/// Cross-checks values wherever they came from (names unique, pools known, ports in order …).
void validate(const Config& config, std::vector<Problem>& problems);

}  // namespace limpet::config
