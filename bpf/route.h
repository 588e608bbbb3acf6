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

/* 0: fib holds device and addresses; otherwise TC must finish. The packet is not touched. */
LIMPET_INLINE int limpet_route_xdp(struct xdp_md* context, int family, const struct limpet_packet* packet,
                                   const void* entry, struct bpf_fib_lookup* fib) {
    limpet_fill_fib(fib, family, packet, entry);
    fib->tot_len = (__u16)packet->ip_length; /* larger than the link: TC */
    fib->ifindex = context->ingress_ifindex;
    return bpf_fib_lookup(context, fib, sizeof *fib, 0) == BPF_FIB_LKUP_RET_SUCCESS ? 0 : -1;
}

/* The index of the device a packet leaves by, or 0. The kernel's neighbour code writes the addresses, so a
 * missing or stale neighbour is resolved as for any routed packet. */
LIMPET_INLINE __u32 limpet_route_tc(struct __sk_buff* context, int family, const struct limpet_packet* packet,
                                    const void* entry) {
    struct bpf_fib_lookup fib = {};
    limpet_fill_fib(&fib, family, packet, entry);
    fib.ifindex = context->ifindex;
    long result = bpf_fib_lookup(context, &fib, sizeof fib, 0);
    if (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH) return fib.ifindex;
    if (result == BPF_FIB_LKUP_RET_BLACKHOLE || result == BPF_FIB_LKUP_RET_UNREACHABLE ||
        result == BPF_FIB_LKUP_RET_PROHIBIT)
        return 0;
    /* forwarding is off here, or the lookup does not know the way: what the daemon's socket used */
    return ((const struct limpet_flow*)entry)->egress_interface;
}

#endif
