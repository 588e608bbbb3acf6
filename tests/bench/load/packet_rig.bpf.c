/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The three programs of the packet measure: a generator (run on live frames), the bare redirect that the fast
 * path is compared with, and a counter at the receiver, where TCP must not see what was generated.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "packet_rig.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct rig_settings);
} settings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, RIG_FRAMES);
    __type(key, __u32);
    __type(value, struct rig_frame);
} frames SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} counter SEC(".maps");

static __always_inline __u64 count_one(void) {
    __u32 zero = 0;
    __u64* value = bpf_map_lookup_elem(&counter, &zero);
    return value ? (*value)++ : 0;
}

/* A frame comes back for reuse as the gateway left it, so it is written whole each time. */
SEC("xdp")
int generate(struct xdp_md* context) {
    void* begin = (void*)(long)context->data;
    __u32 zero = 0;
    struct rig_settings* setting = bpf_map_lookup_elem(&settings, &zero);
    if (!setting || begin + RIG_FRAME_BYTES > (void*)(long)context->data_end) return XDP_ABORTED;
    __u32 number = (__u32)count_one() & setting->frame_mask;
    struct rig_frame* frame = bpf_map_lookup_elem(&frames, &number);
    if (!frame) return XDP_ABORTED;
    __builtin_memcpy(begin, frame->bytes, RIG_FRAME_BYTES);
    return (int)bpf_redirect(setting->device, 0);
}

static __always_inline int is_tcp4(const struct xdp_md* context) {
    const __u8* begin = (const __u8*)(long)context->data;
    if (begin + ETH_HLEN + 20 > (const __u8*)(long)context->data_end) return 0;
    const struct ethhdr* ethernet = (const struct ethhdr*)begin;
    return ethernet->h_proto == bpf_htons(ETH_P_IP) && begin[ETH_HLEN + 9] == 6;
}

/* The least that forwarding by XDP can do. */
SEC("xdp")
int redirect(struct xdp_md* context) {
    __u32 zero = 0;
    struct rig_settings* setting = bpf_map_lookup_elem(&settings, &zero);
    if (!setting || !is_tcp4(context)) return XDP_PASS;
    struct ethhdr* ethernet = (void*)(long)context->data;
    if ((void*)(ethernet + 1) > (void*)(long)context->data_end) return XDP_PASS;
    __builtin_memcpy(ethernet->h_dest, setting->destination, ETH_ALEN);
    __builtin_memcpy(ethernet->h_source, setting->source, ETH_ALEN);
    return (int)bpf_redirect(setting->device, 0);
}

SEC("xdp")
int count(struct xdp_md* context) {
    if (!is_tcp4(context)) return XDP_PASS;
    count_one();
    return XDP_DROP;
}

char bench_license[] SEC("license") = "GPL";
