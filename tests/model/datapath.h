/* SPDX-License-Identifier: Apache-2.0 */
/* The data path's own text (bpf/state.h, bpf/transition.h), compiled for the model: what a packet and a
 * command do to an entry is not described again but called. */
#ifndef LIMPET_MODEL_DATAPATH_H
#define LIMPET_MODEL_DATAPATH_H

#include <limpet/flow_abi.h>
#include <limpet/reason.h>

#ifdef __cplusplus
extern "C" {
#endif

struct model_packet {
    __u32 sequence;
    __u32 acknowledgement;
    __u32 payload;
    __u8 flags; /* as in a TCP header */
};

/* What state.h answers; the first four are enum limpet_verdict. */
enum model_verdict { MODEL_PASS = 0, MODEL_FORWARD = 1, MODEL_PARK = 2, MODEL_DROP = 3, MODEL_PROBE = 4 };

/* The entry of a key, or null: the model's map. */
struct limpet_flow4* model_find(const struct limpet_key4* key);
/* Events that the data path would have told, since the last call of a function below. */
extern struct limpet_event model_event;
extern int model_events;

int model_note(struct limpet_flow4* entry, const struct model_packet* packet, __u32 now);
int model_follow(const struct limpet_key4* key, struct limpet_flow4* entry, const struct model_packet* packet,
                 __u32 now);
void model_transit(struct limpet_command* command, __u32 now);

#ifdef __cplusplus
}
#endif
#endif
