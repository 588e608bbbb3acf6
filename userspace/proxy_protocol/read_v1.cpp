// SPDX-License-Identifier: Apache-2.0
// The line of version 1 (2.1). It is judged when its end is there, and not before.
#include <algorithm>
#include <charconv>
#include <expected>

#include "proxy_protocol/wire.h"

namespace limpet::proxy_protocol {
namespace {

using namespace std::string_view_literals;

/// The text before the next space, which is taken away with it. Without a space: all that is left.
std::string_view next_field(std::string_view& rest) {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    const std::string_view field = rest.substr(0, space);
    rest.remove_prefix(std::min(space + 1, rest.size()));
    return field;
}

/// inet_pton(), which IpAddress::parse asks, takes neither leading zeroes in IPv4 nor more than one form of
/// the numbers. The characters are looked at first, because for it a NUL would end the text.
std::expected<IpAddress, Fault> read_address(std::string_view text, std::uint8_t family) {
    if (text.find_first_not_of("0123456789abcdefABCDEF:."sv) != std::string_view::npos)
        return std::unexpected(Fault::v1_address);
    const auto address = IpAddress::parse(text);
    if (!address || address->family != family) return std::unexpected(Fault::v1_address);
    return *address;
}

std::expected<std::uint16_t, Fault> read_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool leading_zero = text.size() > 1 && text.front() == '0';
    if (error != std::errc{} || end != text.data() + text.size() || leading_zero)
        return std::unexpected(Fault::v1_port);
    return port;
}

std::expected<Addresses, Fault> read_addresses(std::string_view rest, std::uint8_t family) {
    if (std::ranges::count(rest, ' ') != 3) return std::unexpected(Fault::v1_fields);
    Addresses addresses;
    for (Endpoint* end : {&addresses.source, &addresses.destination}) {
        const auto address = read_address(next_field(rest), family);
        if (!address) return std::unexpected(address.error());
        end->address = *address;
    }
    for (Endpoint* end : {&addresses.source, &addresses.destination}) {
        const auto port = read_port(next_field(rest));
        if (!port) return std::unexpected(port.error());
        end->port = *port;
    }
    return addresses;
}

/// The line behind the signature, without its end.
std::expected<Header, Fault> read_line(std::string_view line) {
    Header header;
    header.version = Version::v1;
    const bool bare = line.find(' ') == std::string_view::npos;
    const std::string_view protocol = next_field(line);
    if (protocol == "UNKNOWN"sv) {  // whatever is behind it must be ignored
        header.transport = Transport::unspecified;
        return header;
    }
    if (protocol != "TCP4"sv && protocol != "TCP6"sv) return std::unexpected(Fault::v1_protocol);
    if (bare) return std::unexpected(Fault::v1_fields);
    const auto addresses = read_addresses(line, protocol == "TCP4"sv ? 4 : 6);
    if (!addresses) return std::unexpected(addresses.error());
    header.addresses = *addresses;
    return header;
}

}  // namespace

Parsed read_v1(Bytes bytes) {
    Parsed parsed;
    const auto invalid = [&](Fault fault) {
        parsed.status = Status::invalid;
        parsed.fault = fault;
        return parsed;
    };
    const std::string_view text = as_text(bytes.first(std::min(bytes.size(), v1_longest_line)));
    const std::size_t newline = text.find('\n');
    if (newline == std::string_view::npos)
        return text.size() < v1_longest_line ? parsed : invalid(Fault::v1_line_too_long);
    if (text[newline - 1] != '\r') return invalid(Fault::v1_line_ending);
    auto header = read_line(text.substr(v1_signature.size(), newline - 1 - v1_signature.size()));
    if (!header) return invalid(header.error());
    parsed.status = Status::complete;
    parsed.consumed = newline + 1;
    parsed.header = *std::move(header);
    return parsed;
}

}  // namespace limpet::proxy_protocol
