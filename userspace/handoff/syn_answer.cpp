// SPDX-License-Identifier: Apache-2.0
#include "handoff/syn_answer.h"

#include <netinet/in.h>

#include <algorithm>

#include "handoff/leg_facts.h"

namespace limpet::handoff {
namespace {

constexpr std::uint32_t default_segment = 536;
constexpr std::uint8_t syn_and_ack = 0x12;
constexpr std::uint8_t syn_alone = 0x02;
constexpr std::uint8_t rst = 0x04;
constexpr std::size_t least_header = 20;
constexpr std::size_t ipv6_header = 40;

std::uint32_t big_endian(std::span<const std::uint8_t> bytes) {
    std::uint32_t value = 0;
    for (const auto byte : bytes) value = value << 8 | byte;
    return value;
}

struct Syn {
    LegOptions options;
    std::uint32_t segment = default_segment;
};

/// The options of a handshake's segment; nothing where its header is not whole.
std::optional<Syn> read_syn(std::span<const std::uint8_t> segment) {
    if (segment.size() < least_header) return std::nullopt;
    const std::size_t header = static_cast<std::size_t>(segment[12] >> 4) * 4;
    if (header < least_header || header > segment.size()) return std::nullopt;
    Syn syn;
    auto left = segment.subspan(least_header, header - least_header);
    while (!left.empty() && left[0] != 0) {
        const std::size_t size = left[0] == 1 ? 1 : left.size() < 2 ? 0 : left[1];
        if (size == 0 || size > left.size() || (left[0] != 1 && size < 2)) break;
        if (left[0] == 2 && size == 4) syn.segment = big_endian(left.subspan(2, 2));
        if (left[0] == 3 && size == 3) syn.options.window_scale = true;
        if (left[0] == 4 && size == 2) syn.options.sack = true;
        if (left[0] == 8 && size == 10) syn.options.timestamps = true;
        left = left.subspan(size);
    }
    return syn;
}

}  // namespace

std::optional<SynAnswer> read_syn_answer(std::span<const std::uint8_t> segment) {
    const auto syn = read_syn(segment);
    if (!syn || (segment[13] & (syn_and_ack | rst)) != syn_and_ack) return std::nullopt;
    SynAnswer answer;
    answer.source_port = static_cast<std::uint16_t>(big_endian(segment.first(2)));
    answer.destination_port = static_cast<std::uint16_t>(big_endian(segment.subspan(2, 2)));
    answer.acknowledgement = big_endian(segment.subspan(8, 4));
    answer.offer.segment = syn->segment;
    answer.offer.missing = missing_options(syn->options);
    return answer;
}

std::optional<std::uint32_t> read_syn_segment(std::span<const std::uint8_t> packet) {
    if (packet.empty()) return std::nullopt;
    const bool four = packet[0] >> 4 == 4;
    const std::size_t header = four ? static_cast<std::size_t>(packet[0] & 15) * 4 : ipv6_header;
    const std::size_t protocol = four ? 9 : 6;
    if (packet.size() < std::max(header, least_header) || packet[protocol] != IPPROTO_TCP)
        return std::nullopt;
    const auto segment = packet.subspan(header);
    const auto syn = read_syn(segment);
    if (!syn || (segment[13] & (syn_and_ack | rst)) != syn_alone) return std::nullopt;
    return syn->segment;
}

}  // namespace limpet::handoff
