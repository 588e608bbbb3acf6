/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ICMP, as a router owes it to both ends of an active flow (TC only; XDP leaves all of it to TC):
 * - an error that a router or an end sends about a packet as it left us is given to the end that sent the
 * packet, and its quote becomes the packet as that end sent it (RFC 792, RFC 1191, RFC 4443, RFC 5508 4.1);
 * - a packet that cannot go on is answered: too big, hops used up, no route (RFC 1812 4.3.3, RFC 8200, RFC
 * 8201).
 */
#ifndef LIMPET_BPF_ICMP_H
#define LIMPET_BPF_ICMP_H

#include "checksum.h"
#include "maps.h"
#include "parse.h"
#include "route.h"

#define LIMPET_ICMP4 1
#define LIMPET_ICMP6 58

struct limpet_icmp {
    __u8 type;
    __u8 code;
    __be16 checksum;
    __be32 rest;
};

/* The first bytes of a TCP header, as far as an error quotes them (at least eight) and we look. */
struct limpet_quote {
    __be16 source_port;
    __be16 destination_port;
    __be32 sequence;
};

/* Errors of ours in a tick (17 ms) and on one CPU: some 1,000 a second. */
#define LIMPET_ICMP_PER_TICK 16

/* Which errors concern a connection: unreachable (with "fragmentation needed"), time exceeded, parameter
 * problem; for IPv6 also packet too big. */
LIMPET_INLINE int limpet_icmp_error(int family, __u8 type) {
    return family == 4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

/* The numbers of the quoted segment, back into those of the leg that it came from; `entry` is that of the
 * packets which answer it, so its shifts are the ones that undo the quoted one's. */
LIMPET_INLINE void limpet_unquote(struct limpet_quote* quote, const struct limpet_flow* flow,
                                  __be16 source_port, __be16 destination_port, struct limpet_sums* sums) {
    __be32 sequence = bpf_htonl(bpf_ntohl(quote->sequence) + flow->acknowledgement_delta);
    sums->rest = limpet_replace16(sums->rest, quote->source_port, source_port);
    sums->rest = limpet_replace16(sums->rest, quote->destination_port, destination_port);
    sums->rest = limpet_replace32(sums->rest, quote->sequence, sequence);
    quote->source_port = source_port;
    quote->destination_port = destination_port;
    quote->sequence = sequence;
}

LIMPET_INLINE int limpet_spliced(const struct limpet_flow* flow) {
    return flow->state == LIMPET_STATE_ACTIVE || flow->state == LIMPET_STATE_CLOSING;
}

/* Sends a rewritten error on. The way is looked up for the packet as it is now. */
LIMPET_INLINE int limpet_icmp_out(struct __sk_buff* context, struct bpf_fib_lookup* fib, __u32 hint) {
    fib->ifindex = context->ifindex;
    long result = bpf_fib_lookup(context, fib, sizeof *fib, 0);
    __u32 device = hint;
    if (result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH) device = fib->ifindex;
    if (!device) {
        limpet_count(LIMPET_REASON_DROP_ICMP);
        return LIMPET_TC_SHOT;
    }
    context->mark = LIMPET_MARK;
    limpet_count(LIMPET_REASON_ICMP_TRANSLATED);
    return (int)bpf_redirect_neigh(device, 0, 0, 0);
}

LIMPET_STEP int limpet_icmp4(struct __sk_buff* context) {
    void* end = (void*)(long)context->data_end;
    struct iphdr* ip = (void*)((__u8*)(long)context->data + ETH_HLEN);
    struct limpet_icmp* icmp = (void*)(ip + 1);
    struct iphdr* inner = (void*)(icmp + 1);
    struct limpet_quote* quote = (void*)(inner + 1);
    if ((void*)(quote + 1) > end) return LIMPET_TC_OK;
    if (ip->version != 4 || ip->ihl != 5 || ip->protocol != LIMPET_ICMP4 ||
        (ip->frag_off & bpf_htons(0x3fff)) || !limpet_icmp_error(4, icmp->type))
        return LIMPET_TC_OK;
    if (inner->version != 4 || inner->ihl != 5 || inner->protocol != IPPROTO_TCP) return LIMPET_TC_OK;
    struct limpet_key4 key = {inner->daddr, inner->saddr, quote->destination_port, quote->source_port};
    struct limpet_flow4* entry = bpf_map_lookup_elem(&limpet_flows4, &key);
    if (!entry || !limpet_spliced((struct limpet_flow*)entry)) return LIMPET_TC_OK;
    if (ip->ttl <= 1) {
        limpet_count(LIMPET_REASON_DROP_ICMP);
        return LIMPET_TC_SHOT;
    }
    struct limpet_sums sums = {};
    /* An end that speaks of itself is known to the other end by our address. */
    __be32 from = ip->saddr == inner->daddr ? entry->source : ip->saddr;
    __u64 header = limpet_replace32(0, ip->saddr, from);
    header = limpet_replace32(header, ip->daddr, entry->destination);
    header =
        limpet_replace16(header, bpf_htons((__u16)(ip->ttl << 8)), bpf_htons((__u16)((ip->ttl - 1) << 8)));
    ip->saddr = from;
    ip->daddr = entry->destination;
    ip->ttl--;
    ip->check = limpet_apply(ip->check, header);
    __u64 quoted = limpet_replace32(0, inner->saddr, entry->destination);
    quoted = limpet_replace32(quoted, inner->daddr, entry->source);
    inner->saddr = entry->destination;
    inner->daddr = entry->source;
    __be16 check = limpet_apply(inner->check, quoted);
    sums.rest = limpet_replace16(limpet_add(sums.rest, quoted), inner->check, check);
    inner->check = check;
    limpet_unquote(quote, (struct limpet_flow*)entry, entry->destination_port, entry->source_port, &sums);
    icmp->checksum = limpet_apply(icmp->checksum, sums.rest);
    struct bpf_fib_lookup fib = {};
    fib.family = AF_INET;
    fib.l4_protocol = LIMPET_ICMP4;
    fib.ipv4_src = from;
    fib.ipv4_dst = entry->destination;
    return limpet_icmp_out(context, &fib, ((struct limpet_flow*)entry)->egress_interface);
}

LIMPET_INLINE __u64 limpet_replace_address6(__u64 sum, __u8* address, const __u8* by) {
#pragma GCC unroll 4
    for (__u32 at = 0; at < 16; at += 4)
        sum = limpet_replace32(sum, limpet_load32(address + at), limpet_load32(by + at));
    __builtin_memcpy(address, by, 16);
    return sum;
}

LIMPET_INLINE int limpet_same_address6(const __u8* one, const __u8* other) {
    return limpet_load32(one) == limpet_load32(other) && limpet_load32(one + 4) == limpet_load32(other + 4) &&
           limpet_load32(one + 8) == limpet_load32(other + 8) &&
           limpet_load32(one + 12) == limpet_load32(other + 12);
}

LIMPET_STEP int limpet_icmp6(struct __sk_buff* context) {
    void* end = (void*)(long)context->data_end;
    struct ipv6hdr* ip = (void*)((__u8*)(long)context->data + ETH_HLEN);
    struct limpet_icmp* icmp = (void*)(ip + 1);
    struct ipv6hdr* inner = (void*)(icmp + 1);
    struct limpet_quote* quote = (void*)(inner + 1);
    if ((void*)(quote + 1) > end) return LIMPET_TC_OK;
    if (ip->version != 6 || ip->nexthdr != LIMPET_ICMP6 || !limpet_icmp_error(6, icmp->type))
        return LIMPET_TC_OK;
    if (inner->version != 6 || inner->nexthdr != IPPROTO_TCP) return LIMPET_TC_OK;
    struct limpet_key6 key = {};
    __builtin_memcpy(key.source, &inner->daddr, 16);
    __builtin_memcpy(key.destination, &inner->saddr, 16);
    key.source_port = quote->destination_port;
    key.destination_port = quote->source_port;
    struct limpet_flow6* entry = bpf_map_lookup_elem(&limpet_flows6, &key);
    if (!entry || !limpet_spliced((struct limpet_flow*)entry)) return LIMPET_TC_OK;
    if (ip->hop_limit <= 1) {
        limpet_count(LIMPET_REASON_DROP_ICMP);
        return LIMPET_TC_SHOT;
    }
    struct limpet_sums sums = {};
    if (limpet_same_address6((__u8*)&ip->saddr, key.source))
        sums.rest = limpet_replace_address6(sums.rest, (__u8*)&ip->saddr, entry->source);
    sums.rest = limpet_replace_address6(sums.rest, (__u8*)&ip->daddr, entry->destination);
    sums.rest = limpet_replace_address6(sums.rest, (__u8*)&inner->saddr, entry->destination);
    sums.rest = limpet_replace_address6(sums.rest, (__u8*)&inner->daddr, entry->source);
    limpet_unquote(quote, (struct limpet_flow*)entry, entry->destination_port, entry->source_port, &sums);
    icmp->checksum = limpet_apply(icmp->checksum, sums.rest);
    __u8 hops = ip->hop_limit;
    __u64 header = limpet_replace16(0, bpf_htons(hops), bpf_htons((__u16)(hops - 1)));
    ip->hop_limit = (__u8)(hops - 1);
    struct bpf_fib_lookup fib = {};
    fib.family = AF_INET6;
    fib.l4_protocol = LIMPET_ICMP6;
    __builtin_memcpy(fib.ipv6_src, &ip->saddr, 16);
    __builtin_memcpy(fib.ipv6_dst, &ip->daddr, 16);
    __u32 hint = ((struct limpet_flow*)entry)->egress_interface;
    bpf_csum_update(context,
                    limpet_fold32(header)); /* a device's sum over the whole packet (CHECKSUM_COMPLETE) */
    return limpet_icmp_out(context, &fib, hint);
}

LIMPET_INLINE int limpet_icmp_paced(__u32 now) {
    __u32 zero = 0;
    struct limpet_pace* pace = bpf_map_lookup_elem(&limpet_paces, &zero);
    if (!pace) return 1;
    if (pace->tick != now) {
        pace->tick = now;
        pace->sent = 0;
    }
    if (pace->sent >= LIMPET_ICMP_PER_TICK) return 1;
    pace->sent++;
    return 0;
}

/* Turns the packet into its own ICMP error and sends it back where it came from. What is quoted of TCP are
 * its first eight bytes as they came (RFC 792 asks for no more) and twelve whose checksum field is zero and
 * whose urgent pointer makes the sum of all twenty zero: so the error's checksum is right whether or not a
 * device still fills in the checksum of the segment that this was (CHECKSUM_PARTIAL). */
LIMPET_STEP int limpet_complain(struct __sk_buff* context, int family, int complaint, __u32 mtu, __u32 now) {
    const __u32 ip_header = family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
    const __u32 room = ip_header + sizeof(struct limpet_icmp);
    const __u32 quoted = ip_header + sizeof(struct tcphdr);
    if (limpet_icmp_paced(now)) {
        limpet_count(LIMPET_REASON_ICMP_PACED);
        return LIMPET_TC_SHOT;
    }
    if (context->vlan_present) bpf_skb_vlan_pop(context);
    if (bpf_skb_change_tail(context, ETH_HLEN + quoted, 0) ||
        bpf_skb_adjust_room(context, room, BPF_ADJ_ROOM_MAC, 0))
        return LIMPET_TC_SHOT;
    __u8* begin = (__u8*)(long)context->data;
    if (begin + ETH_HLEN + room + quoted > (__u8*)(long)context->data_end) return LIMPET_TC_SHOT;
    struct ethhdr* ethernet = (void*)begin;
    __u8 back[ETH_ALEN];
    __builtin_memcpy(back, ethernet->h_source, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
    __builtin_memcpy(ethernet->h_dest, back, ETH_ALEN);
    struct limpet_icmp* icmp = (void*)(begin + ETH_HLEN + ip_header);
    __u16* words = (void*)(begin + ETH_HLEN + room + ip_header);
    __u64 tcp = 0;
#pragma GCC unroll 10
    for (int word = 0; word < 10; word++) {
        if (word >= 8) words[word] = 0;
        tcp += words[word];
    }
    words[9] = (__u16)~limpet_fold16(tcp);
    __builtin_memset(icmp, 0, sizeof *icmp);
    __u64 sum = 0;
    if (family == 4) {
        struct iphdr* ip = (void*)(begin + ETH_HLEN);
        struct iphdr* inner = (void*)(icmp + 1);
        icmp->type = complaint == LIMPET_COMPLAINT_HOPS ? 11 : 3;
        icmp->code = complaint == LIMPET_COMPLAINT_TOO_BIG ? 4 : 0;
        icmp->rest = complaint == LIMPET_COMPLAINT_TOO_BIG ? bpf_htonl(mtu & 0xffff) : 0;
        /* the quoted header's sum is that of any right one: zero */
        sum = (__u64)(icmp->rest & 0xffff) + (icmp->rest >> 16) +
              bpf_htons((__u16)(icmp->type << 8 | icmp->code));
        icmp->checksum = (__u16)~limpet_fold16(sum);
        __builtin_memset(ip, 0, sizeof *ip);
        ip->version = 4;
        ip->ihl = 5;
        ip->tos = 0xc0; /* RFC 1812 4.3.2.5: internetwork control */
        ip->tot_len = bpf_htons((__u16)(room + quoted));
        ip->ttl = 64;
        ip->protocol = LIMPET_ICMP4;
        ip->saddr = inner->daddr;
        ip->daddr = inner->saddr;
        __u16* header = (void*)ip;
        sum = 0;
#pragma GCC unroll 10
        for (int word = 0; word < 10; word++) sum += header[word];
        ip->check = (__u16)~limpet_fold16(sum);
    } else {
        struct ipv6hdr* ip = (void*)(begin + ETH_HLEN);
        struct ipv6hdr* inner = (void*)(icmp + 1);
        icmp->type = complaint == LIMPET_COMPLAINT_TOO_BIG ? 2 : complaint == LIMPET_COMPLAINT_HOPS ? 3 : 1;
        icmp->rest = complaint == LIMPET_COMPLAINT_TOO_BIG ? bpf_htonl(mtu) : 0;
        __builtin_memset(ip, 0, sizeof *ip);
        ip->version = 6;
        ip->payload_len = bpf_htons((__u16)(sizeof *icmp + quoted));
        ip->nexthdr = LIMPET_ICMP6;
        ip->hop_limit = 64;
        __builtin_memcpy(&ip->saddr, &inner->daddr, 16);
        __builtin_memcpy(&ip->daddr, &inner->saddr, 16);
        /* the pseudo header, the ICMP header and the quoted IPv6 header; the quoted TCP header's sum is zero
         */
        sum = bpf_htons((__u16)(sizeof *icmp + quoted)) + (__u64)bpf_htons(LIMPET_ICMP6);
        sum += (__u64)(icmp->rest & 0xffff) + (icmp->rest >> 16) + bpf_htons((__u16)(icmp->type << 8));
        __u16* addresses = (void*)&ip->saddr;
        __u16* header = (void*)inner;
#pragma GCC unroll 16
        for (int word = 0; word < 16; word++) sum += addresses[word];
#pragma GCC unroll 20
        for (int word = 0; word < 20; word++) sum += header[word];
        icmp->checksum = (__u16)~limpet_fold16(sum);
    }
    context->mark = LIMPET_MARK;
    limpet_count(LIMPET_REASON_ICMP_SENT);
    return (int)bpf_redirect(context->ifindex, 0);
}

#endif
