// SPDX-License-Identifier: Apache-2.0
#include "base/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace limpet {

bool IpAddress::is_loopback() const {
    if (family == 4) return bytes[0] == 127;
    return std::all_of(bytes.begin(), bytes.end() - 1, [](auto byte) { return byte == 0; }) && bytes[15] == 1;
}

std::string IpAddress::text() const {
    char buffer[INET6_ADDRSTRLEN];
    return inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), buffer, sizeof buffer);
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
    const std::string copy(text);
    IpAddress address;
    if (inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) return address;
    address.bytes = {};
    address.family = 6;
    if (inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
    return fail("\"" + copy + "\" is not an IP address", "write it as 192.0.2.1 or 2001:db8::1");
}

std::string Endpoint::text() const {
    const auto port_text = std::to_string(port);
    return address.family == 4 ? address.text() + ":" + port_text : "[" + address.text() + "]:" + port_text;
}

Result<Endpoint> Endpoint::parse(std::string_view text) {
    const auto bad = [&] {
        return fail("\"" + std::string(text) + "\" is not an address with a port",
                    "write it as 192.0.2.1:1883 or [2001:db8::1]:1883");
    };
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad();
    auto host = text.substr(0, colon);
    const auto digits = text.substr(colon + 1);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    auto address = IpAddress::parse(host);
    if (!address || (address->family == 6) != bracketed) return bad();
    unsigned port = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (code != std::errc{} || end != digits.data() + digits.size() || port > 65535) return bad();
    return Endpoint{*address, static_cast<std::uint16_t>(port)};
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& storage) const {
    std::memset(&storage, 0, sizeof storage);
    if (address.family == 4) {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        std::memcpy(&v4->sin_addr, address.bytes.data(), 4);
        return sizeof *v4;
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    std::memcpy(&v6->sin6_addr, address.bytes.data(), 16);
    return sizeof *v6;
}

Result<Endpoint> Endpoint::from_sockaddr(const sockaddr_storage& storage) {
    Endpoint endpoint;
    if (storage.ss_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
        std::memcpy(endpoint.address.bytes.data(), &v4->sin_addr, 4);
        endpoint.port = ntohs(v4->sin_port);
        return endpoint;
    }
    if (storage.ss_family != AF_INET6) return fail("the socket is neither IPv4 nor IPv6");
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    endpoint.port = ntohs(v6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        std::memcpy(endpoint.address.bytes.data(), &v6->sin6_addr.s6_addr[12], 4);
    } else {
        endpoint.address.family = 6;
        std::memcpy(endpoint.address.bytes.data(), &v6->sin6_addr, 16);
    }
    return endpoint;
}

Result<Endpoint> local_endpoint(int socket) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (getsockname(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
        return fail_errno("reading a socket's own address", errno);
    return Endpoint::from_sockaddr(storage);
}

Result<Endpoint> peer_endpoint(int socket) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (getpeername(socket, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
        return fail_errno("reading a socket's peer address", errno);
    return Endpoint::from_sockaddr(storage);
}

}  // namespace limpet

std::size_t std::hash<limpet::Endpoint>::operator()(const limpet::Endpoint& endpoint) const noexcept {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::memcpy(&high, endpoint.address.bytes.data(), 8);
    std::memcpy(&low, endpoint.address.bytes.data() + 8, 8);
    std::uint64_t mixed =
        (high ^ (low * 0x9e3779b97f4a7c15ULL) ^ (std::uint64_t{endpoint.port} << 48)) * 0xff51afd7ed558ccdULL;
    return mixed ^ (mixed >> 33);
}
