/* SPDX-License-Identifier: GPL-2.0-only */
/* Egress: the host's own TCP must not speak on a flow that left it (invariant I2). What it tries to say is
 * dropped and counted; the counter is the proof that nothing of an active flow reached the host. Here too our
 * own SYNs to brokers are edited. */
#ifndef LIMPET_BPF_GUARD_H
#define LIMPET_BPF_GUARD_H

#include "maps.h"
#include "parse.h"
#include "syn.h"

LIMPET_INLINE int limpet_guard(struct __sk_buff* context) {
    if (context->mark == LIMPET_MARK) return 0;
    void* begin = (void*)(long)context->data;
    void* end = (void*)(long)context->data_end;
    int family = limpet_family(begin, end);
    struct limpet_packet packet = {};
    struct limpet_flow* flow = 0;
    if (family == 4) {
        struct limpet_key4 key = {}, reverse = {};
        if (limpet_parse4(begin, end, context->len, &packet, &key) != LIMPET_PARSE_TCP) return 0;
        reverse.source = key.destination;
        reverse.destination = key.source;
        reverse.source_port = key.destination_port;
        reverse.destination_port = key.source_port;
        flow = bpf_map_lookup_elem(&limpet_flows4, &reverse);
    } else if (family == 6) {
        struct limpet_key6 key = {}, reverse = {};
        if (limpet_parse6(begin, end, context->len, &packet, &key) != LIMPET_PARSE_TCP) return 0;
        __builtin_memcpy(reverse.source, key.destination, 16);
        __builtin_memcpy(reverse.destination, key.source, 16);
        reverse.source_port = key.destination_port;
        reverse.destination_port = key.source_port;
        flow = bpf_map_lookup_elem(&limpet_flows6, &reverse);
    }
    if (!flow) return 0;
    if (flow->state == LIMPET_STATE_PENDING && flow->syn_edit && (packet.flags & LIMPET_TCP_SYN))
        return limpet_edit_syn(context, family, flow->syn_edit, packet.tcp_header);
    if (flow->state != LIMPET_STATE_ACTIVE && flow->state != LIMPET_STATE_CLOSING) return 0;
    limpet_count(context->mark == LIMPET_MARK_LEAVING ? LIMPET_REASON_GUARD_GRACE_PACKET
                                                      : LIMPET_REASON_GUARD_HOST_PACKET);
    return -1;
}

#endif
