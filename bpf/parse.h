/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Ethernet, IPv4 or IPv6, TCP: where they are and what they say. Changes nothing. */
#ifndef LIMPET_BPF_PARSE_H
#define LIMPET_BPF_PARSE_H

#include "common.h"

#define LIMPET_TCP_FIN 0x01
#define LIMPET_TCP_SYN 0x02
#define LIMPET_TCP_RST 0x04
#define LIMPET_TCP_ACK 0x10
#define LIMPET_TCP_ECE 0x40
#define LIMPET_TCP_CWR 0x80

enum limpet_parse_result {
    LIMPET_PARSE_TCP = 0,        /* a whole TCP header was found */
    LIMPET_PARSE_OTHER = 1,      /* nothing of ours: not IP, not TCP, a later fragment, too short to tell */
    LIMPET_PARSE_FRAGMENT = 2,   /* the first fragment of a TCP packet: ports are known */
    LIMPET_PARSE_IP_OPTIONS = 3, /* TCP behind IPv4 options or IPv6 extension headers */
    LIMPET_PARSE_MALFORMED = 4,  /* ports are known, but lengths contradict each other */
};

struct limpet_packet {
    void* ip;
    struct tcphdr* tcp;
    __u32 ip_length;  /* header and payload, bytes, as the header says; super-packets: as long as they are */
    __u32 tcp_header; /* bytes, 20 to 60 */
    __u32 payload;    /* bytes */
    __u32 sequence;   /* host order, like the rest */
    __u32 sequence_end; /* sequence + payload + SYN + FIN */
    __u32 acknowledgement;
    __u8 flags;
};

/* The family of an Ethernet frame: 4, 6 or 0. Tagged frames come without their tag to the VLAN's device. */
LIMPET_INLINE int limpet_family(const void* begin, const void* end) {
    const struct ethhdr* ethernet = begin;
    if ((const void*)(ethernet + 1) > end) return 0;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) return 4;
    if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) return 6;
    return 0;
}

LIMPET_INLINE int limpet_parse_tcp(void* tcp_begin, void* end, __u32 ip_header, __u32 available,
                                   struct limpet_packet* packet) {
    struct tcphdr* tcp = tcp_begin;
    if ((void*)(tcp + 1) > end) return LIMPET_PARSE_OTHER;
    packet->tcp = tcp;
    packet->flags = ((__u8*)tcp)[13];
    packet->tcp_header = (__u32)((((__u8*)tcp)[12] >> 4) << 2);
    packet->sequence = bpf_ntohl(tcp->seq);
    packet->acknowledgement = bpf_ntohl(tcp->ack_seq);
    if (packet->tcp_header < sizeof *tcp || packet->ip_length > available ||
        ip_header + packet->tcp_header > packet->ip_length)
        return LIMPET_PARSE_MALFORMED;
    packet->payload = packet->ip_length - ip_header - packet->tcp_header;
    packet->sequence_end = packet->sequence + packet->payload + !!(packet->flags & LIMPET_TCP_SYN) +
                           !!(packet->flags & LIMPET_TCP_FIN);
    return LIMPET_PARSE_TCP;
}

/* `length` is the frame's whole length, which may be more than begin to end shows (nonlinear packets). The
 * key is filled whenever the result is not LIMPET_PARSE_OTHER. */
LIMPET_INLINE int limpet_parse4(void* begin, void* end, __u32 length, struct limpet_packet* packet,
                                struct limpet_key4* key) {
    struct iphdr* ip = (void*)((__u8*)begin + ETH_HLEN);
    if ((void*)(ip + 1) > end || length < ETH_HLEN + sizeof *ip) return LIMPET_PARSE_OTHER;
    if (ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_TCP) return LIMPET_PARSE_OTHER;
    if (ip->frag_off & bpf_htons(0x1fff)) return LIMPET_PARSE_OTHER;
    __u32 available = length - ETH_HLEN;
    packet->ip = ip;
    packet->ip_length = ip->tot_len ? bpf_ntohs(ip->tot_len) : available;
    key->source = ip->saddr;
    key->destination = ip->daddr;
    if (ip->ihl != 5 || (ip->frag_off & bpf_htons(0x2000))) {
        /* known by the ports alone, which every first fragment has (RFC 791 3.2) */
        __be16* ports = (void*)((__u8*)ip + (__u32)ip->ihl * 4);
        if ((void*)(ports + 2) > end) return LIMPET_PARSE_OTHER;
        key->source_port = ports[0];
        key->destination_port = ports[1];
        return ip->ihl != 5 ? LIMPET_PARSE_IP_OPTIONS : LIMPET_PARSE_FRAGMENT;
    }
    int result = limpet_parse_tcp(ip + 1, end, sizeof *ip, available, packet);
    if (result == LIMPET_PARSE_OTHER) return result;
    key->source_port = packet->tcp->source;
    key->destination_port = packet->tcp->dest;
    return result;
}

#define LIMPET_IPV6_HOP_BY_HOP  0
#define LIMPET_IPV6_ROUTING     43
#define LIMPET_IPV6_FRAGMENT    44
#define LIMPET_IPV6_DESTINATION 60

/* TCP behind extension headers (RFC 8200 4): nobody sends it, but the host would take it. */
LIMPET_INLINE int limpet_parse_extensions(struct ipv6hdr* ip, void* end, struct limpet_key6* key) {
    int result = LIMPET_PARSE_IP_OPTIONS;
    __u8* header = (void*)(ip + 1);
    __u8 kind = ip->nexthdr;
#pragma GCC unroll 4
    for (int depth = 0; depth < 4; depth++) {
        if (kind == IPPROTO_TCP) break;
        if ((void*)(header + 8) > end) return LIMPET_PARSE_OTHER;
        __u32 size = 8;
        if (kind == LIMPET_IPV6_FRAGMENT) {
            /* next header, reserved, offset and flags, identification: only a first fragment has ports */
            if (header[2] != 0 || (header[3] & 0xf8) != 0) return LIMPET_PARSE_OTHER;
            result = LIMPET_PARSE_FRAGMENT;
        } else if (kind == LIMPET_IPV6_HOP_BY_HOP || kind == LIMPET_IPV6_ROUTING ||
                   kind == LIMPET_IPV6_DESTINATION) {
            size += (__u32)header[1] * 8;
        } else {
            return LIMPET_PARSE_OTHER;
        }
        kind = header[0];
        header += size;
    }
    if (kind != IPPROTO_TCP || (void*)(header + 4) > end) return LIMPET_PARSE_OTHER;
    __builtin_memcpy(&key->source_port, header, 2);
    __builtin_memcpy(&key->destination_port, header + 2, 2);
    return result;
}

LIMPET_INLINE int limpet_parse6(void* begin, void* end, __u32 length, struct limpet_packet* packet,
                                struct limpet_key6* key) {
    struct ipv6hdr* ip = (void*)((__u8*)begin + ETH_HLEN);
    if ((void*)(ip + 1) > end || length < ETH_HLEN + sizeof *ip) return LIMPET_PARSE_OTHER;
    if (ip->version != 6) return LIMPET_PARSE_OTHER;
    __builtin_memcpy(key->source, &ip->saddr, 16);
    __builtin_memcpy(key->destination, &ip->daddr, 16);
    packet->ip = ip;
    if (ip->nexthdr != IPPROTO_TCP) return limpet_parse_extensions(ip, end, key);
    __u32 available = length - ETH_HLEN;
    packet->ip_length = ip->payload_len ? bpf_ntohs(ip->payload_len) + (__u32)sizeof *ip : available;
    int result = limpet_parse_tcp(ip + 1, end, sizeof *ip, available, packet);
    if (result == LIMPET_PARSE_OTHER) return result;
    key->source_port = packet->tcp->source;
    key->destination_port = packet->tcp->dest;
    return result;
}

#endif
