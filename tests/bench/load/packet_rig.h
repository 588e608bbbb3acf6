/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What packet_rig.bpf.c and packet_rig.cpp share. */
#ifndef LIMPET_BENCH_PACKET_RIG_H
#define LIMPET_BENCH_PACKET_RIG_H

#include <linux/types.h>

#define RIG_FRAMES      64 /* a power of two */
#define RIG_FRAME_BYTES 66 /* Ethernet, IPv4 and TCP with timestamps: a pure ACK */

struct rig_frame {
    __u8 bytes[RIG_FRAME_BYTES];
    __u8 padding[6];
};

struct rig_settings {
    __u32 device;     /* interface index to redirect to */
    __u32 frame_mask; /* number of frames minus one */
    __u8 destination[6];
    __u8 source[6];
};

#endif
