/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limpet's data path. One packet's way: parse -> entry -> state -> route -> translate -> out.
 * TC is the whole data path; XDP does the common case earlier and leaves to TC, unchanged, what it cannot
 * finish. The other two programs are the guard on egress and the daemon's changes of state.
 */
#include "common.h"
#include "events.h"
#include "guard.h"
#include "icmp.h"
#include "maps.h"
#include "mark.h"
#include "park.h"
#include "parse.h"
#include "route.h"
#include "state.h"
#include "syn.h"
#include "transition.h"
#include "translate.h"

struct limpet_way {
    void* context;
    void* begin;
    void* end;
    __u32 length;
    __u32 interface_index;
    int tc;
    int in_pieces; /* XDP: the frame has more buffers than the first (jumbo frames) */
};

/* What becomes of a packet that has an entry; `parsed` is what the parser said of it. */
LIMPET_INLINE int limpet_decide(const struct limpet_way* way, int family, const void* key,
                                struct limpet_flow* flow, const struct limpet_packet* packet, int parsed,
                                __u32 now) {
    __u8 state = flow->state;
    /* In HOLD the host must not be given bytes that the note does not tell of, and these cannot be read. */
    int held = state == LIMPET_STATE_HOLD && !limpet_after(now, flow->tick);
    if (state != LIMPET_STATE_ACTIVE && state != LIMPET_STATE_CLOSING && !(held && parsed)) {
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
            if (way->tc && flow->state != LIMPET_STATE_RETIRED) limpet_count(LIMPET_REASON_PASSED_PENDING);
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
    struct limpet_known_way* out = 0;
    int layout = limpet_layout(packet, way->end);
    if (layout == LIMPET_LAYOUT_ODD || way->in_pieces || limpet_hops(family, packet) <= 1 ||
        limpet_route_xdp(context, family, packet, flow, now, &out)) {
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
    __builtin_memcpy(ethernet->h_dest, out->destination_mac, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, out->source_mac, ETH_ALEN);
    limpet_count(LIMPET_REASON_FORWARDED_XDP);
    return XDP_REDIRECT;
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

/* What a packet leaves to do beside a verdict: in a number, so that each is done with a stack of its own (the
 * kernel bounds that of all calls together). */
enum limpet_errand {
    LIMPET_ERRAND_ICMP = 1,     /* no TCP: an ICMP error perhaps */
    LIMPET_ERRAND_SYN = 2,      /* a SYN to the host; argument: length of its TCP header */
    LIMPET_ERRAND_COMPLAIN = 3, /* + enum limpet_complaint; argument: MTU */
};

LIMPET_INLINE int limpet_errand(__u32 errand, int family, __u32 argument) {
    return (int)(errand << 24 | (__u32)family << 16 | (argument & 0xffff));
}

/* A packet that is the host's: TC looks whether there is something to do about it, XDP leaves all of that to
 * TC. `packet` is none where it is not TCP. */
LIMPET_INLINE int limpet_other_tc(int family, const struct limpet_packet* packet) {
    if (!packet) return limpet_errand(LIMPET_ERRAND_ICMP, family, 0);
    if ((packet->flags & (LIMPET_TCP_SYN | LIMPET_TCP_ACK)) == LIMPET_TCP_SYN)
        return limpet_errand(LIMPET_ERRAND_SYN, family, packet->tcp_header);
    return LIMPET_TC_OK;
}

LIMPET_INLINE int limpet_other_xdp(int family, const struct limpet_packet* packet) {
    return XDP_PASS;
}

LIMPET_INLINE int limpet_forward_tc(struct __sk_buff* context, const struct limpet_way* way, int family,
                                    const void* key, struct limpet_flow* flow, struct limpet_packet* packet,
                                    __u32 now) {
    struct limpet_exit out = limpet_route_tc(context, family, packet, flow);
    if (out.complaint) return limpet_errand(LIMPET_ERRAND_COMPLAIN + (__u32)out.complaint, family, out.mtu);
    int verdict = limpet_follow(family, key, flow, packet, now);
    if (verdict == LIMPET_VERDICT_PASS) return limpet_other_tc(family, packet);
    if (verdict == LIMPET_VERDICT_DROP) return LIMPET_TC_SHOT;
    int layout = limpet_layout(packet, way->end);
    struct limpet_sums sums = {};
    if (verdict == LIMPET_VERDICT_PROBE) limpet_make_probe(flow, packet, &sums);
    limpet_translate(family, packet, layout, way->end, flow, &sums);
    context->mark = LIMPET_MARK;
    if (layout == LIMPET_LAYOUT_ODD && limpet_walk_tc(context, family, flow, packet, &sums)) {
        limpet_count(LIMPET_REASON_DROP_MALFORMED);
        return LIMPET_TC_SHOT;
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
    if (context->vlan_present) bpf_skb_vlan_pop(context);
    return (int)bpf_redirect_neigh(out.device, 0, 0, 0);
}

/* One family's way; a macro, so that keys and entries keep their types. */
#define LIMPET_WAY(family, key_type, drop, forward, other)                                \
    do {                                                                                  \
        struct key_type key = {};                                                         \
        struct limpet_packet packet = {};                                                 \
        int parsed = limpet_parse##family(way.begin, way.end, way.length, &packet, &key); \
        if (parsed == LIMPET_PARSE_OTHER) return other(family, 0);                        \
        struct limpet_flow* flow = bpf_map_lookup_elem(&limpet_flows##family, &key);      \
        if (!flow) return other(family, parsed ? 0 : &packet);                            \
        __u32 now = limpet_now();                                                         \
        int verdict = limpet_decide(&way, family, &key, flow, &packet, parsed, now);      \
        if (verdict == LIMPET_VERDICT_PASS) return other(family, parsed ? 0 : &packet);   \
        if (verdict == LIMPET_VERDICT_DROP) return drop;                                  \
        return forward(context, &way, family, &key, flow, &packet, now);                  \
    } while (0)

SEC("xdp.frags")
int limpet_xdp(struct xdp_md* context) {
    struct limpet_way way = {
        .context = context,
        .begin = (void*)(long)context->data,
        .end = (void*)(long)context->data_end,
        .interface_index = context->ingress_ifindex,
        .tc = 0,
    };
    way.length = (__u32)bpf_xdp_get_buff_len(context);
    way.in_pieces = way.length != (__u32)(way.end - way.begin);
    int family = limpet_family(way.begin, way.end);
    if (family == 4) LIMPET_WAY(4, limpet_key4, XDP_DROP, limpet_forward_xdp, limpet_other_xdp);
    if (family == 6) LIMPET_WAY(6, limpet_key6, XDP_DROP, limpet_forward_xdp, limpet_other_xdp);
    return XDP_PASS;
}

/* The headers must lie in the linear part: as many bytes as the longest TCP header may reach. */
#define LIMPET_PULL (ETH_HLEN + 40 + 60)

LIMPET_STEP int limpet_take(struct __sk_buff* context) {
    /* Not for this host; or of a VLAN, to whose own interface it comes again. A tag with the VLAN 0 is a
     * priority and no more (IEEE 802.1Q 9.6): the host takes such a packet as if it had none, and so do we.
     */
    if (context->pkt_type != 0) return LIMPET_TC_OK;
    if (context->vlan_present && (context->vlan_tci & 0xfff)) return LIMPET_TC_OK;
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
    if (family == 4) LIMPET_WAY(4, limpet_key4, LIMPET_TC_SHOT, limpet_forward_tc, limpet_other_tc);
    if (family == 6) LIMPET_WAY(6, limpet_key6, LIMPET_TC_SHOT, limpet_forward_tc, limpet_other_tc);
    return LIMPET_TC_OK;
}

LIMPET_INLINE int limpet_receive(struct __sk_buff* context) {
    __u32 verdict = (__u32)limpet_take(context);
    __u32 errand = verdict >> 24;
    int family = (int)(verdict >> 16 & 0xff);
    __u32 argument = verdict & 0xffff;
    if (errand == 0) return (int)verdict;
    if (errand == LIMPET_ERRAND_ICMP) return family == 4 ? limpet_icmp4(context) : limpet_icmp6(context);
    if (errand == LIMPET_ERRAND_SYN) return limpet_edit_offer(context, family, argument);
    return limpet_complain(context, family, (int)(errand - LIMPET_ERRAND_COMPLAIN), argument, limpet_now());
}

SEC("tc")
int limpet_ingress(struct __sk_buff* context) {
    int action = limpet_receive(context);
    return action == LIMPET_TC_OK ? limpet_mark(context) : action;
}

SEC("tc")
int limpet_egress(struct __sk_buff* context) {
    return limpet_guard(context) ? LIMPET_TC_SHOT : LIMPET_TC_OK;
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
