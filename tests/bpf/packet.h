// SPDX-License-Identifier: Apache-2.0
// Ethernet frames with TCP for the packet tests: built from plain values, with checksums that are always
// computed whole and by code that shares nothing with bpf/checksum.h.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/endpoint.h"

namespace limpet::packet {

using Bytes = std::vector<std::uint8_t>;
using Mac = std::array<std::uint8_t, 6>;

inline constexpr std::uint8_t fin = 0x01;
inline constexpr std::uint8_t syn = 0x02;
inline constexpr std::uint8_t rst = 0x04;
inline constexpr std::uint8_t psh = 0x08;
inline constexpr std::uint8_t ack = 0x10;
inline constexpr std::uint8_t ece = 0x40;
inline constexpr std::uint8_t cwr = 0x80;

inline constexpr std::size_t ethernet_header = 14;
inline constexpr std::uint8_t protocol_tcp = 6;

inline Endpoint at(std::string_view text) {
    return Endpoint::parse(text).value();
}

/// The ones' complement sum of RFC 1071 4.1, byte by byte, folded but not inverted.
inline std::uint16_t folded_sum(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i]) << 8 : bytes[i];
        if (sum > 0xffff) sum = (sum & 0xffff) + 1;
    }
    return static_cast<std::uint16_t>(sum);
}

inline void put16(Bytes& to, std::uint32_t value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}
inline void put32(Bytes& to, std::uint32_t value) {
    put16(to, value >> 16);
    put16(to, value & 0xffff);
}
inline void put(Bytes& to, std::span<const std::uint8_t> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}
inline std::uint32_t get16(std::span<const std::uint8_t> bytes, std::size_t offset) {
    return static_cast<std::uint32_t>(bytes[offset] << 8 | bytes[offset + 1]);
}
inline std::uint32_t get32(std::span<const std::uint8_t> bytes, std::size_t offset) {
    return get16(bytes, offset) << 16 | get16(bytes, offset + 2);
}

/// The addresses of a pseudo header, its length and its protocol (RFC 9293 3.1, RFC 8200 8.1).
inline std::uint16_t pseudo_header_sum(const IpAddress& source, const IpAddress& destination,
                                       std::size_t segment) {
    const std::size_t size = source.family == 4 ? 4 : 16;
    std::uint32_t sum = folded_sum({source.bytes.data(), size});
    sum = folded_sum({destination.bytes.data(), size}, sum);
    Bytes rest;
    put32(rest, static_cast<std::uint32_t>(segment));
    put32(rest, protocol_tcp);
    return folded_sum(rest, sum);
}

namespace option {

inline Bytes nop(std::size_t count = 1) {
    return Bytes(count, 1);
}
inline Bytes end() {
    return Bytes(1, 0);
}
inline Bytes any(std::uint8_t kind, std::uint8_t length) {
    Bytes bytes{kind, length};
    for (std::uint8_t i = 2; i < length; ++i) bytes.push_back(static_cast<std::uint8_t>(0xa0 + i));
    return bytes;
}
inline Bytes timestamps(std::uint32_t value, std::uint32_t echo) {
    Bytes bytes{8, 10};
    put32(bytes, value);
    put32(bytes, echo);
    return bytes;
}
using Edges = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
inline Bytes sack(const Edges& blocks) {
    Bytes bytes{5, static_cast<std::uint8_t>(2 + 8 * blocks.size())};
    for (const auto& [left, right] : blocks) {
        put32(bytes, left);
        put32(bytes, right);
    }
    return bytes;
}
inline Bytes segment_size(std::uint16_t size) {
    Bytes bytes{2, 4};
    put16(bytes, size);
    return bytes;
}
inline Bytes window_scale(std::uint8_t shift) {
    return {3, 3, shift};
}
inline Bytes sack_permitted() {
    return {4, 2};
}

}  // namespace option

inline Bytes join(std::initializer_list<Bytes> parts) {
    Bytes whole;
    for (const auto& part : parts) put(whole, part);
    return whole;
}

enum class Checksum {
    right,
    wrong,    ///< one off
    partial,  ///< the sum of the pseudo header, as a sender with checksum offload leaves it
};

/// What a frame says. Fields that are optional contradict, on purpose, what the frame really is.
struct Packet {
    Endpoint source = at("10.91.0.2:40000");
    Endpoint destination = at("10.91.0.1:1883");
    Mac to{};
    Mac from{};
    std::optional<std::uint16_t> vlan;       ///< an 802.1Q tag in the frame
    std::uint8_t hops = 64;                  ///< TTL or hop limit
    std::uint8_t traffic_class = 0;          ///< TOS or traffic class; the low two bits are ECN
    std::uint16_t fragment = 0x4000;         ///< IPv4 flags and fragment offset; don't fragment is set
    std::optional<std::uint16_t> fragment6;  ///< IPv6: offset and M flag of a fragment header
    Bytes ip_options;                        ///< IPv4, a multiple of four bytes
    Bytes extension6;  ///< IPv6: a destination options header; its first byte is set to TCP
    std::uint8_t protocol = protocol_tcp;
    std::uint32_t sequence = 1000;
    std::uint32_t acknowledgement = 5000;
    std::uint8_t flags = ack;
    std::uint16_t window = 1000;
    std::uint16_t urgent = 0;
    Bytes options;  ///< padded with zeros to a multiple of four bytes
    Bytes payload;
    Checksum checksum = Checksum::right;
    std::size_t padding = 0;                ///< bytes behind the IP packet, as in short Ethernet frames
    std::optional<std::uint16_t> ip_length; /**< what the IP header claims: IPv4 total length, IPv6 payload
                                               length */
    std::optional<std::uint8_t> tcp_words;  ///< what the data offset claims, in words of four bytes

    [[nodiscard]] std::uint8_t family() const { return source.address.family; }
    [[nodiscard]] Bytes build() const;
};

inline Bytes build_segment(const Packet& packet) {
    Bytes options = packet.options;
    options.resize((options.size() + 3) / 4 * 4);
    const auto words = packet.tcp_words.value_or(static_cast<std::uint8_t>(5 + options.size() / 4));
    Bytes segment;
    put16(segment, packet.source.port);
    put16(segment, packet.destination.port);
    put32(segment, packet.sequence);
    put32(segment, packet.acknowledgement);
    put16(segment, static_cast<std::uint32_t>(words << 12 | packet.flags));
    put16(segment, packet.window);
    put16(segment, 0);
    put16(segment, packet.urgent);
    put(segment, options);
    put(segment, packet.payload);
    const auto pseudo = pseudo_header_sum(packet.source.address, packet.destination.address, segment.size());
    std::uint32_t field = 0xffffU ^ folded_sum(segment, pseudo);
    if (packet.checksum == Checksum::partial) field = pseudo;
    if (packet.checksum == Checksum::wrong) field = field == 0xffff ? 1 : field + 1;
    segment[16] = static_cast<std::uint8_t>(field >> 8);
    segment[17] = static_cast<std::uint8_t>(field);
    return segment;
}

inline Bytes build_header4(const Packet& packet, std::size_t segment) {
    Bytes header;
    const auto length = 20 + packet.ip_options.size();
    header.push_back(static_cast<std::uint8_t>(0x40 | length / 4));
    header.push_back(packet.traffic_class);
    put16(header, packet.ip_length.value_or(static_cast<std::uint16_t>(length + segment)));
    put16(header, 0x1234);
    put16(header, packet.fragment);
    header.push_back(packet.hops);
    header.push_back(packet.protocol);
    put16(header, 0);
    put(header, {packet.source.address.bytes.data(), 4});
    put(header, {packet.destination.address.bytes.data(), 4});
    put(header, packet.ip_options);
    const auto field = 0xffffU ^ folded_sum(header);
    header[10] = static_cast<std::uint8_t>(field >> 8);
    header[11] = static_cast<std::uint8_t>(field);
    return header;
}

inline Bytes build_header6(const Packet& packet, std::size_t segment) {
    Bytes between = packet.extension6;
    std::uint8_t next = packet.protocol;
    if (!between.empty()) {
        between[0] = packet.protocol;
        next = 60;  // destination options
    }
    if (packet.fragment6) {
        next = 44;
        put16(between, static_cast<std::uint32_t>(packet.protocol << 8));
        put16(between, *packet.fragment6);
        put32(between, 0x55667788);
    }
    Bytes header;
    put32(header, 0x60000000U | static_cast<std::uint32_t>(packet.traffic_class) << 20 | 0x12345U);
    put16(header, packet.ip_length.value_or(static_cast<std::uint16_t>(between.size() + segment)));
    header.push_back(next);
    header.push_back(packet.hops);
    put(header, packet.source.address.bytes);
    put(header, packet.destination.address.bytes);
    put(header, between);
    return header;
}

inline Bytes Packet::build() const {
    const auto segment = build_segment(*this);
    Bytes frame;
    put(frame, to);
    put(frame, from);
    if (vlan) {
        put16(frame, 0x8100);
        put16(frame, *vlan);
    }
    put16(frame, family() == 4 ? 0x0800 : 0x86dd);
    put(frame, family() == 4 ? build_header4(*this, segment.size()) : build_header6(*this, segment.size()));
    put(frame, segment);
    frame.insert(frame.end(), padding, 0x5a);
    return frame;
}

/// Whether both checksums of an untagged frame are right, read from the frame alone. The lengths in the
/// headers must be true.
inline bool checksums_right(std::span<const std::uint8_t> frame) {
    const auto ip = frame.subspan(ethernet_header);
    const bool four = get16(frame, 12) == 0x0800;
    const std::size_t header = four ? static_cast<std::size_t>(ip[0] & 15) * 4 : 40;
    const std::size_t length = four ? get16(ip, 2) : get16(ip, 4) + 40;
    if (length > ip.size() || length < header + 20) return false;
    if (four && folded_sum(ip.first(header)) != 0xffff) return false;
    Bytes pseudo;
    put(pseudo, four ? ip.subspan(12, 8) : ip.subspan(8, 32));
    put32(pseudo, static_cast<std::uint32_t>(length - header));
    put32(pseudo, protocol_tcp);
    return folded_sum(ip.subspan(header, length - header), folded_sum(pseudo)) == 0xffff;
}

/// Two frames side by side, for a person: what differs stands between brackets.
inline std::string difference(std::span<const std::uint8_t> seen, std::span<const std::uint8_t> wanted) {
    std::string text;
    char piece[64];
    for (std::size_t i = 0; i < std::max(seen.size(), wanted.size()); ++i) {
        const int left = i < seen.size() ? seen[i] : -1;
        const int right = i < wanted.size() ? wanted[i] : -1;
        if (left == right) continue;
        std::snprintf(piece, sizeof piece, "[at %zu: %02x, wanted %02x] ", i,
                      static_cast<unsigned>(left) & 0xfffU, static_cast<unsigned>(right) & 0xfffU);
        text += piece;
    }
    return text;
}

}  // namespace limpet::packet
