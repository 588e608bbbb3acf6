/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps: names are at most 15 characters, so that the kernel keeps them whole. */
#ifndef LIMPET_BPF_MAPS_H
#define LIMPET_BPF_MAPS_H

#include "translate.h"

/* Not LRU: an evicted entry would be a killed connection. Not preallocated: memory follows the connections.
 */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 2000000); /* two a connection; the daemon sets it from max_flows */
    __type(key, struct limpet_key4);
    __type(value, struct limpet_flow4);
} limpet_flows4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 2000000);
    __type(key, struct limpet_key6);
    __type(value, struct limpet_flow6);
} limpet_flows6 SEC(".maps");

/* enum limpet_reason -> packets */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, LIMPET_REASON_SLOTS);
    __type(key, __u32);
    __type(value, __u64);
} limpet_counters SEC(".maps");

/* Written by the daemon, kept with the flows. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct limpet_settings);
} limpet_setting SEC(".maps");

/* struct limpet_event: what the data path changed by itself. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 20);
} limpet_events SEC(".maps");

/* Where a CPU walks the options of one packet (translate.h). */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct limpet_walk);
} limpet_scratch SEC(".maps");

/* Listeners whose clients' SYNs are edited; written by the daemon. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, struct limpet_offer_key);
    __type(value, struct limpet_offer);
} limpet_offers SEC(".maps");

/* Interfaces to which XDP may redirect, by their index: what is missing here (a VLAN, a bridge, a veth whose
 * peer takes no XDP frames) would swallow the packet, so it is left to TC. Written by the daemon. */
struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
    __uint(max_entries, 256);
    __type(key, __u32);
    __type(value, __u32);
} limpet_devices SEC(".maps");

/* The way of a packet as it was looked up in this tick, by one CPU; a tick later it is looked up again. */
struct limpet_known_way {
    __u32 tick;
    __u32 ingress;
    __u32 egress;
    __u16 mtu;
    __u8 family;
    __u8 tos;
    __u8 destination_mac[6];
    __u8 source_mac[6];
    struct limpet_key6
        tuple; /* of the packet as it leaves; IPv4: the first 12 bytes, as struct limpet_key4 */
};

#define LIMPET_KNOWN_WAYS 1024 /* a power of two */

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, LIMPET_KNOWN_WAYS);
    __type(key, __u32);
    __type(value, struct limpet_known_way);
} limpet_ways SEC(".maps");

/* ICMP errors of our own in this tick (RFC 1812 4.3.2.8, RFC 4443 2.4 (f): their rate must be bounded). */
struct limpet_pace {
    __u32 tick;
    __u32 sent;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct limpet_pace);
} limpet_paces SEC(".maps");

struct limpet_ring {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4 << 20);
};

/* One parking ring a worker; the daemon fills it in. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 64);
    __type(key, __u32);
    __array(values, struct limpet_ring);
} limpet_parking SEC(".maps");

LIMPET_INLINE void limpet_count(__u32 reason) {
    __u64* counter = bpf_map_lookup_elem(&limpet_counters, &reason);
    if (counter) *counter += 1; /* per CPU, and not interrupted by another program of ours */
}

LIMPET_INLINE __u32 limpet_now(void) {
    return (__u32)(bpf_ktime_get_coarse_ns() >> LIMPET_TICK_SHIFT);
}

LIMPET_INLINE void* limpet_lookup(int family, const void* key) {
    return family == 4 ? bpf_map_lookup_elem(&limpet_flows4, key) : bpf_map_lookup_elem(&limpet_flows6, key);
}

/* The key under which the receiver of this entry's packets answers: the other direction of the flow. */
LIMPET_INLINE struct limpet_flow* limpet_peer(int family, const void* entry) {
    if (family == 4) {
        const struct limpet_flow4* flow = entry;
        struct limpet_key4 key = {flow->destination, flow->source, flow->destination_port, flow->source_port};
        return bpf_map_lookup_elem(&limpet_flows4, &key);
    }
    const struct limpet_flow6* flow = entry;
    struct limpet_key6 key;
    __builtin_memcpy(key.source, flow->destination, 16);
    __builtin_memcpy(key.destination, flow->source, 16);
    key.source_port = flow->destination_port;
    key.destination_port = flow->source_port;
    return bpf_map_lookup_elem(&limpet_flows6, &key);
}

#endif
