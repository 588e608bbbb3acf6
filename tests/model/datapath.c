/* SPDX-License-Identifier: GPL-2.0-only */
/* Stands for the kernel: maps with the entries of one connection, a lock that nobody contends (the model
 * interleaves whole critical sections), a ring of one event. */
#include "datapath.h"

#define SEC(name)
#define __uint(name, value)                    int(*name)[value]
#define __type(name, value)                    __typeof__(value)* name
#define __array(name, value)                   __typeof__(value)* name[]
#define bpf_spin_lock(lock)                    ((void)(lock))
#define bpf_spin_unlock(lock)                  ((void)(lock))
#define bpf_map_lookup_elem(map, key)          model_lookup((const void*)(map), key)
#define bpf_ringbuf_reserve(ring, size, flags) ((void)(ring), &model_event)
#define bpf_ringbuf_submit(event, flags)       ((void)(event), (void)model_events++)
#define bpf_ktime_get_coarse_ns()              ((__u64)model_now << LIMPET_TICK_SHIFT)

#include <linux/bpf.h>

static __u32 model_now;
struct limpet_event model_event;
int model_events;
static void* model_lookup(const void* map, const void* key);

#include "state.h"
#include "transition.h"

static void* model_lookup(const void* map, const void* key) {
    return map == (const void*)&limpet_flows4 ? model_find(key) : 0;
}

static struct limpet_packet packet_of(const struct model_packet* packet) {
    static struct tcphdr header;
    struct limpet_packet result = {0};
    result.tcp = &header;
    result.tcp_header = sizeof header;
    result.sequence = packet->sequence;
    result.acknowledgement = packet->acknowledgement;
    result.payload = packet->payload;
    result.flags = packet->flags;
    result.sequence_end = packet->sequence + packet->payload + !!(packet->flags & LIMPET_TCP_SYN) +
                          !!(packet->flags & LIMPET_TCP_FIN);
    return result;
}

int model_note(struct limpet_flow4* entry, const struct model_packet* packet, __u32 now) {
    struct limpet_packet whole = packet_of(packet);
    model_events = 0;
    model_now = now;
    return limpet_note((struct limpet_flow*)entry, &whole, whole.tcp + 1, now);
}

int model_follow(const struct limpet_key4* key, struct limpet_flow4* entry, const struct model_packet* packet,
                 __u32 now) {
    struct limpet_packet whole = packet_of(packet);
    model_events = 0;
    model_now = now;
    return limpet_follow(4, key, (struct limpet_flow*)entry, &whole, now);
}

void model_transit(struct limpet_command* command, __u32 now) {
    model_events = 0;
    model_now = now;
    limpet_change_pair(4, command);
}
