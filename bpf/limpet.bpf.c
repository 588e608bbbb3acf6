/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limpet's data path. One packet's way: parse -> entry -> state -> route -> translate -> out.
 * TC is the whole data path; XDP does the common case earlier and leaves to TC, unchanged, what it cannot
 * finish. The other two programs are the guard on egress and the daemon's changes of state.
 */
#include "common.h"
#include "events.h"
#include "guard.h"
#include "maps.h"
#include "park.h"
#include "parse.h"
#include "route.h"
#include "state.h"
#include "transition.h"
#include "translate.h"

#define TC_ACT_OK   0
#define TC_ACT_SHOT 2

struct limpet_way {
    void* context;
    void* begin;
    void* end;
    __u32 length;
    __u32 interface_index;
    int tc;
};

/* What becomes of a packet that has an entry; `parsed` is what the parser said of it. */
LIMPET_INLINE int limpet_decide(const struct limpet_way* way, int family, const void* key,
                                struct limpet_flow* flow, const struct limpet_packet* packet, int parsed,
                                __u32 now) {
    __u8 state = flow->state;
    if (state != LIMPET_STATE_ACTIVE && state != LIMPET_STATE_CLOSING) {
        if (parsed != LIMPET_PARSE_TCP) return LIMPET_VERDICT_PASS;
        int verdict = limpet_note(flow, packet, way->end, now);
        if (verdict == LIMPET_VERDICT_PARK) {
            struct limpet_park_order order = {family,      way->tc, flow->worker, way->interface_index,
                                              way->length, key};
            limpet_count(limpet_park(way->context, &order) ? LIMPET_REASON_PARK_OVERFLOW
                                                           : LIMPET_REASON_PARKED);
            return LIMPET_VERDICT_DROP;
        }
        if (verdict != LIMPET_VERDICT_FORWARD) {
            if (way->tc) limpet_count(LIMPET_REASON_PASSED_PENDING);
            return verdict;
        }
    }
    if (parsed != LIMPET_PARSE_TCP) {
        limpet_count(parsed == LIMPET_PARSE_FRAGMENT     ? LIMPET_REASON_DROP_FRAGMENT
                     : parsed == LIMPET_PARSE_IP_OPTIONS ? LIMPET_REASON_DROP_IP_OPTIONS
                                                         : LIMPET_REASON_DROP_MALFORMED);
        return LIMPET_VERDICT_DROP;
    }
    return LIMPET_VERDICT_FORWARD;
}

/* The bookkeeping of a packet that is certain to be forwarded by this program. */
LIMPET_INLINE int limpet_follow(int family, const void* key, struct limpet_flow* flow,
                                const struct limpet_packet* packet, __u32 now) {
    int verdict = LIMPET_VERDICT_FORWARD;
    if (packet->flags & (LIMPET_TCP_SYN | LIMPET_TCP_FIN | LIMPET_TCP_RST))
        verdict = limpet_mark_end(family, key, flow, packet);
    else if (flow->state == LIMPET_STATE_CLOSING && packet->payload &&
             flow->close_reason == LIMPET_REASON_END_RST)
        limpet_revive(family, flow);
    if (verdict == LIMPET_VERDICT_FORWARD) limpet_remember(flow, packet, now);
    return verdict;
}

LIMPET_INLINE int limpet_hops(int family, const struct limpet_packet* packet) {
    return family == 4 ? ((struct iphdr*)packet->ip)->ttl : ((struct ipv6hdr*)packet->ip)->hop_limit;
}

LIMPET_INLINE void limpet_translate(int family, struct limpet_packet* packet, int layout, const void* end,
                                    void* entry, struct limpet_sums* sums) {
    if (family == 4)
        limpet_translate4(packet, layout, end, entry, sums);
    else
        limpet_translate6(packet, layout, end, entry, sums);
}

LIMPET_INLINE int limpet_forward_xdp(struct xdp_md* context, const struct limpet_way* way, int family,
                                     const void* key, struct limpet_flow* flow, struct limpet_packet* packet,
                                     __u32 now) {
    struct bpf_fib_lookup fib = {};
    int layout = limpet_layout(packet, way->end);
    if (layout == LIMPET_LAYOUT_ODD || limpet_route_xdp(context, family, packet, flow, &fib)) {
        limpet_count(LIMPET_REASON_PASSED_UP);
        return XDP_PASS;
    }
    int verdict = limpet_follow(family, key, flow, packet, now);
    if (verdict == LIMPET_VERDICT_PASS) return XDP_PASS;
    if (verdict == LIMPET_VERDICT_DROP) return XDP_DROP;
    struct limpet_sums sums = {};
    if (verdict == LIMPET_VERDICT_PROBE) limpet_make_probe(flow, packet, &sums);
    limpet_translate(family, packet, layout, way->end, flow, &sums);
    packet->tcp->check = limpet_apply(packet->tcp->check, limpet_add(sums.pseudo, sums.rest));
    struct ethhdr* ethernet = way->begin;
    __builtin_memcpy(ethernet->h_dest, fib.dmac, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, fib.smac, ETH_ALEN);
    limpet_count(LIMPET_REASON_FORWARDED_XDP);
    return (int)bpf_redirect(fib.ifindex, 0);
}

/* Options in an unusual order are walked in a scratch space of this CPU, where any offset is in bounds. */
LIMPET_INLINE int limpet_walk_tc(struct __sk_buff* context, int family, struct limpet_flow* flow,
                                 const struct limpet_packet* packet, struct limpet_sums* sums) {
    __u32 zero = 0;
    struct limpet_walk* walk = bpf_map_lookup_elem(&limpet_scratch, &zero);
    if (!walk) return -1;
    __u32 offset =
        ETH_HLEN + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + sizeof(struct tcphdr);
    limpet_prepare_walk(walk, packet, flow, sums);
    __u32 length = walk->length;
    LIMPET_OPAQUE(length);
    if (length > 40) return -1;
    LIMPET_OPAQUE(length);
    if (length < 4) return -1; /* options come in words of 32 bits */
    if (bpf_skb_load_bytes(context, offset, walk->options, length)) return -1;
    limpet_walk_options(walk);
    limpet_finish_walk(walk, flow, sums);
    return bpf_skb_store_bytes(context, offset, walk->options, length, 0) ? -1 : 0;
}

LIMPET_INLINE int limpet_forward_tc(struct __sk_buff* context, const struct limpet_way* way, int family,
                                    const void* key, struct limpet_flow* flow, struct limpet_packet* packet,
                                    __u32 now) {
    __u32 device = limpet_route_tc(context, family, packet, flow);
    if (!device) {
        limpet_count(LIMPET_REASON_DROP_NO_ROUTE);
        return TC_ACT_SHOT;
    }
    int verdict = limpet_follow(family, key, flow, packet, now);
    if (verdict == LIMPET_VERDICT_PASS) return TC_ACT_OK;
    if (verdict == LIMPET_VERDICT_DROP) return TC_ACT_SHOT;
    int layout = limpet_layout(packet, way->end);
    struct limpet_sums sums = {};
    if (verdict == LIMPET_VERDICT_PROBE) limpet_make_probe(flow, packet, &sums);
    limpet_translate(family, packet, layout, way->end, flow, &sums);
    context->mark = LIMPET_MARK;
    if (layout == LIMPET_LAYOUT_ODD && limpet_walk_tc(context, family, flow, packet, &sums)) {
        limpet_count(LIMPET_REASON_DROP_MALFORMED);
        return TC_ACT_SHOT;
    }
    __u32 field = ETH_HLEN + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) +
                  __builtin_offsetof(struct tcphdr, check);
    bpf_l4_csum_replace(context, field, 0, limpet_fold32(sums.rest), 0);
#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7)
#endif
    /* IPv6 has no header checksum that would make up for the addresses in a sum over the whole packet;
     * kernels that do not know the flag refuse it */
    if (family != 6 ||
        bpf_l4_csum_replace(context, field, 0, limpet_fold32(sums.pseudo), BPF_F_PSEUDO_HDR | BPF_F_IPV6) < 0)
        bpf_l4_csum_replace(context, field, 0, limpet_fold32(sums.pseudo), BPF_F_PSEUDO_HDR);
    /* a device's sum over the whole packet; refused, and not needed, where there is none */
    if (family == 6) bpf_csum_update(context, limpet_fold32(sums.header6));
    limpet_count(LIMPET_REASON_FORWARDED_TC);
    return (int)bpf_redirect_neigh(device, 0, 0, 0);
}

/* One family's way; a macro, so that keys and entries keep their types. */
#define LIMPET_WAY(family, key_type, pass, drop, forward)                                 \
    do {                                                                                  \
        struct key_type key = {};                                                         \
        struct limpet_packet packet = {};                                                 \
        int parsed = limpet_parse##family(way.begin, way.end, way.length, &packet, &key); \
        if (parsed == LIMPET_PARSE_OTHER) return pass;                                    \
        struct limpet_flow* flow = bpf_map_lookup_elem(&limpet_flows##family, &key);      \
        if (!flow) return pass;                                                           \
        __u32 now = limpet_now();                                                         \
        int verdict = limpet_decide(&way, family, &key, flow, &packet, parsed, now);      \
        if (verdict == LIMPET_VERDICT_PASS) return pass;                                  \
        if (verdict == LIMPET_VERDICT_DROP) return drop;                                  \
        if (limpet_hops(family, &packet) <= 1) {                                          \
            limpet_count(LIMPET_REASON_DROP_TTL);                                         \
            return drop;                                                                  \
        }                                                                                 \
        return forward(context, &way, family, &key, flow, &packet, now);                  \
    } while (0)

SEC("xdp")
int limpet_xdp(struct xdp_md* context) {
    struct limpet_way way = {
        .context = context,
        .begin = (void*)(long)context->data,
        .end = (void*)(long)context->data_end,
        .interface_index = context->ingress_ifindex,
        .tc = 0,
    };
    way.length = (__u32)(way.end - way.begin);
    int family = limpet_family(way.begin, way.end);
    if (family == 4) LIMPET_WAY(4, limpet_key4, XDP_PASS, XDP_DROP, limpet_forward_xdp);
    if (family == 6) LIMPET_WAY(6, limpet_key6, XDP_PASS, XDP_DROP, limpet_forward_xdp);
    return XDP_PASS;
}

/* The headers must lie in the linear part: as many bytes as the longest TCP header may reach. */
#define LIMPET_PULL (ETH_HLEN + 40 + 60)

SEC("tc")
int limpet_ingress(struct __sk_buff* context) {
    if (context->pkt_type != 0 || context->vlan_present) return TC_ACT_OK; /* not for this host, or tagged */
    if (context->data + LIMPET_PULL > context->data_end)
        bpf_skb_pull_data(context, context->len < LIMPET_PULL ? context->len : LIMPET_PULL);
    struct limpet_way way = {
        .context = context,
        .begin = (void*)(long)context->data,
        .end = (void*)(long)context->data_end,
        .length = context->len,
        .interface_index = context->ifindex,
        .tc = 1,
    };
    int family = limpet_family(way.begin, way.end);
    if (family == 4) LIMPET_WAY(4, limpet_key4, TC_ACT_OK, TC_ACT_SHOT, limpet_forward_tc);
    if (family == 6) LIMPET_WAY(6, limpet_key6, TC_ACT_OK, TC_ACT_SHOT, limpet_forward_tc);
    return TC_ACT_OK;
}

SEC("tc")
int limpet_egress(struct __sk_buff* context) {
    return limpet_guard(context) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int limpet_transit(struct __sk_buff* context) {
    void* begin = (void*)(long)context->data;
    void* end = (void*)(long)context->data_end;
    struct limpet_command* command = begin;
    if ((void*)(command + 1) > end) return -1;
    if (command->family == 4)
        limpet_change_pair(4, command);
    else if (command->family == 6)
        limpet_change_pair(6, command);
    else
        return -1;
    return 0;
}

char limpet_license[] SEC("license") = "GPL";
