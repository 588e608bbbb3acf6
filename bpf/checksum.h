/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Incremental Internet checksums (RFC 1624): sums of ~old + new, folded at the end. */
#ifndef LIMPET_BPF_CHECKSUM_H
#define LIMPET_BPF_CHECKSUM_H

#include "common.h"

/* What a translation changed, as ones' complement sums: the addresses (pseudo header) apart from all else,
 * because with a partial checksum only the pseudo header is in the field (CHECKSUM_PARTIAL). */
struct limpet_sums {
    __u64 pseudo;
    __u64 rest;
    __u64 header6; /* of the IPv6 header itself, which no checksum field makes up for (CHECKSUM_COMPLETE) */
};

/* Ones' complement addition without a branch and with a bound that does not grow from one addition to the
 * next: otherwise the verifier could not recognise a state that it has seen. */
LIMPET_INLINE __u64 limpet_add(__u64 sum, __u64 addend) {
    sum += addend;
    return (sum & 0xffffffff) + (sum >> 32);
}

LIMPET_INLINE __u32 limpet_fold32(__u64 sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    return (__u32)sum;
}

LIMPET_INLINE __u16 limpet_fold16(__u64 sum) {
    __u32 folded = limpet_fold32(sum);
    folded = (folded & 0xffff) + (folded >> 16);
    folded = (folded & 0xffff) + (folded >> 16);
    return (__u16)folded;
}

LIMPET_INLINE __u64 limpet_replace16(__u64 sum, __u16 old, __u16 new_value) {
    return limpet_add(sum, (__u64)(__u16)~old + new_value);
}

LIMPET_INLINE __u64 limpet_replace32(__u64 sum, __u32 old, __u32 new_value) {
    return limpet_add(sum, (__u64)(__u32)~old + new_value);
}

/* A word at an odd offset contributes with its bytes swapped (RFC 1071 2 (B)). */
LIMPET_INLINE __u64 limpet_replace32_at(__u64 sum, __u32 offset, __u32 old, __u32 new_value) {
    __u32 difference = limpet_fold16((__u64)(__u32)~old + new_value);
    __u32 rotation = (offset & 1) * 8;
    difference = ((difference << rotation) | (difference >> (16 - rotation))) & 0xffff;
    return limpet_add(sum, difference);
}

/* The checksum field after a change. A zero field of UDP has no place in TCP: 0 is a valid sum. */
LIMPET_INLINE __u16 limpet_apply(__u16 field, __u64 difference) {
    return (__u16)~limpet_fold16(limpet_add((__u16)~field, difference));
}

#endif
