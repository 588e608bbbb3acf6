// SPDX-License-Identifier: Apache-2.0
#include "config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>
#include <optional>

namespace limpet::config {
namespace {

using std::chrono::milliseconds;

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};
// Durations in milliseconds, sizes in bytes.
constexpr std::array duration_units{Unit{"d", 86'400'000}, Unit{"h", 3'600'000}, Unit{"m", 60'000},
                                    Unit{"s", 1000}, Unit{"ms", 1}};
constexpr std::array size_units{Unit{"GiB", 1ULL << 30}, Unit{"MiB", 1ULL << 20}, Unit{"KiB", 1ULL << 10},
                                Unit{"B", 1}};

// Digits and the rest behind them; nothing where there are no digits or too many.
std::optional<std::pair<std::uint64_t, std::string_view>> split_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (code != std::errc{}) return std::nullopt;
    return std::pair(number, text.substr(static_cast<std::size_t>(end - text.data())));
}

// `count` of a unit, or nothing where the product does not fit a signed 64-bit number.
std::optional<std::uint64_t> multiply(std::uint64_t count, std::uint64_t factor) {
    constexpr auto maximum = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (count > maximum / factor) return std::nullopt;
    return count * factor;
}

std::string in_units(std::uint64_t value, std::span<const Unit> units) {
    for (const auto& unit : units)
        if (value != 0 && value % unit.factor == 0)
            return std::to_string(value / unit.factor) + std::string(unit.name);
    return "0" + std::string(units[units.size() - 2].name);  // "0s" and "0KiB" read best
}

// Damerau's distance with adjacent transpositions: a slip of the fingers counts as one.
std::size_t distance(std::string_view left, std::string_view right) {
    std::vector<std::size_t> before(right.size() + 1);
    std::vector<std::size_t> last(right.size() + 1);
    std::vector<std::size_t> row(right.size() + 1);
    for (std::size_t j = 0; j <= right.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= left.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const std::size_t cost = left[i - 1] == right[j - 1] ? 0 : 1;
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + cost});
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, row);
    }
    return last[right.size()];
}

enum class Host { address, bad_ipv4, zone, name, garbage };

bool only(std::string_view text, std::string_view allowed) {
    return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

// What somebody who wrote no address probably meant.
Host classify(std::string_view host) {
    if (IpAddress::parse(host)) return Host::address;
    if (only(host, "0123456789.")) return Host::bad_ipv4;
    if (host.find(':') != std::string_view::npos && host.find('%') != std::string_view::npos)
        return Host::zone;
    constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return only(host, letters) ? Host::name : Host::garbage;
}

// Address and port with a word on every part that can be wrong; `example` fits the place.
Result<Endpoint> parse_endpoint(std::string_view text, const std::string& example) {
    const auto shown = quote(text);
    const auto colon = text.rfind(':');
    const auto write = "write it as " + example;
    if (text.empty()) return fail("\"\" is not an address with a port", write);
    if (colon == std::string_view::npos || text.back() == ']') return fail(shown + " has no port", write);
    auto host = text.substr(0, colon);
    if (classify(text) == Host::address || (host.find(':') != std::string_view::npos && host.front() != '['))
        return fail(shown + " is an IPv6 address without brackets", "write it as [2001:db8::1]:1883");
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    switch (classify(host)) {
        case Host::address:
            break;
        case Host::bad_ipv4:
            return fail(shown + " is not an IPv4 address with a port", write);
        case Host::zone:
            return fail(shown + " names an interface behind %: that is not supported by this version",
                        "use an address that is not link-local");
        case Host::name:
            return fail(shown + " is a DNS name", "write an IP address with a port, such as " + example);
        case Host::garbage:
            return fail(shown + " is not an address with a port", write);
    }
    const auto port = split_number(text.substr(colon + 1));
    if (!port || !port->second.empty() || port->first < 1 || port->first > 65535)
        return fail(shown + " has a wrong port", "it must be from 1 to 65535");
    auto endpoint = Endpoint::parse(text);
    if (!endpoint) return fail(shown + " is not an address with a port", write);
    return endpoint;
}

bool is_multicast(const IpAddress& address) {
    return address.family == 4 ? (address.bytes[0] & 0xf0) == 0xe0 : address.bytes[0] == 0xff;
}

bool is_link_local6(const IpAddress& address) {
    return address.family == 6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

bool is_mapped(const IpAddress& address) {
    constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return address.family == 6 && std::equal(prefix.begin(), prefix.end(), address.bytes.begin());
}

// Addresses that no TCP connection of ours can have.
Result<void> check_unicast(const IpAddress& address, std::string_view text) {
    const auto shown = quote(text);
    constexpr std::array<std::uint8_t, 4> broadcast{255, 255, 255, 255};
    if (is_multicast(address)) return fail(shown + " is a multicast address", "use the address of one host");
    if (address.family == 4 && std::equal(broadcast.begin(), broadcast.end(), address.bytes.begin()))
        return fail(shown + " is the broadcast address", "use the address of one host");
    if (is_mapped(address)) return fail(shown + " is IPv4 in IPv6 clothes", "write the IPv4 address itself");
    if (is_link_local6(address))
        return fail(shown + " is link-local: that is not supported by this version",
                    "use an address that is not link-local");
    return {};
}

constexpr std::size_t longest_host_name = 253;  // RFC 1035 2.3.4

constexpr std::array<std::pair<std::string_view, Mode>, 4> modes{
    {{"auto", Mode::automatic}, {"xdp", Mode::xdp}, {"tc", Mode::tc}, {"relay", Mode::relay}}};
constexpr std::array<std::pair<std::string_view, Strategy>, 6> strategies{
    {{"sticky", Strategy::sticky},
     {"hash", Strategy::hash},
     {"least_connections", Strategy::least_connections},
     {"round_robin", Strategy::round_robin},
     {"random", Strategy::random},
     {"power_of_two", Strategy::power_of_two}}};
constexpr std::array<std::pair<std::string_view, Strategy>, 2> unknown_clients{
    {{"hash", Strategy::hash}, {"least_connections", Strategy::least_connections}}};
constexpr std::array<std::pair<std::string_view, Key>, 5> keys{{{"client_id", Key::client_id},
                                                                {"username", Key::username},
                                                                {"source_ip", Key::source_ip},
                                                                {"certificate_cn", Key::certificate_cn},
                                                                {"sni", Key::sni}}};
constexpr std::array<std::pair<std::string_view, DenyReason>, 9> deny_reasons{
    {{"not_authorized", DenyReason::not_authorized},
     {"bad_user_name_or_password", DenyReason::bad_user_name_or_password},
     {"banned", DenyReason::banned},
     {"client_id_not_valid", DenyReason::client_id_not_valid},
     {"server_unavailable", DenyReason::server_unavailable},
     {"server_busy", DenyReason::server_busy},
     {"quota_exceeded", DenyReason::quota_exceeded},
     {"connection_rate_exceeded", DenyReason::connection_rate_exceeded},
     {"use_another_server", DenyReason::use_another_server}}};
constexpr std::array<std::string_view, 5> log_levels{"trace", "debug", "info", "warn", "error"};

}  // namespace

Result<milliseconds> parse_duration(std::string_view text) {
    if (text == "0") return milliseconds{0};
    if (const auto number = split_number(text))
        for (const auto& unit : duration_units)
            if (unit.name == number->second)
                if (const auto product = multiply(number->first, unit.factor))
                    return milliseconds{static_cast<std::int64_t>(*product)};
    return fail(quote(text) + " is not a duration",
                "write a whole number and a unit, such as \"500ms\", \"10s\", \"2m\", \"1h\" or \"7d\"");
}

std::string duration_text(milliseconds duration) {
    return in_units(static_cast<std::uint64_t>(duration.count()), duration_units);
}

Result<std::uint64_t> parse_size(std::string_view text) {
    if (const auto number = split_number(text)) {
        if (number->second.empty()) return number->first;
        for (const auto& unit : size_units)
            if (unit.name == number->second)
                if (const auto product = multiply(number->first, unit.factor)) return *product;
    }
    return fail(quote(text) + " is not a size",
                "write a whole number of bytes or with a unit, such as 65536, \"64KiB\" or \"1MiB\"");
}

std::string size_text(std::uint64_t bytes) {
    return in_units(bytes, size_units);
}

Result<Rate> parse_limit(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::chrono::seconds>, 5> times{
        {{"", std::chrono::seconds{1}},
         {"/s", std::chrono::seconds{1}},
         {"/m", std::chrono::minutes{1}},
         {"/h", std::chrono::hours{1}},
         {"/d", std::chrono::hours{24}}}};
    constexpr std::uint64_t highest = 10'000'000;
    if (const auto number = split_number(text))
        for (const auto& [name, time] : times) {
            if (name != number->second) continue;
            if (number->first > highest)
                return fail(quote(text) + " is out of range", "it may be up to 10000000");
            return Rate{static_cast<std::uint32_t>(number->first), time};
        }
    return fail(quote(text) + " is not a rate",
                "write a whole number and a time, such as \"200/s\", \"6/m\" or \"100/h\"");
}

std::string rate_text(const Rate& rate) {
    if (rate.most == 0) return "none";
    constexpr std::array<std::pair<std::chrono::seconds, std::string_view>, 3> times{
        {{std::chrono::hours{24}, "/d"}, {std::chrono::hours{1}, "/h"}, {std::chrono::minutes{1}, "/m"}}};
    for (const auto& [time, name] : times)
        if (time == rate.time) return std::to_string(rate.most) + std::string(name);
    return std::to_string(rate.most) + "/s";
}

Result<double> parse_rate(std::string_view text) {
    const auto rate = parse_limit(text);
    if (!rate) return std::unexpected(rate.error());
    return static_cast<double>(rate->most) / static_cast<double>(rate->time.count());
}

Result<double> parse_share(std::string_view text) {
    const bool percent = text.ends_with('%');
    const auto digits = percent ? text.substr(0, text.size() - 1) : text;
    double value = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code != std::errc{} || end != digits.data() + digits.size() || !(value >= 0 && value <= 1000))
        return fail(quote(text) + " is not a share", "write it as 5% or 0.05");
    return percent ? value / 100 : value;
}

Result<std::pair<std::uint16_t, std::uint16_t>> parse_port_range(std::string_view text) {
    const auto first = split_number(text);
    const auto second =
        first && first->second.starts_with('-') ? split_number(first->second.substr(1)) : std::nullopt;
    if (!second || !second->second.empty())
        return fail(quote(text) + " is not a range of ports", "write it as \"10000-32767\"");
    if (first->first < 1024) return fail(quote(text) + " begins below 1024", "take ports from 1024 to 65535");
    if (first->first > 65535 || second->first > 65535)
        return fail(quote(text) + " goes beyond 65535", "take ports from 1024 to 65535");
    if (first->first > second->first)
        return fail(quote(text) + " is upside down", "write the smaller port first");
    return std::pair(static_cast<std::uint16_t>(first->first), static_cast<std::uint16_t>(second->first));
}

Result<Endpoint> parse_listener_address(std::string_view text) {
    if (text.starts_with(':') || text.starts_with("*:"))
        return fail(quote(text) + " has no address",
                    "write 0.0.0.0:PORT for every IPv4 address or [::]:PORT for every IPv6 address");
    auto endpoint = parse_endpoint(text, "10.91.0.1:1883 or [2001:db8::1]:1883");
    if (!endpoint) return endpoint;
    if (auto usable = check_unicast(endpoint->address, text); !usable) return std::unexpected(usable.error());
    return endpoint;
}

Result<BrokerPlace> parse_broker_place(std::string_view text) {
    constexpr std::string_view service = "srv+";
    BrokerPlace place;
    if (text.starts_with(service)) {
        place.host.name = text.substr(service.size());
        if (classify(place.host.name) != Host::name || place.host.name.size() > longest_host_name)
            return fail(quote(text) + " names no SRV records", "write it as srv+_mqtt._tcp.example.com");
        return place;
    }
    const auto colon = text.rfind(':');
    const auto host = text.substr(0, colon);
    if (colon == std::string_view::npos || classify(host) != Host::name || text.find("://") != text.npos) {
        auto address = parse_broker_address(text);
        if (!address) return std::unexpected(address.error());
        place.address = *address;
        return place;
    }
    if (host.size() > longest_host_name) return fail(quote(text) + " is too long for a DNS name");
    const auto port = split_number(text.substr(colon + 1));
    if (!port || !port->second.empty() || port->first < 1 || port->first > 65535)
        return fail(quote(text) + " has a wrong port", "it must be from 1 to 65535");
    place.host = {std::string(host), static_cast<std::uint16_t>(port->first)};
    return place;
}

Result<std::string> parse_dns_server(std::string_view text) {
    const bool bare = IpAddress::parse(text).has_value();
    auto endpoint = bare ? Result<Endpoint>(Endpoint{*IpAddress::parse(text), 53})
                         : parse_endpoint(text, "192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53");
    if (!endpoint) return std::unexpected(endpoint.error());
    return endpoint->text();
}

Result<Endpoint> parse_broker_address(std::string_view text) {
    if (const auto scheme = text.find("://"); scheme != std::string_view::npos)
        return fail(quote(text) + " is a URL",
                    "write only the address and the port, such as 10.92.0.11:1883");
    auto endpoint = parse_endpoint(text, "10.92.0.11:1883 or [2001:db8::11]:1883");
    if (!endpoint) return endpoint;
    if (endpoint->address.is_any())
        return fail(quote(text) + " is no address of one broker", "write the address that the broker has");
    if (auto usable = check_unicast(endpoint->address, text); !usable) return std::unexpected(usable.error());
    return endpoint;
}

Result<Endpoint> parse_admin_address(std::string_view text) {
    auto endpoint = parse_endpoint(text, "127.0.0.1:9883 or [::1]:9883, or \"\" for none");
    if (!endpoint) return endpoint;
    if (auto usable = check_unicast(endpoint->address, text); !usable) return std::unexpected(usable.error());
    return endpoint;
}

Result<IpAddress> parse_source_address(std::string_view text) {
    auto address = IpAddress::parse(text);
    if (!address)
        return fail(quote(text) + " is not an IP address",
                    "write it as 10.92.0.1 or 2001:db8::1, without a port");
    if (address->is_any())
        return fail(quote(text) + " is no address of its own", "leave it out to take the route's address");
    if (auto usable = check_unicast(*address, text); !usable) return std::unexpected(usable.error());
    return address;
}

Result<void> check_name(std::string_view text) {
    if (text.empty())
        return fail("the name is empty", "write 1 to 63 letters, digits, or any of . _ - : / + @");
    const auto good = [](char byte) {
        return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
               std::string_view("._-:/+@").find(byte) != std::string_view::npos;
    };
    if (text.size() > bounds::name_size || !std::all_of(text.begin(), text.end(), good))
        return fail(quote(text) + " is not a name", "write 1 to 63 letters, digits, or any of . _ - : / + @");
    return {};
}

Result<void> check_interface(std::string_view text) {
    const auto bad = [](char byte) {
        return byte == '/' || byte == ':' || static_cast<unsigned char>(byte) <= ' ' || byte == 0x7f;
    };
    if (text.empty() || text.size() > 15 || text == "." || text == ".." ||
        std::any_of(text.begin(), text.end(), bad))
        return fail(quote(text) + " is not the name of a network interface",
                    "`ip link` lists them; a name has 1 to 15 bytes");
    return {};
}

Result<void> check_absolute_path(std::string_view text) {
    if (text.empty() || text.front() != '/')
        return fail(quote(text) + " is not an absolute path", "begin it with /");
    if (text.find('\0') != std::string_view::npos || text.size() > 4095)
        return fail(quote(text) + " is not a path", "it must have no NUL and at most 4095 bytes");
    return {};
}

Result<void> check_socket_path(std::string_view text) {
    if (auto path = check_absolute_path(text); !path) return path;
    if (text.back() == '/') return fail(quote(text) + " is a folder", "name the socket in it");
    if (text.size() > bounds::socket_path_size)
        return fail(quote(text) + " is too long for a socket", "use at most 107 bytes");
    return {};
}

Result<std::string> parse_server_name(std::string_view text) {
    constexpr std::size_t longest_name = 253;  // RFC 1035 2.3.4, without the dot at the end
    constexpr std::size_t longest_label = 63;
    std::string name(text);
    std::size_t label = 0;
    bool good = !name.empty() && name.size() <= longest_name && !name.ends_with('.');
    for (std::size_t at = name.starts_with("*.") ? 2 : 0; good && at < name.size(); ++at) {
        char& letter = name[at];
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
        const bool word = (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') ||
                          letter == '-' || letter == '_';
        good = word ? ++label <= longest_label : letter == '.' && label > 0;
        if (!word) label = 0;
    }
    if (!good || label == 0)
        return fail(quote(text) + " is not a name that clients ask for",
                    "write \"broker.example.org\", or \"*.example.org\" for any one label");
    return name;
}

Result<std::string> parse_origin(std::string_view text) {
    const auto scheme = text.find("://");
    const auto host = scheme == std::string_view::npos ? std::string_view{} : text.substr(scheme + 3);
    const bool good =
        text == "null" ||
        (scheme > 0 && !host.empty() && text.size() <= 512 &&
         std::ranges::all_of(text, [](char letter) { return letter > 0x20 && letter < 0x7f; }) &&
         host.find('/') == std::string_view::npos);
    if (!good)
        return fail(quote(text) + " is not an origin",
                    "write scheme and host as browsers send them, such as \"https://example.org\"");
    return std::string(text);
}

Result<std::pair<std::string, std::string>> parse_header_rule(std::string_view text) {
    const auto colon = text.find(':');
    const auto name = text.substr(0, colon);
    auto value = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    const auto is_token = [](char letter) { return letter > 0x20 && letter < 0x7f; };
    const auto is_value = [](char letter) {
        return static_cast<unsigned char>(letter) >= 0x20 && letter != 0x7f;
    };
    if (name.empty() || text.size() > 1024 || !std::ranges::all_of(name, is_token) ||
        !std::ranges::all_of(value, is_value))
        return fail(quote(text) + " is not a header",
                    "write \"Name: value\", or \"Name\" where any value will do");
    return std::pair(std::string(name), std::string(value));
}

Names<Mode> mode_names() {
    return modes;
}
Names<Strategy> strategy_names() {
    return strategies;
}
Names<Strategy> unknown_clients_names() {
    return unknown_clients;
}
Names<Key> key_names() {
    return keys;
}
Names<DenyReason> deny_reason_names() {
    return deny_reasons;
}
bool reads_connect(Protocol protocol) {
    return protocol != Protocol::tcp && protocol != Protocol::tls_passthrough;
}
bool speaks_tls(Protocol protocol) {
    return protocol == Protocol::mqtts || protocol == Protocol::wss;
}
bool speaks_websocket(Protocol protocol) {
    return protocol == Protocol::ws || protocol == Protocol::wss;
}
std::span<const std::string_view> log_level_names() {
    return log_levels;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    std::string_view best;
    if (word.size() > 64) return best;
    auto limit = std::max<std::size_t>(1, word.size() / 3) + 1;  // worse than this is no help
    for (const auto candidate : candidates) {
        const auto far = distance(word, candidate);
        if (far < limit && far < candidate.size()) {
            limit = far;
            best = candidate;
        }
    }
    if (best.empty() && word.size() >= 3)  // "warning" for "warn", "conn" for "connections"
        for (const auto candidate : candidates)
            if (candidate.size() >= 3 && (word.starts_with(candidate) || candidate.starts_with(word)))
                return candidate;
    return best;
}

Error unknown_word(std::string_view word, std::span<const std::string_view> allowed) {
    const auto meant = nearest(word, allowed);
    const auto one_of = "t must be one of " + joined(allowed);
    const auto advice = meant.empty() ? "i" + one_of : "did you mean " + quote(meant) + "? I" + one_of;
    return {quote(word) + " is unknown", advice, 0};
}

std::string joined(std::span<const std::string_view> words) {
    std::string list;
    for (const auto word : words) list += (list.empty() ? "" : ", ") + std::string(word);
    return list;
}

}  // namespace limpet::config
