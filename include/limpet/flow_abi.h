/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the BPF programs and the daemon share: keys, values and messages of the maps. Plain C, fixed
 * widths, no implicit padding; sizes and offsets are asserted below, so both compilers must agree.
 *
 * A spliced connection has two entries, one per direction, each keyed by the tuple of the packet as it
 * arrives at the gateway:
 *     client leg:  client -> listener       broker leg:  broker -> our source address
 * An entry is created once, changed in place under its lock, and deleted once (docs/HANDOFF.md).
 */
#ifndef LIMPET_FLOW_ABI_H
#define LIMPET_FLOW_ABI_H

#include <linux/types.h>
#ifndef __BPF__
#include <stddef.h>
#endif

/* Raised when a key, a value or their meaning changes; pinned maps of another version are refused. */
#define LIMPET_ABI_VERSION 1

/* Packets of ours carry this mark (in full), so that the egress guard can tell them from the host's. */
#define LIMPET_MARK 0x4c494d50u /* "LIMP" */
/* Sockets of a connection carry this one from HOLD on: what a frozen one still answers to a packet that
 * passed in HOLD is told from what the host says to packets that should never have reached it. */
#define LIMPET_MARK_LEAVING 0x4c494d51u
/* Transparent pools: the TC program puts this one on packets for sockets of the host's, and a policy rule
 * delivers what carries it, whatever its destination. */
#define LIMPET_MARK_TRANSPARENT 0x4c494d52u

/* One tick of the coarse clock: CLOCK_MONOTONIC nanoseconds >> 24, 16.78 ms, wraps after 833 days. */
#define LIMPET_TICK_SHIFT       24
#define LIMPET_TICKS_PER_SECOND 60u /* rounded up: 59.6 */

enum limpet_state {
    LIMPET_STATE_FREE = 0,    /* never stored */
    LIMPET_STATE_PENDING = 1, /* userspace owns the leg; the data path takes notes and passes */
    LIMPET_STATE_HOLD = 2,    /* userspace wants to leave; new data is parked until the deadline */
    LIMPET_STATE_ACTIVE = 3,  /* translated and forwarded */
    LIMPET_STATE_CLOSING = 4, /* as ACTIVE; ends soon */
    LIMPET_STATE_RETIRED = 5, /* passes to the host; deleted after a grace */
};

/* limpet_flow.flags */
#define LIMPET_FLOW_CLIENT_LEG 0x01u /* this entry is for packets that come from the client */
#define LIMPET_FLOW_NOTE_SEEN  0x02u /* note_seq_end and note_ack are valid */
#define LIMPET_FLOW_TSVAL_SEEN 0x04u /* note_tsval is valid */
#define LIMPET_FLOW_TIMESTAMPS 0x08u /* both legs use timestamps: translate them */
#define LIMPET_FLOW_CLEAR_ECN  0x10u /* only one leg negotiated ECN: clear ECT, ECE and CWR */
#define LIMPET_FLOW_FIN_SEEN   0x20u /* a FIN came from this direction */
#define LIMPET_FLOW_DOUBTED    0x40u /* an end was announced that is not certain: the daemon asks both ends */
#define LIMPET_FLOW_PARKED     0x80u /* since HOLD began, something of this leg was parked */

/* What is overwritten with NOPs in a SYN: on egress in our own to a broker, because the client did not offer
 * it (limpet_flow.syn_edit of the broker leg, PENDING); on ingress in a client's, because a broker does not
 * do it (limpet_offer). */
#define LIMPET_SYN_NO_TIMESTAMPS   0x01u
#define LIMPET_SYN_NO_SACK         0x02u
#define LIMPET_SYN_NO_WINDOW_SCALE 0x04u

struct limpet_key4 {
    __be32 source;
    __be32 destination;
    __be16 source_port;
    __be16 destination_port;
};

struct limpet_key6 {
    __u8 source[16];
    __u8 destination[16];
    __be16 source_port;
    __be16 destination_port;
};

/* A lock must be a direct member of a map's value, so the common fields are a macro: the BPF build puts
 * them flat into each family's value, the host build keeps them as a member. The layout is the same. */
#ifdef __BPF__
#define LIMPET_LOCK   struct bpf_spin_lock
#define LIMPET_COMMON LIMPET_FLOW_FIELDS
#else
#define LIMPET_LOCK   __u32
#define LIMPET_COMMON struct limpet_flow flow;
#endif

#define LIMPET_FLOW_FIELDS                                                                                  \
    LIMPET_LOCK lock; /* held for every change while not ACTIVE */                                          \
    __u8 state;       /* enum limpet_state */                                                               \
    __u8 flags;                                                                                             \
    __s8 window_shift; /* > 0: window << shift, < 0: window >> -shift */                                    \
    __u8 worker;       /* index of the parking ring of the worker that owns the flow */                     \
    __u32 sequence_delta;                                                                                   \
    __u32 acknowledgement_delta; /* also for SACK edges */                                                  \
    __u32 tsval_delta;                                                                                      \
    __u32 tsecr_delta;                                                                                      \
    __u32 note_sequence_end; /* highest sequence number + length that was let through */                    \
    __u32 note_ack;          /* last ACK number this end sent: what it expects next */                      \
    __u32 note_tsval;        /* last TSval this end sent */                                                 \
    __u32 tick;              /* of the last packet; in HOLD: the deadline */                                \
    __u32 created;           /* tick at which the entry was made or made anew: its generation */            \
    __u32 idle_ticks;        /* silence allowed on this leg; 0: no limit */                                 \
    __u64 client_hash;       /* keyed hash of the client id; 0: none */                                     \
    __u32                                                                                                   \
        egress_interface; /* hint where forwarding is off or a lookup is not possible; 0: none. Until       \
                             ACTIVE:  the MSS that this leg's peer announced in its SYN-ACK; 0: not seen */ \
    __u16 id_length;      /* length of the whole client id, bytes */                                        \
    __u8 syn_edit;                                                                                          \
    __u8 close_reason;   /* enum limpet_reason, once CLOSING or RETIRED */                                  \
    __u64 bytes;         /* TCP payload forwarded from this end */                                          \
    __u32 packets;       /* forwarded from this end; wraps */                                               \
    __u32 stick_seconds; /* how long the client's session outlives the connection; ~0: for ever */

/* What is common to both families. */
struct limpet_flow {
    LIMPET_FLOW_FIELDS
};

#define LIMPET_ID_PART4 28
#define LIMPET_ID_PART6 44

/* A client id is kept for display: its first bytes in the client leg's entry, the next in the broker's.
 * The sizes fill the kernel's size classes (192 and 256 bytes an element) and no more. */
struct limpet_flow4 {
    LIMPET_COMMON
    __be32 source; /* addresses and ports of the packet as it leaves */
    __be32 destination;
    __be16 source_port;
    __be16 destination_port;
    __u8 id_part[LIMPET_ID_PART4];
};

struct limpet_flow6 {
    LIMPET_COMMON
    __u8 source[16];
    __u8 destination[16];
    __be16 source_port;
    __be16 destination_port;
    __u8 id_part[LIMPET_ID_PART6];
};

/* A parked packet, as it lies in a worker's ring: this header and then the frame as it arrived. */
struct limpet_parked {
    __u32 interface_index;
    __u32 length; /* bytes of the frame that follow, from the Ethernet header on */
    __u8 family;  /* 4 or 6 */
    __u8 l3_offset;
    __u8 padding[2];
    __u32 reserved;
    __u8 key[40]; /* struct limpet_key4 or limpet_key6, zero padded */
};

/* What the data path tells the daemon: a flow changed its state by itself. */
struct limpet_event {
    __u8 family; /* 4 or 6 */
    __u8 state;  /* the new one */
    __u8 reason; /* enum limpet_reason */
    __u8 padding;
    __u32 sequence; /* DOUBTED by a RST: its sequence number, host order, as it came; otherwise 0 */
    __u8 key[40];   /* of the client leg's or the broker leg's entry */
};

/* A command to the transition program, run with BPF_PROG_RUN: both legs of one connection at once. */
enum limpet_operation {
    LIMPET_OPERATION_READ = 1,     /* notes of both legs, nothing changed */
    LIMPET_OPERATION_HOLD = 2,     /* PENDING -> HOLD */
    LIMPET_OPERATION_RELEASE = 3,  /* HOLD -> PENDING */
    LIMPET_OPERATION_ACTIVATE = 4, /* HOLD -> ACTIVE, with the constants below */
    LIMPET_OPERATION_RETIRE = 5,   /* any -> RETIRED */
    LIMPET_OPERATION_RENEW = 6,    /* RETIRED -> PENDING, notes forgotten, for a tuple that came back */
    LIMPET_OPERATION_CLOSE = 7,    /* ACTIVE -> CLOSING */
    LIMPET_OPERATION_MARK = 8,   /* ACTIVE: sets flags, for parked packets that did not cross the data path */
    LIMPET_OPERATION_UNMARK = 9, /* ACTIVE: clears flags */
    LIMPET_OPERATION_REOPEN = 10, /* CLOSING by FIN -> ACTIVE, and clears flags */
};

#define LIMPET_RESULT_OK          0
#define LIMPET_RESULT_MISSING     1 /* no such entry */
#define LIMPET_RESULT_WRONG_STATE 2 /* the entry is in a state from which this change is not allowed */

/* One leg of a command; in and out. */
struct limpet_leg {
    __u8 key[40];      /* in; struct limpet_key4 or limpet_key6 */
    __u8 present;      /* in: 0 leaves this leg alone */
    __u8 result;       /* out: LIMPET_RESULT_* */
    __u8 state;        /* out: after the change */
    __u8 flags;        /* in: to set with ACTIVATE and RENEW; out: after the change */
    __s8 window_shift; /* in, ACTIVATE */
    __u8 close_reason; /* in, RETIRE and CLOSE; out */
    __u8 syn_edit;     /* in, RENEW */
    __u8 padding;
    __u32 sequence_delta; /* in, ACTIVATE */
    __u32 acknowledgement_delta;
    __u32 tsval_delta;
    __u32 tsecr_delta;
    __u32 idle_ticks;
    __u32 egress_interface; /* in, ACTIVATE; out before: the peer's MSS */
    __u32 stick_seconds;
    __u32 note_sequence_end; /* out */
    __u32 note_ack;          /* out */
    __u32 note_tsval;        /* out */
    __u32 tick;              /* in, HOLD: the deadline; out: the last packet's */
    __u32 created;           /* out; in, RETIRE: 0, or the generation that is meant */
    __u64 client_hash;       /* in, ACTIVATE */
    __u16 id_length;         /* in, ACTIVATE */
    __u16 source_port;       /* in, ACTIVATE: addresses and ports of packets as they leave, network order */
    __u16 destination_port;
    __u16 padding2;
    __u8 source[16];
    __u8 destination[16];
    __u8 id_part[LIMPET_ID_PART6];
    __u32 padding3;
};

struct limpet_command {
    __u8 ethernet[14]; /* BPF_PROG_RUN wants a frame: filler, zero */
    __u8 operation;    /* enum limpet_operation */
    __u8 family;       /* 4 or 6 */
    __u8 worker;       /* HOLD: the parking ring */
    __u8 padding[7];
    struct limpet_leg leg[2]; /* 0: client leg, 1: broker leg */
};

/* What a listener's clients are not offered, because a broker behind it does not do it: their SYNs are edited
 * before the host sees them, so that both legs agree (docs/HANDOFF.md, "Parity"). IPv4 addresses come first
 * in `address`, the rest is zero; an address of zeros alone stands for every address. */
struct limpet_offer_key {
    __u8 address[16];
    __be16 port;
    __u8 family; /* 4 or 6 */
    __u8 padding;
};

struct limpet_offer {
    __u8 syn_edit; /* LIMPET_SYN_* */
    __u8 padding[3];
};

/* What the data path needs to know beside the flows; one element, read-only for the programs. */
struct limpet_settings {
    __u32 abi_version;
    __u32 transparent;       /* not 0: pools are transparent, packets for sockets are marked */
    __u64 network_namespace; /* inode of the namespace the maps belong to */
    __u64 hash_key[2];       /* of client_hash: drawn once, kept with the maps */
    __u64 started;           /* CLOCK_REALTIME seconds at which the maps were made */
};

#ifdef __cplusplus
#define LIMPET_ASSERT(what) static_assert(what, #what)
#else
#define LIMPET_ASSERT(what) _Static_assert(what, #what)
#endif
#ifdef __BPF__
#define LIMPET_OFFSET(type, member) __builtin_offsetof(type, member)
#else
#define LIMPET_OFFSET(type, member) offsetof(type, member)
#endif

LIMPET_ASSERT(sizeof(struct limpet_key4) == 12);
LIMPET_ASSERT(sizeof(struct limpet_key6) == 36);
LIMPET_ASSERT(sizeof(struct limpet_flow) == 80);
LIMPET_ASSERT(LIMPET_OFFSET(struct limpet_flow, client_hash) == 48);
LIMPET_ASSERT(LIMPET_OFFSET(struct limpet_flow, bytes) == 64);
LIMPET_ASSERT(sizeof(struct limpet_flow4) == 120);
LIMPET_ASSERT(sizeof(struct limpet_flow6) == 160);
LIMPET_ASSERT(LIMPET_OFFSET(struct limpet_flow4, id_part) == 92);
LIMPET_ASSERT(LIMPET_OFFSET(struct limpet_flow6, id_part) == 116);
LIMPET_ASSERT(sizeof(struct limpet_parked) == 56);
LIMPET_ASSERT(sizeof(struct limpet_event) == 48);
LIMPET_ASSERT(LIMPET_OFFSET(struct limpet_leg, client_hash) == 96);
LIMPET_ASSERT(LIMPET_OFFSET(struct limpet_leg, source) == 112);
LIMPET_ASSERT(sizeof(struct limpet_leg) == 192);
LIMPET_ASSERT(sizeof(struct limpet_command) == 24 + 2 * 192);
LIMPET_ASSERT(sizeof(struct limpet_settings) == 40);
LIMPET_ASSERT(sizeof(struct limpet_offer_key) == 20);
LIMPET_ASSERT(sizeof(struct limpet_offer) == 4);

#endif
