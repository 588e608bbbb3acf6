/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a translated packet leaves. XDP finishes what a complete neighbour entry allows; TC does all else. */
#ifndef LIMPET_BPF_ROUTE_H
#define LIMPET_BPF_ROUTE_H

#include "maps.h"
#include "parse.h"

#ifndef AF_INET
#define AF_INET  2
#define AF_INET6 10
#endif

LIMPET_INLINE void limpet_fill_fib(struct bpf_fib_lookup* fib, int family, const struct limpet_packet* packet,
                                   const void* entry) {
    fib->l4_protocol = IPPROTO_TCP;
    if (family == 4) {
        const struct limpet_flow4* flow = entry;
        fib->family = AF_INET;
        fib->tos = ((struct iphdr*)packet->ip)->tos & 0x1c;
        fib->ipv4_src = flow->source;
        fib->ipv4_dst = flow->destination;
        fib->sport = flow->source_port;
        fib->dport = flow->destination_port;
    } else {
        const struct limpet_flow6* flow = entry;
        fib->family = AF_INET6;
        __builtin_memcpy(fib->ipv6_src, flow->source, 16);
        __builtin_memcpy(fib->ipv6_dst, flow->destination, 16);
        fib->sport = flow->source_port;
        fib->dport = flow->destination_port;
    }
}

/* Tuples as they leave, word by word. */
LIMPET_INLINE const __u8* limpet_exit_tuple(int family, const void* entry) {
    return family == 4 ? (const __u8*)&((const struct limpet_flow4*)entry)->source
                       : (const __u8*)((const struct limpet_flow6*)entry)->source;
}

LIMPET_INLINE int limpet_way_fits(const struct limpet_known_way* way, int family, const void* entry) {
    const __u8* tuple = limpet_exit_tuple(family, entry);
    const __u8* known = (const __u8*)&way->tuple;
    const __u32 size = family == 4 ? sizeof(struct limpet_key4) : sizeof(struct limpet_key6);
#pragma GCC unroll 9
    for (__u32 at = 0; at < size; at += 4)
        if (limpet_load32(tuple + at) != limpet_load32(known + at)) return 0;
    return 1;
}

/* 0: `way` holds the addresses, and the device is chosen; otherwise TC must finish. The packet is not
 * touched. The routing table is asked once in a tick (17 ms) for a flow: that is how late a change of route
 * is followed. */
LIMPET_INLINE int limpet_route_xdp(struct xdp_md* context, int family, const struct limpet_packet* packet,
                                   const void* entry, __u32 now, struct limpet_known_way** way) {
    const __u8* tuple = limpet_exit_tuple(family, entry);
    const __u32 size = family == 4 ? sizeof(struct limpet_key4) : sizeof(struct limpet_key6);
    __u8 tos = family == 4 ? ((struct iphdr*)packet->ip)->tos & 0x1c : 0;
    __u32 slot = limpet_load32(tuple + size - 4);
    slot = (slot ^ slot >> 16 ^ slot >> 8) & (LIMPET_KNOWN_WAYS - 1);
    struct limpet_known_way* known = bpf_map_lookup_elem(&limpet_ways, &slot);
    if (!known) return -1;
    *way = known;
    if (known->tick != now || known->ingress != context->ingress_ifindex || known->family != family ||
        known->tos != tos || !limpet_way_fits(known, family, entry)) {
        struct bpf_fib_lookup fib = {};
        limpet_fill_fib(&fib, family, packet, entry);
        fib.tot_len = (__u16)packet->ip_length; /* larger than the link: TC */
        fib.ifindex = context->ingress_ifindex;
        if (bpf_fib_lookup(context, &fib, sizeof fib, 0) != BPF_FIB_LKUP_RET_SUCCESS) return -1;
        known->tick = now;
        known->ingress = context->ingress_ifindex;
        known->egress = fib.ifindex;
        known->mtu = fib.mtu_result;
        known->family = (__u8)family;
        known->tos = tos;
        __builtin_memcpy(known->destination_mac, fib.dmac, ETH_ALEN);
        __builtin_memcpy(known->source_mac, fib.smac, ETH_ALEN);
        __builtin_memcpy(&known->tuple, tuple, size);
    }
    if (packet->ip_length > known->mtu) return -1;
    /* chosen now, while the packet is as it came; it takes effect with the verdict XDP_REDIRECT */
    return bpf_redirect_map(&limpet_devices, known->egress, XDP_PASS) == XDP_REDIRECT ? 0 : -1;
}

/* Why a packet cannot go on, and what its sender is told (icmp.h). */
enum limpet_complaint {
    LIMPET_COMPLAINT_NONE = 0,
    LIMPET_COMPLAINT_TOO_BIG = 1,
    LIMPET_COMPLAINT_HOPS = 2,
    LIMPET_COMPLAINT_NO_ROUTE = 3,
};

/* Where a packet leaves by TC. */
struct limpet_exit {
    int complaint;
    __u32 device; /* its index */
    __u32 mtu;    /* TOO_BIG: the largest packet that the way takes, bytes */
};

LIMPET_INLINE int limpet_hops(int family, const struct limpet_packet* packet) {
    return family == 4 ? ((struct iphdr*)packet->ip)->ttl : ((struct ipv6hdr*)packet->ip)->hop_limit;
}

/* The kernel's neighbour code writes the addresses, so a missing or stale neighbour is resolved as for any
 * routed packet. A super-packet is as large as the segments that it will be cut into. */
LIMPET_INLINE struct limpet_exit limpet_route_tc(struct __sk_buff* context, int family,
                                                 const struct limpet_packet* packet, const void* entry) {
    struct limpet_exit out = {};
    struct bpf_fib_lookup fib = {};
    if (limpet_hops(family, packet) <= 1) {
        out.complaint = LIMPET_COMPLAINT_HOPS;
        limpet_count(LIMPET_REASON_DROP_TTL);
        return out;
    }
    limpet_fill_fib(&fib, family, packet, entry);
    __u32 headers = packet->ip_length - packet->payload;
    __u32 segment = context->gso_size;
    if (!segment || headers + segment > packet->ip_length) segment = packet->payload;
    fib.tot_len = (__u16)(headers + segment);
    fib.ifindex = context->ifindex;
    long result = bpf_fib_lookup(context, &fib, sizeof fib, 0);
    if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
        out.complaint = LIMPET_COMPLAINT_TOO_BIG;
        out.mtu = fib.mtu_result;
        limpet_count(LIMPET_REASON_DROP_TOO_BIG);
        return out;
    }
    if (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH)
        out.device = fib.ifindex;
    else if (result != BPF_FIB_LKUP_RET_BLACKHOLE && result != BPF_FIB_LKUP_RET_UNREACHABLE &&
             result != BPF_FIB_LKUP_RET_PROHIBIT)
        /* forwarding is off here, or the lookup does not know the way: what the daemon's socket used */
        out.device = ((const struct limpet_flow*)entry)->egress_interface;
    if (!out.device) {
        out.complaint = LIMPET_COMPLAINT_NO_ROUTE;
        limpet_count(LIMPET_REASON_DROP_NO_ROUTE);
    }
    return out;
}

#endif
