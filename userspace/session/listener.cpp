// SPDX-License-Identifier: Apache-2.0
#include "session/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

namespace limpet::session {
namespace {

// The kernel clamps it to net.core.somaxconn. A storm waits here while accepting pauses.
constexpr int backlog = 4096;

std::string advice_for(int number, const Endpoint& address) {
    switch (number) {
        case EADDRINUSE:
            return "another program listens there already";
        case EADDRNOTAVAIL:
            return "no interface of this host has the address " + address.address.text();
        case EACCES:
            return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
        default:
            return {};
    }
}

int family_of(const Endpoint& address) {
    return address.address.family == 4 ? AF_INET : AF_INET6;
}

bool bind_to(const Fd& socket, const Endpoint& address) {
    const int on = 1;
    if (family_of(address) == AF_INET6) setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    // Connections of an earlier daemon that still linger on the port are no obstacle.
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_storage storage{};
    const auto length = address.to_sockaddr(storage);
    return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0;
}

}  // namespace

Result<void> expect_free(const Endpoint& address) {
    const Fd asking(::socket(family_of(address), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!asking || !bind_to(asking, address)) {
        const int number = errno;
        return fail_errno("listening on " + address.text(), number, advice_for(number, address));
    }
    return {};
}

bool matches(std::string_view route, std::string_view server_name) {
    if (!route.starts_with("*.")) return route == server_name;
    const auto dot = server_name.find('.');
    return dot != std::string_view::npos && dot > 0 && server_name.substr(dot) == route.substr(1);
}

void limit_segment(int listening_socket, std::uint32_t maximum_segment) {
    // tcp(7): at least 88 bytes; 0 takes the limit away
    const int segment =
        maximum_segment == 0 ? 0 : static_cast<int>(std::clamp<std::uint32_t>(maximum_segment, 88, 32767));
    setsockopt(listening_socket, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
}

Result<Fd> open_listening_socket(const Endpoint& address, std::uint32_t maximum_segment) {
    const auto doing = "listening on " + address.text();
    Fd socket(::socket(family_of(address), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    if (!socket) return fail_errno(doing, errno);
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    // Inherited by accepted sockets: a system call less for each.
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // Accepted sockets can tell what their client announced (handoff/tcp_socket.h).
    setsockopt(socket.get(), IPPROTO_TCP, TCP_SAVE_SYN, &on, sizeof on);
    if (maximum_segment != 0) limit_segment(socket.get(), maximum_segment);
    if (!bind_to(socket, address) || ::listen(socket.get(), backlog) != 0) {
        const int number = errno;
        return fail_errno(doing, number, advice_for(number, address));
    }
    return socket;
}

}  // namespace limpet::session
