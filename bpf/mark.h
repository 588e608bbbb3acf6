/* SPDX-License-Identifier: GPL-2.0-only */
/* Transparent pools: the host's socket towards a broker has the client's address, so that what the broker
 * answers is not for an address of this host. Whatever belongs to a socket of the host's is marked here, and
 * a policy rule delivers what is marked (userspace/dataplane/policy_routing.h). The host's sockets are asked,
 * and not the flows: a socket needs its packets before it has an entry, while it is relayed for good, and
 * after its session is over, until its last FIN was acknowledged. An active flow has no socket and needs no
 * mark. */
#ifndef LIMPET_BPF_MARK_H
#define LIMPET_BPF_MARK_H

#include "maps.h"
#include "parse.h"

#define LIMPET_ICMP_HEADER       8 /* bytes in front of what an error quotes; the same in both versions */
#define LIMPET_ICMP_UNREACHABLE  3
#define LIMPET_ICMP_TIME         11
#define LIMPET_ICMP_PARAMETER    12
#define LIMPET_ICMP6_LAST_ERROR  4 /* RFC 4443 2.1: below 128; these four are about packets */
#define LIMPET_IPV6_ADDRESSES    8 /* where both addresses stand in an IPv6 header */
#define LIMPET_IPV6_NEXT_HEADER  6
#define LIMPET_IPV4_OFFSET_FIELD 0x1fff

/* Whether a socket of this host has the connection; one that listens has none. */
LIMPET_INLINE int limpet_has_socket(struct __sk_buff* context, struct bpf_sock_tuple* tuple, __u32 size) {
    struct bpf_sock* socket = bpf_skc_lookup_tcp(context, tuple, size, BPF_F_CURRENT_NETNS, 0);
    if (!socket) return 0;
    int connected = socket->state != BPF_TCP_LISTEN;
    bpf_sk_release(socket);
    return connected;
}

LIMPET_INLINE int limpet_for_socket4(struct __sk_buff* context) {
    struct bpf_sock_tuple tuple = {};
    struct iphdr ip;
    __be16 ports[2];
    __u32 at = ETH_HLEN;
    int quoted = 0;
    if (bpf_skb_load_bytes(context, at, &ip, sizeof ip)) return 0;
    if (ip.frag_off & bpf_htons(LIMPET_IPV4_OFFSET_FIELD)) return 0;
    at += (__u32)ip.ihl * 4;
    if (ip.protocol == IPPROTO_ICMP) {
        /* an error of the way to the broker: what it quotes is a packet of the socket's own */
        __u8 type;
        if (bpf_skb_load_bytes(context, at, &type, sizeof type)) return 0;
        if (type != LIMPET_ICMP_UNREACHABLE && type != LIMPET_ICMP_TIME && type != LIMPET_ICMP_PARAMETER)
            return 0;
        at += LIMPET_ICMP_HEADER;
        if (bpf_skb_load_bytes(context, at, &ip, sizeof ip)) return 0;
        if (ip.frag_off & bpf_htons(LIMPET_IPV4_OFFSET_FIELD)) return 0;
        at += (__u32)ip.ihl * 4;
        quoted = 1;
    }
    if (ip.protocol != IPPROTO_TCP || bpf_skb_load_bytes(context, at, ports, sizeof ports)) return 0;
    tuple.ipv4.saddr = quoted ? ip.daddr : ip.saddr;
    tuple.ipv4.daddr = quoted ? ip.saddr : ip.daddr;
    tuple.ipv4.sport = quoted ? ports[1] : ports[0];
    tuple.ipv4.dport = quoted ? ports[0] : ports[1];
    return limpet_has_socket(context, &tuple, sizeof tuple.ipv4);
}

LIMPET_INLINE int limpet_for_socket6(struct __sk_buff* context) {
    struct bpf_sock_tuple tuple = {};
    __be32 addresses[8];
    __be16 ports[2];
    __u32 at = ETH_HLEN;
    __u8 kind;
    int quoted = 0;
    if (bpf_skb_load_bytes(context, at + LIMPET_IPV6_NEXT_HEADER, &kind, sizeof kind)) return 0;
    if (kind == IPPROTO_ICMPV6) {
        __u8 type;
        if (bpf_skb_load_bytes(context, at + sizeof(struct ipv6hdr), &type, sizeof type)) return 0;
        if (type == 0 || type > LIMPET_ICMP6_LAST_ERROR) return 0;
        at += sizeof(struct ipv6hdr) + LIMPET_ICMP_HEADER;
        if (bpf_skb_load_bytes(context, at + LIMPET_IPV6_NEXT_HEADER, &kind, sizeof kind)) return 0;
        quoted = 1;
    }
    if (kind != IPPROTO_TCP ||
        bpf_skb_load_bytes(context, at + LIMPET_IPV6_ADDRESSES, addresses, sizeof addresses) ||
        bpf_skb_load_bytes(context, at + sizeof(struct ipv6hdr), ports, sizeof ports))
        return 0;
    __builtin_memcpy(tuple.ipv6.saddr, quoted ? addresses + 4 : addresses, 16);
    __builtin_memcpy(tuple.ipv6.daddr, quoted ? addresses : addresses + 4, 16);
    tuple.ipv6.sport = quoted ? ports[1] : ports[0];
    tuple.ipv6.dport = quoted ? ports[0] : ports[1];
    return limpet_has_socket(context, &tuple, sizeof tuple.ipv6);
}

/* For every packet that goes on to the host; where no pool is transparent that is one look. */
LIMPET_STEP int limpet_mark(struct __sk_buff* context) {
    __u32 zero = 0;
    const struct limpet_settings* settings = bpf_map_lookup_elem(&limpet_setting, &zero);
    if (!settings || !settings->transparent || context->pkt_type != 0) return LIMPET_TC_OK;
    int ours = 0;
    if (context->protocol == bpf_htons(ETH_P_IP))
        ours = limpet_for_socket4(context);
    else if (context->protocol == bpf_htons(ETH_P_IPV6))
        ours = limpet_for_socket6(context);
    if (ours) context->mark = LIMPET_MARK_TRANSPARENT;
    return LIMPET_TC_OK;
}

#endif
