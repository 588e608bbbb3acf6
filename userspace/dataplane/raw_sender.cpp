// SPDX-License-Identifier: Apache-2.0
#include "dataplane/raw_sender.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "dataplane/translate_host.h"

namespace limpet::dataplane {
namespace {

constexpr std::uint8_t tcp_fin = 0x01;
constexpr std::uint8_t tcp_syn = 0x02;
constexpr std::uint8_t tcp_rst = 0x04;
constexpr std::uint8_t tcp_psh = 0x08;
constexpr std::uint8_t tcp_ack = 0x10;
constexpr std::size_t most_tcp_header = 60;
constexpr std::size_t alignment = 2;  // puts the IP header of a frame on a multiple of four

Result<Fd> open_raw(int family) {
    Fd socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
    if (!socket) return fail_errno("opening a raw socket", errno, "run as root, or give CAP_NET_RAW");
    const int mark = static_cast<int>(LIMPET_MARK);
    if (setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
        return fail_errno("marking a raw socket", errno, "give CAP_NET_ADMIN");
    if (family == AF_INET6) {
        const int on = 1;
        if (setsockopt(socket.get(), IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof on) != 0)
            return fail_errno("preparing an IPv6 raw socket", errno);
    }
    return socket;
}

}  // namespace

Result<RawSender> RawSender::open() {
    auto v4 = open_raw(AF_INET);
    if (!v4) return std::unexpected(v4.error());
    auto v6 = open_raw(AF_INET6);  // a host without IPv6 has no IPv6 flows either
    return RawSender(std::move(*v4), v6 ? std::move(*v6) : Fd{});
}

bool RawSender::send_packet(std::uint8_t family, std::span<const std::uint8_t> packet) {
    Endpoint destination;
    destination.address.family = family;
    if (family == 4)
        std::memcpy(destination.address.bytes.data(), packet.data() + 16, 4);
    else
        std::memcpy(destination.address.bytes.data(), packet.data() + 24, 16);
    sockaddr_storage storage;
    const auto length = destination.to_sockaddr(storage);
    return ::sendto(family == 4 ? v4_.get() : v6_.get(), packet.data(), packet.size(), MSG_DONTWAIT,
                    reinterpret_cast<const sockaddr*>(&storage), length) >= 0;
}

unsigned RawSender::send_frame(std::span<std::uint8_t> frame, std::uint32_t maximum_segment) {
    limpet_host_packet packet{};
    if (limpet_host_parse(frame.data(), static_cast<std::uint32_t>(frame.size()), &packet) != 0) return 0;
    if (packet.tcp_offset + packet.tcp_header + packet.payload > frame.size()) return 0;
    const std::uint32_t headers = packet.tcp_offset + packet.tcp_header;
    std::vector<std::uint8_t> buffer(alignment + headers + std::min(packet.payload, maximum_segment));
    auto* segment = buffer.data() + alignment;
    unsigned sent = 0;
    std::uint32_t done = 0;
    do {
        const auto payload = std::min(packet.payload - done, maximum_segment);
        std::memcpy(segment, frame.data(), headers);
        std::memcpy(segment + headers, frame.data() + headers + done, payload);
        auto* tcp = reinterpret_cast<tcphdr*>(segment + packet.tcp_offset);
        tcp->seq = htonl(packet.sequence + done);
        const bool last = done + payload == packet.payload;
        if (!last) segment[packet.tcp_offset + 13] &= static_cast<std::uint8_t>(~(tcp_fin | tcp_psh));
        limpet_host_checksum(segment, &packet, payload);
        if (send_packet(packet.family, {segment + packet.ip_offset, headers - packet.ip_offset + payload}))
            ++sent;
        done += payload;
    } while (done < packet.payload);
    return sent;
}

bool RawSender::send_reset(const Endpoint& from, const Endpoint& to, std::uint32_t sequence,
                           std::uint32_t acknowledgement) {
    return send_segment({from, to, sequence, acknowledgement, std::nullopt}, tcp_rst | tcp_ack, {});
}

bool RawSender::send_probe(const Segment& segment) {
    if (!segment.timestamps) return send_segment(segment, tcp_ack, {});
    // RFC 7323 appendix A: the option behind two NOPs
    const std::array<std::uint32_t, 3> option{htonl(0x0101080a), htonl(segment.timestamps->first),
                                              htonl(segment.timestamps->second)};
    return send_segment(segment, tcp_ack,
                        {reinterpret_cast<const std::uint8_t*>(option.data()), sizeof option});
}

bool RawSender::send_syn(const Endpoint& from, const Endpoint& to, std::uint32_t sequence,
                         std::uint16_t maximum_segment) {
    const std::array<std::uint8_t, 20> options{2,
                                               4,
                                               static_cast<std::uint8_t>(maximum_segment >> 8),
                                               static_cast<std::uint8_t>(maximum_segment),
                                               4,
                                               2,
                                               8,
                                               10,
                                               0,
                                               0,
                                               0,
                                               1,
                                               0,
                                               0,
                                               0,
                                               0,  // SACK permitted; timestamps, behind nothing yet
                                               1,
                                               3,
                                               3,
                                               7};
    return send_segment({from, to, sequence, 0, std::nullopt}, tcp_syn, options);
}

bool RawSender::send_segment(const Segment& segment, std::uint8_t flags,
                             std::span<const std::uint8_t> options) {
    const auto& from = segment.from;
    const auto& to = segment.to;
    const std::uint32_t ip_header = to.address.family == 4 ? sizeof(iphdr) : sizeof(ipv6hdr);
    const auto tcp_header = static_cast<std::uint32_t>(sizeof(tcphdr) + options.size());
    std::array<std::uint8_t, alignment + ETH_HLEN + sizeof(ipv6hdr) + most_tcp_header> buffer{};
    auto* frame = buffer.data() + alignment;
    auto* ip_bytes = frame + ETH_HLEN;
    if (to.address.family == 4) {
        auto* ip = reinterpret_cast<iphdr*>(ip_bytes);
        ip->version = 4;
        ip->ihl = 5;
        ip->ttl = 64;
        ip->protocol = IPPROTO_TCP;
        std::memcpy(&ip->saddr, from.address.bytes.data(), 4);
        std::memcpy(&ip->daddr, to.address.bytes.data(), 4);
    } else {
        auto* ip = reinterpret_cast<ipv6hdr*>(ip_bytes);
        ip->version = 6;
        ip->nexthdr = IPPROTO_TCP;
        ip->hop_limit = 64;
        std::memcpy(&ip->saddr, from.address.bytes.data(), 16);
        std::memcpy(&ip->daddr, to.address.bytes.data(), 16);
    }
    limpet_host_packet packet{};
    packet.family = to.address.family;
    packet.ip_offset = ETH_HLEN;
    packet.tcp_offset = ETH_HLEN + ip_header;
    packet.tcp_header = tcp_header;
    auto* tcp = reinterpret_cast<tcphdr*>(frame + packet.tcp_offset);
    tcp->source = htons(from.port);
    tcp->dest = htons(to.port);
    tcp->seq = htonl(segment.sequence);
    tcp->ack_seq = htonl(segment.acknowledgement);
    tcp->doff = static_cast<std::uint16_t>(tcp_header / 4) & 0xf;
    tcp->window = htons((flags & tcp_syn) != 0 ? 64240 : 0);
    frame[packet.tcp_offset + 13] = flags;
    std::ranges::copy(options, reinterpret_cast<std::uint8_t*>(tcp + 1));
    limpet_host_checksum(frame, &packet, 0);
    return send_packet(packet.family, {ip_bytes, ip_header + tcp_header});
}

}  // namespace limpet::dataplane
