/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What every step of a packet's way needs. The steps that are pure functions over (begin, end, entry) —
 * parse.h, checksum.h, translate.h — compile for BPF and, the same text, for the host: the daemon uses them
 * on parked packets, the tests and the fuzzer on everything else.
 */
#ifndef LIMPET_BPF_COMMON_H
#define LIMPET_BPF_COMMON_H

#ifdef __BPF__
#include <linux/bpf.h>
/* bpf.h first: the helpers need its types */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#else
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* be16toh and its family */
#endif
#include <endian.h>
#include <stdbool.h>
#include <string.h>
#define bpf_ntohs(value) be16toh(value)
#define bpf_htons(value) htobe16(value)
#define bpf_ntohl(value) be32toh(value)
#define bpf_htonl(value) htobe32(value)
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#include <limpet/flow_abi.h>
#include <limpet/reason.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

/* Verdicts of a TC program (linux/pkt_cls.h). */
#define LIMPET_TC_OK   0
#define LIMPET_TC_SHOT 2

#define LIMPET_INLINE static __always_inline
#ifdef __BPF__
#define LIMPET_WALKER __attribute__((noinline))
/* A function that the verifier looks at once, whoever calls it (a "global" one). */
#define LIMPET_STEP __attribute__((noinline))
#else
#define LIMPET_WALKER static inline
#endif

#ifdef __BPF__
/* The compiler forgets what it knows of a variable. Without one of these before each of its bounds it would
 * fold the two into a comparison of a difference, and verifiers before Linux 6.13 do not conclude from that
 * to the variable itself (a helper's length must have been seen to be in bounds). */
#define LIMPET_OPAQUE(variable) asm volatile("" : "+r"(variable))
#endif

/* TCP options may lie at any address; BPF targets with efficient unaligned access load them directly. */
LIMPET_INLINE __u32 limpet_load32(const void* address) {
#ifdef __BPF__
    return *(const __u32*)address;
#else
    __u32 value;
    memcpy(&value, address, sizeof value);
    return value;
#endif
}

LIMPET_INLINE void limpet_store32(void* address, __u32 value) {
#ifdef __BPF__
    *(__u32*)address = value;
#else
    memcpy(address, &value, sizeof value);
#endif
}

/* Serial number arithmetic (RFC 1982): whether a comes after b. */
LIMPET_INLINE int limpet_after(__u32 a, __u32 b) {
    return (__s32)(a - b) > 0;
}

#endif
