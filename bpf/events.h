/* SPDX-License-Identifier: GPL-2.0-only */
/* What the data path tells the daemon. A lost event costs time only: the sweep finds the entry later. */
#ifndef LIMPET_BPF_EVENTS_H
#define LIMPET_BPF_EVENTS_H

#include "maps.h"

LIMPET_INLINE void limpet_tell_of(int family, const void* key, __u8 state, __u8 reason, __u32 sequence) {
    struct limpet_event* event = bpf_ringbuf_reserve(&limpet_events, sizeof *event, 0);
    if (!event) return;
    __builtin_memset(event, 0, sizeof *event);
    event->family = (__u8)family;
    event->state = state;
    event->reason = reason;
    event->sequence = sequence;
    __builtin_memcpy(event->key, key, family == 4 ? sizeof(struct limpet_key4) : sizeof(struct limpet_key6));
    bpf_ringbuf_submit(event, 0);
}

LIMPET_INLINE void limpet_tell(int family, const void* key, __u8 state, __u8 reason) {
    limpet_tell_of(family, key, state, reason, 0);
}

#endif
