/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The translator: one packet of an ACTIVE flow from the numbers of one leg to those of the other. A pure
 * function over (begin, end, entry), for XDP, TC and the host alike (docs/HANDOFF.md, "The deltas").
 */
#ifndef LIMPET_BPF_TRANSLATE_H
#define LIMPET_BPF_TRANSLATE_H

#include "checksum.h"
#include "parse.h"

#define LIMPET_OPTION_WINDOW_SCALE   3
#define LIMPET_OPTION_SACK_PERMITTED 4
#define LIMPET_OPTION_SACK           5
#define LIMPET_OPTION_TIMESTAMPS     8

/* Adds `delta` to the big-endian number at `address`, which lies `offset` bytes into the TCP header. */
LIMPET_INLINE void limpet_shift_number(void* address, __u32 offset, __u32 delta, struct limpet_sums* sums) {
    __u32 old = limpet_load32(address);
    __u32 shifted = bpf_htonl(bpf_ntohl(old) + delta);
    limpet_store32(address, shifted);
    sums->rest = limpet_replace32_at(sums->rest, offset, old, shifted);
}

/* RFC 7323 3.2: TSval of our own clock, TSecr of the peer's. A TSecr is only meaningful with ACK. */
LIMPET_INLINE void limpet_translate_timestamps(__u8* option, __u32 offset, __u8 tcp_flags,
                                               struct limpet_flow* flow, struct limpet_sums* sums) {
    flow->note_tsval = bpf_ntohl(limpet_load32(option + 2));
    limpet_shift_number(option + 2, offset + 2, flow->tsval_delta, sums);
    if (tcp_flags & LIMPET_TCP_ACK) limpet_shift_number(option + 6, offset + 6, flow->tsecr_delta, sums);
}

/* How the options lie. Nearly every segment that is not a SYN has one of the first four layouts, with each
 * option behind two NOPs (RFC 7323 appendix A); the numbers then lie at fixed, even offsets. */
enum limpet_layout {
    LIMPET_LAYOUT_NONE = 0,
    LIMPET_LAYOUT_TIMESTAMPS = 1,
    LIMPET_LAYOUT_SACK = 2,
    LIMPET_LAYOUT_BOTH = 3,
    LIMPET_LAYOUT_ODD = 4, /* anything else: walked one by one */
};

LIMPET_INLINE int limpet_layout(const struct limpet_packet* packet, const void* end) {
    __u8* options = (__u8*)(packet->tcp + 1);
    __u32 length = packet->tcp_header - sizeof *packet->tcp;
    if (length == 0) return LIMPET_LAYOUT_NONE;
    if (length < 12 || (const void*)(options + 12) > end) return LIMPET_LAYOUT_ODD;
    if (limpet_load32(options) == bpf_htonl(0x0101080a)) {
        if (length == 12) return LIMPET_LAYOUT_TIMESTAMPS;
        if (length < 24 || (const void*)(options + 24) > end) return LIMPET_LAYOUT_ODD;
        if (limpet_load32(options + 12) == bpf_htonl(0x01010500 + length - 14)) return LIMPET_LAYOUT_BOTH;
    } else if (limpet_load32(options) == bpf_htonl(0x01010500 + length - 2)) {
        return LIMPET_LAYOUT_SACK;
    }
    return LIMPET_LAYOUT_ODD;
}

/* RFC 2018 3: up to four pairs of edges, in the receiver's numbers, so they move like the ACK number. */
LIMPET_INLINE void limpet_translate_blocks(const struct limpet_packet* packet, __u32 offset, const void* end,
                                           const struct limpet_flow* flow, struct limpet_sums* sums) {
    __u8* address = (__u8*)packet->tcp + offset;
#pragma GCC unroll 8
    for (__u32 edge = 0; edge < 8; edge++) {
        if (offset + edge * 4 + 4 > packet->tcp_header || (const void*)(address + edge * 4 + 4) > end) break;
        limpet_shift_number(address + edge * 4, 0, flow->acknowledgement_delta, sums);
    }
}

LIMPET_INLINE void limpet_translate_layout(const struct limpet_packet* packet, int layout, const void* end,
                                           struct limpet_flow* flow, struct limpet_sums* sums) {
    __u8* options = (__u8*)(packet->tcp + 1);
    if (layout & LIMPET_LAYOUT_TIMESTAMPS) {
        if ((const void*)(options + 12) > end) return;
        if (flow->flags & LIMPET_FLOW_TIMESTAMPS)
            limpet_translate_timestamps(options + 2, 0, packet->flags, flow, sums);
    }
    if (layout == LIMPET_LAYOUT_SACK) limpet_translate_blocks(packet, 24, end, flow, sums);
    if (layout == LIMPET_LAYOUT_BOTH) limpet_translate_blocks(packet, 36, end, flow, sums);
}

/* Options that lie in an unusual order are copied here and walked. Everything is in memory that the verifier
 * does not follow, so that each step looks to it like any other. */
struct limpet_walk {
    __u8 options[128]; /* 40 bytes of options, and what a step may read behind them */
    __u32 length;
    __u32 sack_delta;
    __u32 tsval_delta;
    __u32 tsecr_delta;
    __u32 tsval; /* out, with tsval_seen */
    __u8 tsval_seen;
    __u8 timestamps; /* in: translate them */
    __u8 acknowledges;
    __u8 syn_edit; /* in; not 0: blank these instead of translating */
    __u64 sum;     /* in and out: limpet_sums.rest */
};

/* Each of the next functions is one of its own to the verifier, which so looks at it once and not at every
 * step of the loop that calls it; it asks each for the check of its pointer. */
LIMPET_WALKER int limpet_walk_number(struct limpet_walk* walk, __u32 offset, __u32 delta) {
    if (!walk) return 0;
    offset &= 127;
    if (offset > 124) return 0;
    __u32 old = limpet_load32(walk->options + offset);
    __u32 shifted = bpf_htonl(bpf_ntohl(old) + delta);
    limpet_store32(walk->options + offset, shifted);
    walk->sum = limpet_replace32_at(walk->sum, offset, old, shifted);
    return 0;
}

/* NOPs instead of an option of at most ten bytes. */
LIMPET_WALKER int limpet_blank_option(struct limpet_walk* walk, __u32 offset, __u32 size) {
    if (!walk) return 0;
    for (__u32 byte = 0; byte < 10; byte++) {
        if (byte >= size) break;
        __u32 at = (offset + byte) & 127;
        __u8 old = walk->options[at];
        walk->options[at] = 1;
        /* a byte at an even offset is the high one of its 16-bit word */
        __u32 shift = at & 1 ? 0 : 8;
        walk->sum =
            limpet_replace16(walk->sum, bpf_htons((__u16)(old << shift)), bpf_htons((__u16)(1 << shift)));
    }
    return 0;
}

/* What a translation does to one option. */
LIMPET_WALKER int limpet_walk_numbers(struct limpet_walk* walk, __u32 offset, __u32 kind, __u32 size) {
    if (!walk) return 0;
    if (kind == LIMPET_OPTION_TIMESTAMPS && size == 10 && walk->timestamps) {
        walk->tsval = bpf_ntohl(limpet_load32(walk->options + (offset & 63) + 2));
        walk->tsval_seen = 1;
        limpet_walk_number(walk, offset + 2, walk->tsval_delta);
        if (walk->acknowledges) limpet_walk_number(walk, offset + 6, walk->tsecr_delta);
    } else if (kind == LIMPET_OPTION_SACK) {
        for (__u32 edge = 2; edge < 34; edge += 4) {
            if (edge + 4 > size) break;
            limpet_walk_number(walk, offset + edge, walk->sack_delta);
        }
    }
    return 0;
}

/* Whether an option is one that a leg shall not offer (LIMPET_SYN_*). */
LIMPET_INLINE int limpet_unwanted(__u8 kind, __u8 syn_edit) {
    return (kind == LIMPET_OPTION_TIMESTAMPS && (syn_edit & LIMPET_SYN_NO_TIMESTAMPS)) ||
           (kind == LIMPET_OPTION_SACK_PERMITTED && (syn_edit & LIMPET_SYN_NO_SACK)) ||
           (kind == LIMPET_OPTION_WINDOW_SCALE && (syn_edit & LIMPET_SYN_NO_WINDOW_SCALE));
}

/* Translates numbers or, where `syn_edit` says so, overwrites with NOPs in a SYN what the other leg's end
 * does not do: what a leg does not agree on then is absent from both (docs/HANDOFF.md, "Parity"). `sum` takes
 * the change of the checksum. RFC 9293 3.1: a malformed option ends the walk, as it ends the receiver's: what
 * stands behind it is read by nobody. */
LIMPET_WALKER int limpet_walk_options(struct limpet_walk* walk) {
    if (!walk) return 0;
    __u32 offset = 0;
    for (int step = 0; step < 40; step++) {
        offset &= 63;
        if (offset >= walk->length) break;
        __u8 kind = walk->options[offset];
        if (kind == 0) break;
        __u32 size = kind == 1 ? 1 : walk->options[offset + 1];
        if (kind != 1 && (size < 2 || offset + size > walk->length)) break;
        if (!walk->syn_edit)
            limpet_walk_numbers(walk, offset, kind, size);
        else if (limpet_unwanted(kind, walk->syn_edit))
            limpet_blank_option(walk, offset, size);
        offset += size;
    }
    return 0;
}

LIMPET_INLINE void limpet_prepare_walk(struct limpet_walk* walk, const struct limpet_packet* packet,
                                       const struct limpet_flow* flow, const struct limpet_sums* sums) {
    walk->length = packet->tcp_header - (__u32)sizeof(struct tcphdr);
    walk->sack_delta = flow->acknowledgement_delta;
    walk->tsval_delta = flow->tsval_delta;
    walk->tsecr_delta = flow->tsecr_delta;
    walk->tsval_seen = 0;
    walk->timestamps = !!(flow->flags & LIMPET_FLOW_TIMESTAMPS);
    walk->acknowledges = !!(packet->flags & LIMPET_TCP_ACK);
    walk->syn_edit = 0;
    walk->sum = sums->rest;
}

LIMPET_INLINE void limpet_finish_walk(const struct limpet_walk* walk, struct limpet_flow* flow,
                                      struct limpet_sums* sums) {
    if (walk->tsval_seen) flow->note_tsval = walk->tsval;
    sums->rest = limpet_add(walk->sum & 0x1ffffffff, 0);
}

/* The window of a packet is in its sender's own scale; the receiver reads it in the scale that we announced
 * to it (RFC 7323 2.3). Never widened, and a window that was open is never closed by rounding. */
LIMPET_INLINE __u16 limpet_scale_window(__u16 window, __s8 shift) {
    if (shift == 0 || window == 0) return window;
    if (shift > 0) {
        __u32 wide = (__u32)window << (shift & 15);
        return wide > 65535 ? 65535 : (__u16)wide;
    }
    __u16 narrow = (__u16)(window >> (-shift & 15));
    return narrow ? narrow : 1;
}

LIMPET_INLINE void limpet_translate_tcp(struct limpet_packet* packet, int layout, const void* end,
                                        __be16 source_port, __be16 destination_port, struct limpet_flow* flow,
                                        struct limpet_sums* sums) {
    struct tcphdr* tcp = packet->tcp;
    sums->rest = limpet_replace16(sums->rest, tcp->source, source_port);
    sums->rest = limpet_replace16(sums->rest, tcp->dest, destination_port);
    tcp->source = source_port;
    tcp->dest = destination_port;
    limpet_shift_number(&tcp->seq, 4, flow->sequence_delta, sums);
    if (packet->flags & LIMPET_TCP_ACK)
        limpet_shift_number(&tcp->ack_seq, 8, flow->acknowledgement_delta, sums);
    if (flow->flags & LIMPET_FLOW_CLEAR_ECN) {
        __u8* flags = (__u8*)tcp + 13;
        __u8 cleared = (__u8)(*flags & ~(LIMPET_TCP_ECE | LIMPET_TCP_CWR));
        /* the flags are the second byte of their 16-bit word */
        sums->rest = limpet_replace16(sums->rest, bpf_htons(*flags), bpf_htons(cleared));
        *flags = cleared;
    }
    __u16 window = limpet_scale_window(bpf_ntohs(tcp->window), flow->window_shift);
    sums->rest = limpet_replace16(sums->rest, tcp->window, bpf_htons(window));
    tcp->window = bpf_htons(window);
    limpet_translate_layout(packet, layout, end, flow, sums);
}

/* One hop less, and ECN-capable transport cleared where only one leg negotiated it (RFC 3168 6.1). */
LIMPET_INLINE void limpet_translate4(struct limpet_packet* packet, int layout, const void* end,
                                     struct limpet_flow4* entry, struct limpet_sums* sums) {
    struct iphdr* ip = packet->ip;
    struct limpet_flow* flow = (struct limpet_flow*)entry;
    __u64 addresses = limpet_replace32(0, ip->saddr, entry->source);
    addresses = limpet_replace32(addresses, ip->daddr, entry->destination);
    __u64 header = addresses; /* 33 bits: the carry of a sum is a part of it */
    ip->saddr = entry->source;
    ip->daddr = entry->destination;
    sums->pseudo = limpet_add(sums->pseudo, addresses);
    __u8 tos = ip->tos;
    if (flow->flags & LIMPET_FLOW_CLEAR_ECN) tos &= 0xfc;
    header = limpet_replace16(header, bpf_htons(ip->tos), bpf_htons(tos));
    ip->tos = tos;
    header =
        limpet_replace16(header, bpf_htons((__u16)(ip->ttl << 8)), bpf_htons((__u16)((ip->ttl - 1) << 8)));
    ip->ttl--;
    ip->check = limpet_apply(ip->check, header);
    limpet_translate_tcp(packet, layout, end, entry->source_port, entry->destination_port, flow, sums);
}

LIMPET_INLINE void limpet_translate6(struct limpet_packet* packet, int layout, const void* end,
                                     struct limpet_flow6* entry, struct limpet_sums* sums) {
    struct ipv6hdr* ip = packet->ip;
    struct limpet_flow* flow = (struct limpet_flow*)entry;
    __u8* source = (__u8*)&ip->saddr;
    __u8* destination = (__u8*)&ip->daddr;
#pragma GCC unroll 4
    for (__u32 at = 0; at < 16; at += 4) {
        sums->pseudo =
            limpet_replace32(sums->pseudo, limpet_load32(source + at), limpet_load32(entry->source + at));
        sums->pseudo = limpet_replace32(sums->pseudo, limpet_load32(destination + at),
                                        limpet_load32(entry->destination + at));
    }
    __builtin_memcpy(source, entry->source, 16);
    __builtin_memcpy(destination, entry->destination, 16);
    if (flow->flags & LIMPET_FLOW_CLEAR_ECN) {
        __u8* traffic = (__u8*)ip + 1; /* low half of the traffic class, then the flow label */
        __u8 cleared = *traffic & 0xcf;
        sums->header6 = limpet_replace16(sums->header6, bpf_htons(*traffic), bpf_htons(cleared));
        *traffic = cleared;
    }
    __u8 hops = ip->hop_limit;
    sums->header6 = limpet_replace16(sums->header6, bpf_htons(hops), bpf_htons((__u16)(hops - 1)));
    ip->hop_limit = (__u8)(hops - 1);
    limpet_translate_tcp(packet, layout, end, entry->source_port, entry->destination_port, flow, sums);
}

#endif
