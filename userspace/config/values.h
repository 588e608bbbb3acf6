// SPDX-License-Identifier: Apache-2.0
// The texts that a configuration is made of, as values: durations, sizes, addresses, names. The command line
// reads its flags with the same functions, so that both accept the same and refuse in the same words.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/endpoint.h"
#include "base/quote.h"
#include "base/result.h"
#include "config/config.h"

namespace limpet::config {

/// "500ms", "10s", "2m", "1h", "7d" and "0"; a whole number and one unit.
[[nodiscard]] Result<std::chrono::milliseconds> parse_duration(std::string_view text);
/// The largest unit that shows it exactly: "90s", "2m".
[[nodiscard]] std::string duration_text(std::chrono::milliseconds duration);
/// "4096", "64KiB", "1MiB": bytes.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);
[[nodiscard]] std::string size_text(std::uint64_t bytes);
/// "200/s", "6/m", "100/h", "5/d", and "200" for a second; 0 is no limit.
[[nodiscard]] Result<Rate> parse_limit(std::string_view text);
[[nodiscard]] std::string rate_text(const Rate& rate);
/// The same as how many in a second.
[[nodiscard]] Result<double> parse_rate(std::string_view text);
/// Whether a listener of this protocol hears who its clients are.
[[nodiscard]] bool reads_connect(Protocol protocol);
/// Whether its clients speak TLS with Limpet.
[[nodiscard]] bool speaks_tls(Protocol protocol);
[[nodiscard]] bool speaks_websocket(Protocol protocol);
/// "5%", or "0.05".
[[nodiscard]] Result<double> parse_share(std::string_view text);
/// "10000-32767": both ends belong to it.
[[nodiscard]] Result<std::pair<std::uint16_t, std::uint16_t>> parse_port_range(std::string_view text);

/// Where a listener, a broker and the admin API may be, each with the advice that fits it.
[[nodiscard]] Result<Endpoint> parse_listener_address(std::string_view text);
[[nodiscard]] Result<Endpoint> parse_broker_address(std::string_view text);
/// Where a broker is: an address, "name:1883" or "srv+NAME".
struct BrokerPlace {
    Endpoint address;
    HostName host;
};
[[nodiscard]] Result<BrokerPlace> parse_broker_place(std::string_view text);
/// "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:53".
[[nodiscard]] Result<std::string> parse_dns_server(std::string_view text);
[[nodiscard]] Result<Endpoint> parse_admin_address(std::string_view text);
/// An address of this host that connections to brokers come from.
[[nodiscard]] Result<IpAddress> parse_source_address(std::string_view text);

/// Names of listeners, pools and brokers: they stand in metrics, tables and arguments.
[[nodiscard]] Result<void> check_name(std::string_view text);
/// A network interface's name (IFNAMSIZ counts the NUL).
[[nodiscard]] Result<void> check_interface(std::string_view text);
/// Where the control socket may be (sun_path holds 108 bytes).
[[nodiscard]] Result<void> check_socket_path(std::string_view text);
[[nodiscard]] Result<void> check_absolute_path(std::string_view text);

/// A name that TLS clients ask for, or "*.example.org" for any one label; comes out in lower case.
[[nodiscard]] Result<std::string> parse_server_name(std::string_view text);

/// "https://example.org": an origin, as browsers send it.
[[nodiscard]] Result<std::string> parse_origin(std::string_view text);
/// "Name: value", or "Name" for any value.
[[nodiscard]] Result<std::pair<std::string, std::string>> parse_header_rule(std::string_view text);

/// The spellings of the configuration file.
template <class T>
using Names = std::span<const std::pair<std::string_view, T>>;
[[nodiscard]] Names<Mode> mode_names();
[[nodiscard]] Names<Strategy> strategy_names();
[[nodiscard]] Names<Strategy> unknown_clients_names();
[[nodiscard]] Names<Key> key_names();
[[nodiscard]] Names<DenyReason> deny_reason_names();
[[nodiscard]] std::span<const std::string_view> log_level_names();

/// The candidate that `word` was probably meant to be; empty where none is near.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);
/// `"xpd" is unknown: did you mean "xdp"? It must be one of auto, xdp, tc, relay`.
[[nodiscard]] Error unknown_word(std::string_view word, std::span<const std::string_view> allowed);
using limpet::quote;
[[nodiscard]] std::string joined(std::span<const std::string_view> words);

template <class T>
[[nodiscard]] Result<T> parse_word(std::string_view word, Names<T> names) {
    std::vector<std::string_view> allowed;
    for (const auto& [name, value] : names) {
        if (name == word) return value;
        allowed.push_back(name);
    }
    return std::unexpected(unknown_word(word, allowed));
}

/// The bounds of what numbers may be; both ends are allowed.
template <class T>
struct Bounds {
    T low;
    T high;
    [[nodiscard]] constexpr bool contain(T value) const { return low <= value && value <= high; }
};

namespace bounds {
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
inline constexpr Bounds<std::int64_t> workers{0, 256};  // a flow entry names its worker in one byte
inline constexpr Bounds<std::int64_t> max_flows{1, 100'000'000};
inline constexpr Bounds<std::int64_t> handoff_tries{1, 1000};
inline constexpr Bounds<std::int64_t> weight{1, 65535};
inline constexpr Bounds<milliseconds> keep_alive{seconds{1}, seconds{65535}};
inline constexpr Bounds<milliseconds> hold_off{seconds{1}, hours{24}};
inline constexpr Bounds<std::int64_t> max_connections{0, 100'000'000};
inline constexpr Bounds<std::int64_t> verify_depth{0, 100};
inline constexpr Bounds<std::int64_t> max_handshakes{1, 10'000'000};
inline constexpr Bounds<std::int64_t> stick_capacity{1, 100'000'000};
inline constexpr Bounds<std::int64_t> max_connect_size{64, 16 * 1024 * 1024};
inline constexpr Bounds<milliseconds> hold_timeout{milliseconds{50}, seconds{60}};
inline constexpr Bounds<milliseconds> idle_timeout{seconds{0}, hours{24 * 365}};
inline constexpr Bounds<milliseconds> probe_after{seconds{0}, hours{24 * 365}};
inline constexpr Bounds<milliseconds> closing_timeout{milliseconds{50}, hours{1}};
inline constexpr Bounds<milliseconds> retire_grace{milliseconds{50}, hours{1}};
inline constexpr Bounds<milliseconds> connect_timeout{milliseconds{10}, hours{1}};
inline constexpr Bounds<milliseconds> connack_timeout{milliseconds{10}, hours{1}};
inline constexpr Bounds<milliseconds> stick{seconds{0}, hours{24 * 3650}};
// RFC 8446 4.6.1: no ticket is good for longer than seven days.
inline constexpr Bounds<milliseconds> ticket_lifetime{seconds{2}, hours{24 * 7}};
inline constexpr Bounds<milliseconds> expiry_warning{seconds{0}, hours{24 * 3650}};
inline constexpr Bounds<milliseconds> retry_down{milliseconds{10}, hours{1}};
inline constexpr Bounds<std::int64_t> broker_attempts{1, 1000};
inline constexpr Bounds<milliseconds> probe_interval{milliseconds{100}, hours{1}};
inline constexpr Bounds<milliseconds> probe_timeout{milliseconds{10}, minutes{1}};
inline constexpr Bounds<std::int64_t> probe_streak{1, 100};
inline constexpr Bounds<std::int64_t> probe_port{1, 65535};
inline constexpr Bounds<std::int64_t> http_status{100, 599};
inline constexpr Bounds<milliseconds> slow_start{seconds{0}, hours{1}};
inline constexpr Bounds<std::int64_t> end_rate{0, 1'000'000};
inline constexpr std::size_t file_size = 1024 * 1024;
inline constexpr std::size_t name_size = 63;
inline constexpr std::size_t socket_path_size = 107;
}  // namespace bounds

}  // namespace limpet::config
