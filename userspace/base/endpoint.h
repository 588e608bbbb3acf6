// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet {

/// An IPv4 or IPv6 address, in network byte order. IPv4 uses the first four bytes, the rest is zero.
struct IpAddress {
    std::uint8_t family = 4;  ///< 4 or 6
    std::array<std::uint8_t, 16> bytes{};

    [[nodiscard]] bool is_any() const { return bytes == std::array<std::uint8_t, 16>{}; }
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] std::string text() const;
    /// Reads "192.0.2.1" or "2001:db8::1" (without brackets or a zone).
    [[nodiscard]] static Result<IpAddress> parse(std::string_view text);

    auto operator<=>(const IpAddress&) const = default;
};

/// An address and a TCP port (host byte order).
struct Endpoint {
    IpAddress address;
    std::uint16_t port = 0;

    /// "192.0.2.1:1883" or "[2001:db8::1]:1883".
    [[nodiscard]] std::string text() const;
    /// Reads what text() prints.
    [[nodiscard]] static Result<Endpoint> parse(std::string_view text);
    /// Fills `storage` and returns its length. An IPv4-mapped IPv6 address stays what it is.
    socklen_t to_sockaddr(sockaddr_storage& storage) const;
    /// IPv4-mapped IPv6 addresses come out as IPv4.
    [[nodiscard]] static Result<Endpoint> from_sockaddr(const sockaddr_storage& storage);

    auto operator<=>(const Endpoint&) const = default;
};

/// getsockname() and getpeername() as values.
[[nodiscard]] Result<Endpoint> local_endpoint(int socket);
[[nodiscard]] Result<Endpoint> peer_endpoint(int socket);

}  // namespace limpet

template <>
struct std::hash<limpet::Endpoint> {
    std::size_t operator()(const limpet::Endpoint& endpoint) const noexcept;
};
