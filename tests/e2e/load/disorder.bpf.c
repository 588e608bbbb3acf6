/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An unkind network where netem is missing: what leaves an end host is lost, doubled, or taken off the wire
 * and handed to disorder.cpp, which sends it when others have overtaken it. On egress, because a loss on
 * ingress would take what GRO has merged; stolen instead of shot, because TCP would notice a drop on its own
 * host and wait.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "disorder.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct disorder_settings);
} settings SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct disorder_counts);
} counts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 22);
} frames SEC(".maps");

static __always_inline int is_tcp(struct __sk_buff* context) {
    __u8 protocol = 0;
    if (context->protocol == bpf_htons(ETH_P_IP))
        bpf_skb_load_bytes(context, ETH_HLEN + 9, &protocol, 1);
    else if (context->protocol == bpf_htons(ETH_P_IPV6))
        bpf_skb_load_bytes(context, ETH_HLEN + 6, &protocol, 1);
    return protocol == 6;
}

static __always_inline int drawn(__u32 share) {
    return share && bpf_get_prandom_u32() % DISORDER_WHOLE < share;
}

/* Copies the frame for disorder.cpp; 0 when that is not possible. */
static __always_inline int hand_over(struct __sk_buff* context) {
    struct disorder_frame* frame = bpf_ringbuf_reserve(&frames, sizeof *frame, 0);
    if (!frame) return 0;
    __u64 length = context->len;
    __asm__ volatile("" : "+r"(length)); /* one register is checked and used, or the verifier is lost */
    if (length < ETH_HLEN || length > DISORDER_FRAME_BYTES ||
        bpf_skb_load_bytes(context, 0, frame->bytes, length)) {
        bpf_ringbuf_discard(frame, 0);
        return 0;
    }
    frame->length = (__u32)length;
    bpf_ringbuf_submit(frame, 0);
    return 1;
}

SEC("tc")
int disorder(struct __sk_buff* context) {
    __u32 zero = 0;
    struct disorder_settings* setting = bpf_map_lookup_elem(&settings, &zero);
    struct disorder_counts* count = bpf_map_lookup_elem(&counts, &zero);
    if (!setting || !count || context->mark == DISORDER_MARK || !is_tcp(context)) return TC_ACT_OK;
    ++count->seen;
    if (drawn(setting->lose)) {
        ++count->lost;
        return TC_ACT_STOLEN;
    }
    if (drawn(setting->duplicate)) {
        __u32 mark = context->mark;
        context->mark = DISORDER_MARK;
        if (!bpf_clone_redirect(context, setting->device, 0)) ++count->duplicated;
        context->mark = mark;
    }
    if (drawn(setting->late)) {
        if (hand_over(context)) {
            ++count->late;
            return TC_ACT_STOLEN;
        }
        ++count->untouched;
    }
    return TC_ACT_OK;
}

char disorder_license[] SEC("license") = "GPL";
