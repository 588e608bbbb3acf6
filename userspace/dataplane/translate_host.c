/* SPDX-License-Identifier: Apache-2.0 */
/* The packet headers are those of the data path; their arithmetic on narrow network-order fields is written
 * for the BPF compiler, so the warnings about implicit widths stay with the code that is only ours. */
#define _DEFAULT_SOURCE
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "dataplane/translate_host.h"

#include "../../bpf/translate.h"

static int parse(__u8* frame, __u32 length, struct limpet_packet* packet, int* family, __u8* key) {
    *family = limpet_family(frame, frame + length);
    if (*family == 4) return limpet_parse4(frame, frame + length, length, packet, (struct limpet_key4*)key);
    if (*family == 6) return limpet_parse6(frame, frame + length, length, packet, (struct limpet_key6*)key);
    return LIMPET_PARSE_OTHER;
}

int limpet_host_parse(__u8* frame, __u32 length, struct limpet_host_packet* packet) {
    struct limpet_packet found = {0};
    int family = 0;
    __u32 key[10] = {0};
    int result = parse(frame, length, &found, &family, (__u8*)key);
    memset(packet, 0, sizeof *packet);
    packet->family = (__u8)family;
    memcpy(packet->key, key, sizeof key);
    if (result != LIMPET_PARSE_TCP) return result;
    packet->ip_offset = (__u32)((__u8*)found.ip - frame);
    packet->tcp_offset = (__u32)((__u8*)found.tcp - frame);
    packet->tcp_header = found.tcp_header;
    packet->payload = found.payload;
    packet->sequence = found.sequence;
    packet->acknowledgement = found.acknowledgement;
    packet->flags = found.flags;
    return result;
}

int limpet_host_translate(__u8* frame, __u32 length, void* entry) {
    struct limpet_packet packet = {0};
    struct limpet_sums sums = {0};
    int family = 0;
    __u32 key[10];
    int result = parse(frame, length, &packet, &family, (__u8*)key);
    if (result != LIMPET_PARSE_TCP) return result;
    __u8 hops = family == 4 ? ((struct iphdr*)packet.ip)->ttl : ((struct ipv6hdr*)packet.ip)->hop_limit;
    if (hops <= 1) return LIMPET_PARSE_MALFORMED; /* it ends here, as in the data path */
    __u8* end = frame + length;
    int layout = limpet_layout(&packet, end);
    if (family == 4)
        limpet_translate4(&packet, layout, end, entry, &sums);
    else
        limpet_translate6(&packet, layout, end, entry, &sums);
    __u8* options = (__u8*)(packet.tcp + 1);
    __u32 size = packet.tcp_header - (__u32)sizeof *packet.tcp;
    if (layout == LIMPET_LAYOUT_ODD && options + size <= end) {
        struct limpet_walk walk = {0};
        limpet_prepare_walk(&walk, &packet, entry, &sums);
        memcpy(walk.options, options, size);
        limpet_walk_options(&walk);
        memcpy(options, walk.options, size);
        limpet_finish_walk(&walk, entry, &sums);
    }
    packet.tcp->check = limpet_apply(packet.tcp->check, limpet_add(sums.pseudo, sums.rest));
    return result;
}

static __u64 sum_bytes(const __u8* bytes, __u32 length, __u64 sum) {
    for (__u32 at = 0; at + 1 < length; at += 2) sum += (__u32)((bytes[at] << 8) | bytes[at + 1]);
    if (length & 1) sum += (__u32)(bytes[length - 1] << 8);
    return sum;
}

void limpet_host_checksum(__u8* frame, const struct limpet_host_packet* packet, __u32 payload) {
    __u8* ip_bytes = frame + packet->ip_offset;
    struct tcphdr* tcp = (struct tcphdr*)(frame + packet->tcp_offset);
    __u32 segment = packet->tcp_header + payload;
    __u64 sum = IPPROTO_TCP + segment;
    if (packet->family == 4) {
        struct iphdr* ip = (struct iphdr*)ip_bytes;
        ip->tot_len = bpf_htons((__u16)(sizeof *ip + segment));
        ip->check = 0;
        ip->check = bpf_htons((__u16)~limpet_fold16(sum_bytes(ip_bytes, sizeof *ip, 0)));
        sum = sum_bytes(ip_bytes + 12, 8, sum);
    } else {
        struct ipv6hdr* ip = (struct ipv6hdr*)ip_bytes;
        ip->payload_len = bpf_htons((__u16)segment);
        sum = sum_bytes(ip_bytes + 8, 32, sum);
    }
    tcp->check = 0;
    tcp->check = bpf_htons((__u16)~limpet_fold16(sum_bytes((__u8*)tcp, segment, sum)));
}
