// SPDX-License-Identifier: Apache-2.0
#include "handoff/tcp_socket.h"

#include <limpet/flow_abi.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "handoff/syn_answer.h"

namespace limpet::handoff {
namespace {

// TCP_REPAIR's queues (linux/tcp.h has them unnamed before 5.x).
constexpr int no_queue = 0;
constexpr int receive_queue = 1;
constexpr int send_queue = 2;
constexpr std::uint32_t timestamps_space = 12;  // RFC 7323 appendix A: the option and two NOPs
constexpr std::uint8_t established = 1;         // TCP_ESTABLISHED of the kernel's net/tcp_states.h

template <class Value>
bool get(int socket, int option, Value& value) {
    socklen_t length = sizeof value;
    return getsockopt(socket, IPPROTO_TCP, option, &value, &length) == 0;
}

bool set(int socket, int option, int value) {
    return setsockopt(socket, IPPROTO_TCP, option, &value, sizeof value) == 0;
}

std::optional<std::uint32_t> queue_position(int socket, int queue) {
    std::uint32_t sequence = 0;
    if (!set(socket, TCP_REPAIR_QUEUE, queue) || !get(socket, TCP_QUEUE_SEQ, sequence)) return std::nullopt;
    return sequence;
}

bool is_ipv6(int socket) {
    int domain = 0;
    socklen_t length = sizeof domain;
    return getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_INET6;
}

std::optional<int> queue_length(int socket, unsigned long request) {
    int bytes = 0;
    if (ioctl(socket, request, &bytes) != 0) return std::nullopt;
    return bytes;
}

}  // namespace

Result<SocketInfo> read_socket(int socket) {
    tcp_info info{};
    socklen_t length = sizeof info;
    if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
        return fail_errno("reading the state of a TCP socket", errno);
    SocketInfo result;
    result.established = info.tcpi_state == established;
    result.round_trip = std::chrono::microseconds(info.tcpi_rtt);
    result.silent = info.tcpi_bytes_received == 0 && info.tcpi_bytes_acked <= 1;  // the SYN may count
    auto& options = result.options;
    options.timestamps = (info.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0;
    options.sack = (info.tcpi_options & TCPI_OPT_SACK) != 0;
    options.window_scale = (info.tcpi_options & TCPI_OPT_WSCALE) != 0;
    options.ecn = (info.tcpi_options & TCPI_OPT_ECN) != 0;
    options.peer_scale = options.window_scale ? info.tcpi_snd_wscale : std::uint8_t{0};
    options.own_scale = options.window_scale ? info.tcpi_rcv_wscale : std::uint8_t{0};
    options.announced_segment = info.tcpi_advmss;
    const auto headers = is_ipv6(socket) ? 60U : 40U;  // IP and TCP, without options
    if (info.tcpi_pmtu > headers) result.path_segment = info.tcpi_pmtu - headers;
    options.peer_segment = info.tcpi_snd_mss + (options.timestamps ? timestamps_space : 0);
    return result;
}

std::optional<std::uint32_t> client_segment(int accepted_socket) {
    std::array<std::uint8_t, 256> packet;
    socklen_t length = packet.size();
    if (getsockopt(accepted_socket, IPPROTO_TCP, TCP_SAVED_SYN, packet.data(), &length) != 0)
        return std::nullopt;
    return read_syn_segment({packet.data(), length});
}

std::optional<int> unread_bytes(int socket) {
    return queue_length(socket, SIOCINQ);
}

std::optional<int> unacknowledged_bytes(int socket) {
    return queue_length(socket, SIOCOUTQ);
}

void mark_leaving(int socket) {
    const std::uint32_t mark = LIMPET_MARK_LEAVING;
    setsockopt(socket, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
}

void acknowledge_now(int socket) {
    set(socket, TCP_QUICKACK, 1);
}

Freeze::Freeze(int socket) : socket_(socket), frozen_(set(socket, TCP_REPAIR, TCP_REPAIR_ON)) {}

Freeze::~Freeze() {
    if (!frozen_) return;
    set(socket_, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
    // Leaving repair mode takes SO_REUSEADDR away (tcp_set_repair). What lingers without it keeps its port
    // from everybody: from the next daemon's listener, and from the next connection to a broker.
    const int on = 1;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

std::optional<LegPosition> Freeze::position() const {
    LegPosition position;
    const auto receive_next = queue_position(socket_, receive_queue);
    const auto send_next = queue_position(socket_, send_queue);
    set(socket_, TCP_REPAIR_QUEUE, no_queue);
    if (!receive_next || !send_next || !get(socket_, TCP_TIMESTAMP, position.clock)) return std::nullopt;
    position.receive_next = *receive_next;
    position.send_next = *send_next;
    return position;
}

namespace {

/// Binds to an address that is not this host's. A port is a client's here, whatever listens on it on this
/// host: in repair mode nothing is in a bind's way, and connect() still refuses a tuple that is in use.
bool bind_as_client(int socket, const Endpoint& source) {
    const bool four = source.address.family == 4;
    const int level = four ? SOL_IP : SOL_IPV6;
    const int on = 1;
    if (setsockopt(socket, level, four ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof on) != 0 ||
        setsockopt(socket, level, four ? IP_FREEBIND : IPV6_FREEBIND, &on, sizeof on) != 0 ||
        !set(socket, TCP_REPAIR, TCP_REPAIR_ON))
        return false;
    sockaddr_storage storage;
    const auto length = source.to_sockaddr(storage);
    const bool bound = ::bind(socket, reinterpret_cast<const sockaddr*>(&storage), length) == 0;
    const int number = errno;
    const bool thawed = set(socket, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
    if (!bound) errno = number;
    return bound && thawed;
}

}  // namespace

Result<Fd> make_broker_socket(const Endpoint& source, std::uint32_t maximum_segment, Source whose) {
    Fd socket(::socket(source.address.family == 4 ? AF_INET : AF_INET6,
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("making a socket towards a broker", errno);
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (maximum_segment != 0) {
        const int segment = static_cast<int>(std::clamp<std::uint32_t>(maximum_segment, 88, 32767));
        setsockopt(socket.get(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    if (whose == Source::client && !bind_as_client(socket.get(), source))
        return fail_errno("binding a socket to the client's address " + source.text(), errno);
    // A connection of ours that the broker's address tells apart may be in TIME_WAIT on the same port.
    // (Behind repair mode, which takes this back.)
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (whose == Source::own && (source.port != 0 || !source.address.is_any())) {
        if (source.port == 0) setsockopt(socket.get(), SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        sockaddr_storage storage;
        const auto length = source.to_sockaddr(storage);
        if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0)
            return fail_errno("binding a socket to " + source.text(), errno);
    }
    return socket;
}

}  // namespace limpet::handoff
