/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What disorder.bpf.c and disorder.cpp share. */
#ifndef LIMPET_E2E_DISORDER_H
#define LIMPET_E2E_DISORDER_H

#include <linux/types.h>

#define DISORDER_MARK        0x64697372u /* "disr": a frame that had its turn; it leaves untouched */
#define DISORDER_FRAME_BYTES 2048        /* the longest frame that can come late */
#define DISORDER_WHOLE       10000u      /* shares are in hundredths of a percent */

struct disorder_settings {
    __u32 lose; /* shares of the TCP frames that leave */
    __u32 duplicate;
    __u32 late;
    __u32 device; /* interface index by which duplicates leave */
};

struct disorder_counts {
    __u64 seen;
    __u64 lost;
    __u64 duplicated;
    __u64 late;
    __u64 untouched; /* should have come late, but was longer than a frame, or the ring was full */
};

struct disorder_frame {
    __u32 length;
    __u8 bytes[DISORDER_FRAME_BYTES];
};

#endif
