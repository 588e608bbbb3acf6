// SPDX-License-Identifier: Apache-2.0
#include "dataplane/flow_key.h"

#include <arpa/inet.h>
#include <time.h>

#include <cstring>

namespace limpet::dataplane {
namespace {

Endpoint endpoint4(std::uint32_t address, std::uint16_t port) {
    Endpoint endpoint;
    std::memcpy(endpoint.address.bytes.data(), &address, 4);
    endpoint.port = ntohs(port);
    return endpoint;
}

Endpoint endpoint6(const std::uint8_t* address, std::uint16_t port) {
    Endpoint endpoint;
    endpoint.address.family = 6;
    std::memcpy(endpoint.address.bytes.data(), address, 16);
    endpoint.port = ntohs(port);
    return endpoint;
}

}  // namespace

FlowKey FlowKey::make(const Endpoint& source, const Endpoint& destination) {
    FlowKey key;
    key.family = source.address.family;
    if (key.family == 4) {
        limpet_key4 raw{};
        std::memcpy(&raw.source, source.address.bytes.data(), 4);
        std::memcpy(&raw.destination, destination.address.bytes.data(), 4);
        raw.source_port = htons(source.port);
        raw.destination_port = htons(destination.port);
        std::memcpy(key.bytes.data(), &raw, sizeof raw);
    } else {
        limpet_key6 raw{};
        std::memcpy(raw.source, source.address.bytes.data(), 16);
        std::memcpy(raw.destination, destination.address.bytes.data(), 16);
        raw.source_port = htons(source.port);
        raw.destination_port = htons(destination.port);
        std::memcpy(key.bytes.data(), &raw, sizeof raw);
    }
    return key;
}

Endpoint FlowKey::source() const {
    if (family == 4) {
        limpet_key4 raw;
        std::memcpy(&raw, bytes.data(), sizeof raw);
        return endpoint4(raw.source, raw.source_port);
    }
    limpet_key6 raw;
    std::memcpy(&raw, bytes.data(), sizeof raw);
    return endpoint6(raw.source, raw.source_port);
}

Endpoint FlowKey::destination() const {
    if (family == 4) {
        limpet_key4 raw;
        std::memcpy(&raw, bytes.data(), sizeof raw);
        return endpoint4(raw.destination, raw.destination_port);
    }
    limpet_key6 raw;
    std::memcpy(&raw, bytes.data(), sizeof raw);
    return endpoint6(raw.destination, raw.destination_port);
}

FlowEntry FlowEntry::from(const limpet_flow4& value) {
    FlowEntry entry;
    entry.flow = value.flow;
    entry.source = endpoint4(value.source, value.source_port);
    entry.destination = endpoint4(value.destination, value.destination_port);
    std::memcpy(entry.id_part.data(), value.id_part, sizeof value.id_part);
    return entry;
}

FlowEntry FlowEntry::from(const limpet_flow6& value) {
    FlowEntry entry;
    entry.family = 6;
    entry.flow = value.flow;
    entry.source = endpoint6(value.source, value.source_port);
    entry.destination = endpoint6(value.destination, value.destination_port);
    std::memcpy(entry.id_part.data(), value.id_part, sizeof value.id_part);
    return entry;
}

std::size_t id_part_size(std::uint8_t family) {
    return family == 4 ? LIMPET_ID_PART4 : LIMPET_ID_PART6;
}

std::uint32_t tick_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const auto nanoseconds =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL + static_cast<std::uint64_t>(now.tv_nsec);
    return static_cast<std::uint32_t>(nanoseconds >> LIMPET_TICK_SHIFT);
}

}  // namespace limpet::dataplane

std::size_t std::hash<limpet::dataplane::FlowKey>::operator()(
    const limpet::dataplane::FlowKey& key) const noexcept {
    std::uint64_t mixed = 0x9e3779b97f4a7c15ULL;
    for (std::size_t at = 0; at < key.bytes.size(); at += 8) {
        std::uint64_t word;
        std::memcpy(&word, key.bytes.data() + at, 8);
        mixed = (mixed ^ word) * 0xff51afd7ed558ccdULL;
        mixed ^= mixed >> 32;
    }
    return mixed;
}
