/* SPDX-License-Identifier: Apache-2.0 */
/* The translator of bpf/, compiled for the host: for parked packets, the tests and the fuzzers. */
#ifndef LIMPET_TRANSLATE_HOST_H
#define LIMPET_TRANSLATE_HOST_H

#include <limpet/flow_abi.h>
#include <linux/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the parser found in an Ethernet frame. */
struct limpet_host_packet {
    __u32 ip_offset;
    __u32 tcp_offset;
    __u32 tcp_header; /* bytes */
    __u32 payload;    /* bytes */
    __u32 sequence;
    __u32 acknowledgement;
    __u8 flags;
    __u8 family;
    __u8 key[40]; /* struct limpet_key4 or limpet_key6 */
};

/* enum limpet_parse_result, see bpf/parse.h; `frame` should lie two bytes behind an address divisible by
 * four, so that the IP header is aligned. */
int limpet_host_parse(__u8* frame, __u32 length, struct limpet_host_packet* packet);

/* Parses and translates in place, checksums updated incrementally. `entry` is a struct limpet_flow4 or
 * limpet_flow6 after the frame's family. Returns the parse result; 0: translated. */
int limpet_host_translate(__u8* frame, __u32 length, void* entry);

/* Writes the IP lengths and all checksums of a TCP frame anew. */
void limpet_host_checksum(__u8* frame, const struct limpet_host_packet* packet, __u32 payload);

#ifdef __cplusplus
}
#endif

#endif
