/* SPDX-License-Identifier: GPL-2.0-only */
/* Parking: a packet that came in HOLD goes to its worker's ring, as it is, and off the wire. It was never
 * acknowledged, so its sender still owns it, whatever happens to the copy. */
#ifndef LIMPET_BPF_PARK_H
#define LIMPET_BPF_PARK_H

#include "maps.h"

/* Sizes of a ring record: a reservation must be constant, so frames go into the smallest that fits. */
#define LIMPET_PARK_SMALL  2048
#define LIMPET_PARK_MEDIUM 16384
#define LIMPET_PARK_LARGE  65620 /* the largest super-packet of IP and its Ethernet header */

struct limpet_park_order {
    int family;
    int tc;
    __u32 worker;
    __u32 interface_index;
    __u32 length;
    const void* key;
};

#define LIMPET_PARK_INTO(size)                                                                              \
    do {                                                                                                    \
        struct limpet_parked* record = bpf_ringbuf_reserve(ring, sizeof(struct limpet_parked) + (size), 0); \
        if (!record) return -1;                                                                             \
        __builtin_memset(record, 0, sizeof *record);                                                        \
        record->interface_index = order->interface_index;                                                   \
        record->length = order->length;                                                                     \
        record->family = (__u8)order->family;                                                               \
        record->l3_offset = ETH_HLEN;                                                                       \
        __builtin_memcpy(record->key, order->key,                                                           \
                         order->family == 4 ? sizeof(struct limpet_key4) : sizeof(struct limpet_key6));     \
        __u32 length = order->length;                                                                       \
        long failed = -1;                                                                                   \
        LIMPET_OPAQUE(length);                                                                              \
        if (length <= (size)) {                                                                             \
            LIMPET_OPAQUE(length);                                                                          \
            if (length >= ETH_HLEN)                                                                         \
                failed = order->tc ? bpf_skb_load_bytes(context, 0, record + 1, length)                     \
                                   : bpf_xdp_load_bytes(context, 0, record + 1, length);                    \
        }                                                                                                   \
        if (failed) {                                                                                       \
            bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);                                                  \
            return -1;                                                                                      \
        }                                                                                                   \
        bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP); /* the worker looks by itself */                      \
        return 0;                                                                                           \
    } while (0)

LIMPET_INLINE int limpet_park(void* context, const struct limpet_park_order* order) {
    __u32 worker = order->worker;
    void* ring = bpf_map_lookup_elem(&limpet_parking, &worker);
    if (!ring) return -1;
    if (order->length <= LIMPET_PARK_SMALL) LIMPET_PARK_INTO(LIMPET_PARK_SMALL);
    if (order->length <= LIMPET_PARK_MEDIUM) LIMPET_PARK_INTO(LIMPET_PARK_MEDIUM);
    if (!order->tc) return -1; /* no link has such frames: only the kernel's own super-packets are larger */
    LIMPET_PARK_INTO(LIMPET_PARK_LARGE);
}

#endif
