/* SPDX-License-Identifier: GPL-2.0-only */
/* What a packet does to the state of its flow, and the state to the packet (docs/HANDOFF.md, "The states").
 */
#ifndef LIMPET_BPF_STATE_H
#define LIMPET_BPF_STATE_H

#include "checksum.h"
#include "events.h"
#include "parse.h"

enum limpet_verdict {
    LIMPET_VERDICT_PASS = 0, /* to the host, unchanged */
    LIMPET_VERDICT_FORWARD = 1,
    LIMPET_VERDICT_PARK = 2,
    LIMPET_VERDICT_DROP = 3,
    LIMPET_VERDICT_PROBE = 4, /* a SYN on a live tuple: forward as a probe of the old connection */
};

/* A FIN moves the state only if it lies within this many bytes of what its receiver expects: a blind one
 * must guess the tuple and 10 bits, in both directions. */
#define LIMPET_FIN_WINDOW (1u << 22)

/* How far behind a note a true packet may lie: no connection has more than this under way. */
#define LIMPET_NOTE_WINDOW (1u << 25)
/* The same for a TSval: four seconds of the fastest clock in use (1 MHz), an hour of the usual ones. */
#define LIMPET_TSVAL_WINDOW (1u << 22)

/* Whether a packet's number replaces the note: it is ahead, or so far behind that one of the two was forged.
 * The next true packet then mends it, whichever it was. */
LIMPET_INLINE int limpet_replaces(__u32 number, __u32 note, __u32 window) {
    return note - number > window;
}

/* Whether a number lies where those of a connection's next packets may lie. */
LIMPET_INLINE int limpet_near(__u32 number, __u32 note) {
    return number - note + LIMPET_NOTE_WINDOW <= 2 * LIMPET_NOTE_WINDOW;
}

/* TSval, found without walking the options twice: only the usual layouts are noted; what is laid out
 * otherwise is not noted, and a flow without a note stays a relay. */
LIMPET_INLINE int limpet_find_tsval(const struct limpet_packet* packet, const void* end, __u32* tsval) {
    const __u8* options = (const __u8*)(packet->tcp + 1);
    if (packet->tcp_header < 32 || (const void*)(options + 12) > end) return 0;
    if (limpet_load32(options) == bpf_htonl(0x0101080a)) {
        *tsval = bpf_ntohl(limpet_load32(options + 4));
        return 1;
    }
    if (options[0] == 8 && options[1] == 10) {
        *tsval = bpf_ntohl(limpet_load32(options + 2));
        return 1;
    }
    return 0;
}

/* The MSS that a SYN announces; every stack in use writes it first (RFC 9293 3.7.1). Without it, 536. */
LIMPET_INLINE __u32 limpet_find_mss(const struct limpet_packet* packet, const void* end) {
    const __u8* options = (const __u8*)(packet->tcp + 1);
    if (packet->tcp_header < 24 || (const void*)(options + 4) > end) return 536;
    if (options[0] != 2 || options[1] != 4) return 536;
    return bpf_ntohl(limpet_load32(options)) & 0xffff;
}

/* Takes note of a packet while userspace owns the leg, and says what becomes of it. Everything between lock
 * and unlock is plain memory: helpers may not be called there. */
LIMPET_INLINE int limpet_note(struct limpet_flow* flow, const struct limpet_packet* packet, const void* end,
                              __u32 now) {
    __u32 tsval = 0;
    int has_tsval = limpet_find_tsval(packet, end, &tsval);
    __u32 mss = packet->flags & LIMPET_TCP_SYN ? limpet_find_mss(packet, end) : 0;
    int verdict = LIMPET_VERDICT_PASS;
    int expired = 0;
    bpf_spin_lock(&flow->lock);
    __u8 state = flow->state;
    if (state == LIMPET_STATE_ACTIVE || state == LIMPET_STATE_CLOSING) {
        verdict = LIMPET_VERDICT_FORWARD;
    } else if (state == LIMPET_STATE_HOLD && limpet_after(now, flow->tick)) {
        flow->state = LIMPET_STATE_RETIRED;
        flow->close_reason = LIMPET_REASON_HOLD_EXPIRED;
        expired = 1;
    } else if (state == LIMPET_STATE_PENDING || state == LIMPET_STATE_HOLD) {
        if (mss) flow->egress_interface = mss;
        int seen = flow->flags & LIMPET_FLOW_NOTE_SEEN;
        int beyond =
            !seen || limpet_replaces(packet->sequence_end, flow->note_sequence_end, LIMPET_NOTE_WINDOW);
        /* Everybody may send a packet with this tuple. A forged TSval would shift the flow's clock for good
         * (RFC 7323 5.3): it is believed only of a packet whose other numbers follow on the note, and one
         * that came with a note that does not hold is forgotten with it. */
        int near =
            !seen ||
            (limpet_near(packet->sequence_end, flow->note_sequence_end) &&
             (!(packet->flags & LIMPET_TCP_ACK) || limpet_near(packet->acknowledgement, flow->note_ack)));
        if (!near && state == LIMPET_STATE_PENDING) flow->flags &= (__u8)~LIMPET_FLOW_TSVAL_SEEN;
        int parking =
            state == LIMPET_STATE_HOLD && (beyond || (packet->flags & LIMPET_TCP_RST)) &&
            (packet->payload || (packet->flags & (LIMPET_TCP_SYN | LIMPET_TCP_FIN | LIMPET_TCP_RST)));
        if (parking) flow->flags |= LIMPET_FLOW_PARKED;
        /* Not from what is parked, nor from what came behind it: parked packets are delivered after the
         * handoff, and the shift of timestamps must not put their older TSval behind what the receiver has
         * seen. */
        if (has_tsval && near && !(flow->flags & LIMPET_FLOW_PARKED) &&
            (!(flow->flags & LIMPET_FLOW_TSVAL_SEEN) ||
             limpet_replaces(tsval, flow->note_tsval, LIMPET_TSVAL_WINDOW))) {
            flow->note_tsval = tsval;
            flow->flags |= LIMPET_FLOW_TSVAL_SEEN;
        }
        if ((packet->flags & LIMPET_TCP_ACK) &&
            (!seen || limpet_replaces(packet->acknowledgement, flow->note_ack, LIMPET_NOTE_WINDOW)))
            flow->note_ack = packet->acknowledgement;
        if (parking) {
            verdict = LIMPET_VERDICT_PARK;
        } else {
            /* a pure ACK behind parked data carries a sequence number that nobody here was shown */
            if (beyond && (state == LIMPET_STATE_PENDING || !seen))
                flow->note_sequence_end = packet->sequence_end;
            if (state == LIMPET_STATE_PENDING) flow->tick = now;
            if (state == LIMPET_STATE_PENDING || seen) flow->flags |= LIMPET_FLOW_NOTE_SEEN;
        }
    }
    bpf_spin_unlock(&flow->lock);
    if (expired) limpet_count(LIMPET_REASON_HOLD_EXPIRED);
    return verdict;
}

LIMPET_INLINE void limpet_set_state(struct limpet_flow* flow, __u8 state, __u8 reason) {
    bpf_spin_lock(&flow->lock);
    if (flow->state == LIMPET_STATE_ACTIVE || flow->state == LIMPET_STATE_CLOSING) {
        flow->state = state;
        flow->close_reason = reason;
    }
    bpf_spin_unlock(&flow->lock);
}

/* An end that cannot be judged from here: a RST or FIN of which we do not know whether its receiver believed
 * it. The daemon asks both ends (Janitor::doubt); until it has, more of them are not worth another event. */
LIMPET_INLINE void limpet_doubt(int family, const void* key, struct limpet_flow* flow, __u32 sequence) {
    int fresh = 0;
    bpf_spin_lock(&flow->lock);
    if (!(flow->flags & LIMPET_FLOW_DOUBTED)) {
        flow->flags |= LIMPET_FLOW_DOUBTED;
        fresh = 1;
    }
    bpf_spin_unlock(&flow->lock);
    if (!fresh) return;
    limpet_count(LIMPET_REASON_DOUBTED);
    limpet_tell_of(family, key, LIMPET_STATE_ACTIVE, LIMPET_REASON_DOUBTED, sequence);
}

/* Whether the receiver has acknowledged all that the sender sent, its FIN included. */
LIMPET_INLINE int limpet_acknowledged(const struct limpet_flow* sender, const struct limpet_flow* receiver) {
    return receiver->note_ack == sender->note_sequence_end + sender->sequence_delta;
}

/* Whether a closing flow is certain to be over: a RST was exact, or each end has the other's FIN. FINs alone
 * prove nothing: they may have been guessed. */
LIMPET_INLINE int limpet_is_over(const struct limpet_flow* flow, const struct limpet_flow* peer) {
    if (flow->state != LIMPET_STATE_CLOSING) return 0;
    return flow->close_reason != LIMPET_REASON_END_FIN ||
           (limpet_acknowledged(flow, peer) && limpet_acknowledged(peer, flow));
}

/* FIN, RST and SYN on an active flow: rare, so the other direction is looked up only here. */
LIMPET_INLINE int limpet_mark_end(int family, const void* key, struct limpet_flow* flow,
                                  const struct limpet_packet* packet) {
    struct limpet_flow* peer = limpet_peer(family, flow);
    if (!peer) {
        limpet_count(LIMPET_REASON_DROP_PAIR_MISSING);
        return LIMPET_VERDICT_DROP;
    }
    if (packet->flags & LIMPET_TCP_SYN) {
        if (!limpet_is_over(flow, peer)) {
            limpet_count(LIMPET_REASON_SYN_ON_ACTIVE);
            /* A probe's numbers are right although its sender knew none: data on it (RFC 7413) would be
             * believed. Its sender tries again without. */
            return packet->payload ? LIMPET_VERDICT_DROP : LIMPET_VERDICT_PROBE;
        }
        limpet_count(LIMPET_REASON_SYN_ON_CLOSING);
        limpet_set_state(flow, LIMPET_STATE_RETIRED, LIMPET_REASON_END_SYN);
        limpet_set_state(peer, LIMPET_STATE_RETIRED, LIMPET_REASON_END_SYN);
        limpet_tell(family, key, LIMPET_STATE_RETIRED, LIMPET_REASON_END_SYN);
        return LIMPET_VERDICT_PASS;
    }
    __u32 ahead = packet->sequence + flow->sequence_delta - peer->note_ack;
    if (packet->flags & LIMPET_TCP_RST) {
        limpet_count(LIMPET_REASON_RST_SEEN);
        /* RFC 5961 3.2: the end believes a RST only at exactly the sequence number that it expects, which is
         * what it last acknowledged. Not what the sender's own packets said before: those may be forged. */
        if (ahead != 0) {
            limpet_doubt(family, key, flow, packet->sequence);
            return LIMPET_VERDICT_FORWARD;
        }
        limpet_set_state(flow, LIMPET_STATE_CLOSING, LIMPET_REASON_END_RST);
        limpet_set_state(peer, LIMPET_STATE_CLOSING, LIMPET_REASON_END_RST);
        limpet_tell(family, key, LIMPET_STATE_CLOSING, LIMPET_REASON_END_RST);
        return LIMPET_VERDICT_FORWARD;
    }
    limpet_count(LIMPET_REASON_FIN_SEEN);
    /* the FIN stands behind its segment's data, of which a part may have been acknowledged before */
    if (ahead + packet->payload > LIMPET_FIN_WINDOW) {
        limpet_doubt(family, key, flow, 0);
        return LIMPET_VERDICT_FORWARD;
    }
    bpf_spin_lock(&flow->lock);
    flow->flags |= LIMPET_FLOW_FIN_SEEN;
    bpf_spin_unlock(&flow->lock);
    if (peer->flags & LIMPET_FLOW_FIN_SEEN) {
        limpet_set_state(flow, LIMPET_STATE_CLOSING, LIMPET_REASON_END_FIN);
        limpet_set_state(peer, LIMPET_STATE_CLOSING, LIMPET_REASON_END_FIN);
        limpet_tell(family, key, LIMPET_STATE_CLOSING, LIMPET_REASON_END_FIN);
    }
    return LIMPET_VERDICT_FORWARD;
}

/* What an active flow remembers of each packet: enough for a RST with the right numbers, for the idle
 * timeout and for the operator. Two CPUs may write at once; each value is whole and the next packet mends it.
 */
LIMPET_INLINE void limpet_remember(struct limpet_flow* flow, const struct limpet_packet* packet, __u32 now) {
    if ((packet->flags & LIMPET_TCP_ACK) &&
        limpet_replaces(packet->acknowledgement, flow->note_ack, LIMPET_NOTE_WINDOW))
        flow->note_ack = packet->acknowledgement;
    if (limpet_replaces(packet->sequence_end, flow->note_sequence_end, LIMPET_NOTE_WINDOW))
        flow->note_sequence_end = packet->sequence_end;
    flow->tick = now;
    flow->packets += 1;
    flow->bytes += packet->payload;
}

/* How long nothing came from an end before its ACK is no late one, but what it says now. */
#define LIMPET_OLD_TICKS LIMPET_TICKS_PER_SECOND

/* Whether an end denies the FIN that came in its name: it sends data from behind it, or, after a silence, an
 * ACK from before it. So answers an end that is asked (Probing) and never sent one. An end that repeats lost
 * data from before its FIN is no proof; nor is anything once the FIN was believed. */
LIMPET_INLINE int limpet_denies_fin(const struct limpet_flow* flow, const struct limpet_flow* peer,
                                    const struct limpet_packet* packet, __u32 now) {
    if (!(flow->flags & LIMPET_FLOW_FIN_SEEN) || limpet_acknowledged(flow, peer)) return 0;
    __u32 before = flow->note_sequence_end - packet->sequence_end;
    if (packet->payload) return before && 0U - before <= LIMPET_FIN_WINDOW;
    return before && before <= LIMPET_FIN_WINDOW && now - flow->tick >= LIMPET_OLD_TICKS;
}

/* What a closing flow's ends say without FIN, RST or SYN may show that the connection lives: data behind a
 * RST that was not believed, or that a FIN was none. The other end's FIN may be true: it stands. */
LIMPET_INLINE void limpet_revive(int family, struct limpet_flow* flow, const struct limpet_packet* packet,
                                 __u32 now) {
    struct limpet_flow* peer = limpet_peer(family, flow);
    if (!peer) return;
    if (flow->close_reason == LIMPET_REASON_END_RST) {
        if (!packet->payload) return;
    } else {
        if (!limpet_denies_fin(flow, peer, packet, now)) return;
        limpet_count(LIMPET_REASON_FIN_DENIED);
        bpf_spin_lock(&flow->lock);
        flow->flags &= (__u8)~LIMPET_FLOW_FIN_SEEN;
        flow->note_sequence_end = packet->sequence_end; /* the true numbers */
        if (packet->flags & LIMPET_TCP_ACK) flow->note_ack = packet->acknowledgement;
        bpf_spin_unlock(&flow->lock);
    }
    limpet_set_state(peer, LIMPET_STATE_ACTIVE, LIMPET_REASON_NONE);
    limpet_set_state(flow, LIMPET_STATE_ACTIVE, LIMPET_REASON_NONE);
}

/* The bookkeeping of a packet that is certain to be forwarded by this program, and what it does to its flow.
 */
LIMPET_INLINE int limpet_follow(int family, const void* key, struct limpet_flow* flow,
                                const struct limpet_packet* packet, __u32 now) {
    int verdict = LIMPET_VERDICT_FORWARD;
    if (packet->flags & (LIMPET_TCP_SYN | LIMPET_TCP_FIN | LIMPET_TCP_RST))
        verdict = limpet_mark_end(family, key, flow, packet);
    else if (flow->state == LIMPET_STATE_CLOSING)
        limpet_revive(family, flow, packet, now);
    if (verdict == LIMPET_VERDICT_FORWARD) limpet_remember(flow, packet, now);
    return verdict;
}

/* A SYN becomes what a keep-alive probe of the old connection would be (RFC 9293 3.8.4): an ACK one below the
 * next sequence number. An end that still has the connection answers with its numbers, the new client
 * answers those with a RST, and so the old connection ends; an end that has lost it answers with a RST. The
 * broker's listener never sees the SYN, and the client's next one finds a closing flow. */
LIMPET_INLINE void limpet_make_probe(const struct limpet_flow* flow, struct limpet_packet* packet,
                                     struct limpet_sums* sums) {
    struct tcphdr* tcp = packet->tcp;
    __be32 sequence = bpf_htonl(flow->note_sequence_end - 1);
    __be32 acknowledgement = bpf_htonl(flow->note_ack);
    __u8* flags = (__u8*)tcp + 13;
    sums->rest = limpet_replace32(sums->rest, tcp->seq, sequence);
    sums->rest = limpet_replace32(sums->rest, tcp->ack_seq, acknowledgement);
    sums->rest = limpet_replace16(sums->rest, bpf_htons(*flags), bpf_htons(LIMPET_TCP_ACK));
    tcp->seq = sequence;
    tcp->ack_seq = acknowledgement;
    *flags = LIMPET_TCP_ACK;
    packet->flags = LIMPET_TCP_ACK;
}

#endif
