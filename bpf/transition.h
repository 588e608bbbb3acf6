/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Changes of state on the daemon's behalf. It runs as a TC program under BPF_PROG_RUN with the command as its
 * frame: that takes an entry's lock on every kernel that has locks in maps, while programs that may
 * sleep (SEC("syscall")) take them only on newer ones.
 */
#ifndef LIMPET_BPF_TRANSITION_H
#define LIMPET_BPF_TRANSITION_H

#include "events.h"

/* Whether `operation` may be done to an entry in this `state`; `why` is what closed it. */
LIMPET_INLINE int limpet_allowed(__u8 operation, __u8 state, __u8 why) {
    switch (operation) {
        case LIMPET_OPERATION_READ:
            return 1;
        case LIMPET_OPERATION_HOLD:
            return state == LIMPET_STATE_PENDING || state == LIMPET_STATE_HOLD;
        case LIMPET_OPERATION_RELEASE:
        case LIMPET_OPERATION_ACTIVATE:
            return state == LIMPET_STATE_HOLD;
        case LIMPET_OPERATION_RETIRE:
            return state != LIMPET_STATE_RETIRED;
        case LIMPET_OPERATION_RENEW:
            return state == LIMPET_STATE_RETIRED;
        case LIMPET_OPERATION_CLOSE:
        case LIMPET_OPERATION_MARK:
        case LIMPET_OPERATION_UNMARK:
            return state == LIMPET_STATE_ACTIVE || state == LIMPET_STATE_CLOSING;
        case LIMPET_OPERATION_REOPEN:
            return state == LIMPET_STATE_CLOSING && why == LIMPET_REASON_END_FIN;
        default:
            return 0;
    }
}

/* The part of ACTIVATE that depends on the family: what packets look like as they leave. */
LIMPET_INLINE void limpet_write_exit(int family, void* entry, const struct limpet_leg* leg) {
    if (family == 4) {
        struct limpet_flow4* flow = entry;
        flow->source = *(const __be32*)leg->source;
        flow->destination = *(const __be32*)leg->destination;
        flow->source_port = leg->source_port;
        flow->destination_port = leg->destination_port;
        __builtin_memcpy(flow->id_part, leg->id_part, LIMPET_ID_PART4);
        return;
    }
    struct limpet_flow6* flow = entry;
    __builtin_memcpy(flow->source, leg->source, 16);
    __builtin_memcpy(flow->destination, leg->destination, 16);
    flow->source_port = leg->source_port;
    flow->destination_port = leg->destination_port;
    __builtin_memcpy(flow->id_part, leg->id_part, LIMPET_ID_PART6);
}

/* The generation of a tuple's next life: the tick that is wanted, or, where the last life was no longer than
 * a tick, one behind that life's. Who ends the old one must not take the new one for it. 0 means none. */
LIMPET_INLINE __u32 limpet_later_generation(__u32 wanted, __u32 last) {
    __u32 generation = limpet_after(wanted, last) ? wanted : last + 1;
    return generation ? generation : 1;
}

/* `refused`: it is not allowed, whatever the state; the leg is only read. */
LIMPET_INLINE void limpet_change_leg(int family, const struct limpet_command* command, struct limpet_leg* leg,
                                     int refused, __u32 now) {
    if (!leg->present) return;
    void* entry;
    if (family == 4) {
        struct limpet_key4 key;
        __builtin_memcpy(&key, leg->key, sizeof key);
        entry = bpf_map_lookup_elem(&limpet_flows4, &key);
    } else {
        struct limpet_key6 key;
        __builtin_memcpy(&key, leg->key, sizeof key);
        entry = bpf_map_lookup_elem(&limpet_flows6, &key);
    }
    if (!entry) {
        leg->result = LIMPET_RESULT_MISSING;
        return;
    }
    struct limpet_flow* flow = entry;
    __u8 operation = command->operation;
    bpf_spin_lock(&flow->lock);
    int generation_fits =
        operation != LIMPET_OPERATION_RETIRE || !leg->created || leg->created == flow->created;
    if (refused || !limpet_allowed(operation, flow->state, flow->close_reason) || !generation_fits) {
        leg->result = LIMPET_RESULT_WRONG_STATE;
    } else {
        leg->result = LIMPET_RESULT_OK;
        switch (operation) {
            case LIMPET_OPERATION_HOLD:
                flow->tick = leg->tick;
                flow->worker = command->worker;
                flow->flags &= (__u8)~LIMPET_FLOW_PARKED;
                flow->state = LIMPET_STATE_HOLD;
                break;
            case LIMPET_OPERATION_RELEASE:
                flow->tick = now;
                flow->flags &= (__u8)~LIMPET_FLOW_PARKED;
                flow->state = LIMPET_STATE_PENDING;
                break;
            case LIMPET_OPERATION_ACTIVATE:
                flow->sequence_delta = leg->sequence_delta;
                flow->acknowledgement_delta = leg->acknowledgement_delta;
                flow->tsval_delta = leg->tsval_delta;
                flow->tsecr_delta = leg->tsecr_delta;
                flow->window_shift = leg->window_shift;
                flow->flags |= leg->flags;
                flow->idle_ticks = leg->idle_ticks;
                flow->egress_interface = leg->egress_interface;
                flow->stick_seconds = leg->stick_seconds;
                flow->client_hash = leg->client_hash;
                flow->id_length = leg->id_length;
                flow->tick = now;
                limpet_write_exit(family, entry, leg);
                /* readers of ACTIVE take no lock: everything above must be seen before the state is */
                asm volatile("" ::: "memory");
                flow->state = LIMPET_STATE_ACTIVE;
                break;
            case LIMPET_OPERATION_RETIRE:
                flow->tick = now;
                flow->close_reason = leg->close_reason;
                flow->state = LIMPET_STATE_RETIRED;
                break;
            case LIMPET_OPERATION_RENEW:
                flow->flags = leg->flags;
                flow->syn_edit = leg->syn_edit;
                flow->close_reason = 0;
                flow->created = limpet_later_generation(leg->created, flow->created);
                flow->bytes = 0;
                flow->packets = 0;
                flow->idle_ticks = 0;
                flow->client_hash = 0;
                flow->egress_interface = 0;
                flow->id_length = 0;
                flow->tick = now;
                flow->state = LIMPET_STATE_PENDING;
                break;
            case LIMPET_OPERATION_CLOSE:
                flow->close_reason = leg->close_reason;
                flow->state = LIMPET_STATE_CLOSING;
                break;
            case LIMPET_OPERATION_MARK:
                flow->flags |= leg->flags;
                break;
            case LIMPET_OPERATION_UNMARK:
                flow->flags &= (__u8)~leg->flags;
                break;
            case LIMPET_OPERATION_REOPEN:
                flow->flags &= (__u8)~leg->flags;
                flow->close_reason = 0;
                flow->state = LIMPET_STATE_ACTIVE;
                break;
            default:
                break;
        }
    }
    leg->egress_interface = flow->egress_interface;
    leg->state = flow->state;
    leg->flags = flow->flags;
    leg->close_reason = flow->close_reason;
    leg->note_sequence_end = flow->note_sequence_end;
    leg->note_ack = flow->note_ack;
    leg->note_tsval = flow->note_tsval;
    leg->tick = flow->tick;
    leg->created = flow->created;
    bpf_spin_unlock(&flow->lock);
}

/* The broker's side first: when the client's packets begin to cross, the answers find their way. Where it
 * cannot be activated the client's is left as it is: half a pair would forward to nobody. */
LIMPET_INLINE void limpet_change_pair(int family, struct limpet_command* command) {
    __u32 now = limpet_now();
    limpet_change_leg(family, command, &command->leg[1], 0, now);
    int half = command->operation == LIMPET_OPERATION_ACTIVATE && command->leg[1].result != LIMPET_RESULT_OK;
    limpet_change_leg(family, command, &command->leg[0], half, now);
}

#endif
