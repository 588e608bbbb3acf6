/* SPDX-License-Identifier: GPL-2.0-only */
/* Both legs of a connection must agree on timestamps, SACK and window scaling. What one end does not do is
 * left out of the offer to the other, by editing SYNs: our own to a broker on their way out (guard.h), a
 * client's to a listener before the host sees it (docs/HANDOFF.md, "Parity"). */
#ifndef LIMPET_BPF_SYN_H
#define LIMPET_BPF_SYN_H

#include "maps.h"
#include "parse.h"

/* Overwrites with NOPs what `edit` (LIMPET_SYN_*) says. Always 0: a SYN that could not be edited goes on as
 * it is, and its connection is relayed for a named reason. */
LIMPET_INLINE int limpet_edit_syn(struct __sk_buff* context, int family, __u8 edit, __u32 tcp_header) {
    __u32 zero = 0;
    struct limpet_walk* walk = bpf_map_lookup_elem(&limpet_scratch, &zero);
    if (!walk) return 0;
    __u32 tcp = ETH_HLEN + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
    walk->length = tcp_header - sizeof(struct tcphdr);
    walk->syn_edit = edit;
    walk->sum = 0;
    __u32 length = walk->length;
    LIMPET_OPAQUE(length);
    if (length > 40) return 0;
    LIMPET_OPAQUE(length);
    if (length < 4) return 0; /* options come in words of 32 bits */
    if (bpf_skb_load_bytes(context, tcp + sizeof(struct tcphdr), walk->options, length)) return 0;
    limpet_walk_options(walk);
    if (bpf_skb_store_bytes(context, tcp + sizeof(struct tcphdr), walk->options, length, 0)) return 0;
    bpf_l4_csum_replace(context, tcp + __builtin_offsetof(struct tcphdr, check), 0,
                        limpet_fold32(walk->sum & 0x1ffffffff), 0);
    return 0;
}

/* A client's SYN to a listener whose brokers do not do all that it may offer. The verdict is always OK. */
LIMPET_STEP int limpet_edit_offer(struct __sk_buff* context, int family, __u32 tcp_header) {
    struct limpet_offer_key key = {};
    key.family = (__u8)family;
    long failed;
    if (family == 4) {
        failed = bpf_skb_load_bytes(context, ETH_HLEN + 16, key.address, 4) |
                 bpf_skb_load_bytes(context, ETH_HLEN + sizeof(struct iphdr) + 2, &key.port, 2);
    } else {
        failed = bpf_skb_load_bytes(context, ETH_HLEN + 24, key.address, 16) |
                 bpf_skb_load_bytes(context, ETH_HLEN + sizeof(struct ipv6hdr) + 2, &key.port, 2);
    }
    if (failed) return 0;
    const struct limpet_offer* offer = bpf_map_lookup_elem(&limpet_offers, &key);
    if (!offer) {
        __builtin_memset(key.address, 0, sizeof key.address); /* a listener on every address */
        offer = bpf_map_lookup_elem(&limpet_offers, &key);
    }
    if (!offer || !offer->syn_edit) return 0;
    limpet_count(LIMPET_REASON_SYN_EDITED);
    return limpet_edit_syn(context, family, offer->syn_edit, tcp_header);
}

#endif
