// SPDX-License-Identifier: Apache-2.0
// The translator on any frame with any entry: it stays within the frame, changes nothing that it refuses, and
// a checksum that was right stays right.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "../bpf/packet.h"
#include "dataplane/translate_host.h"

namespace {

using namespace limpet::packet;

/// Takes the entry's free fields from the front of the input.
limpet_flow6 read_entry(std::span<const std::uint8_t>& input) {
    limpet_flow6 entry{};
    Bytes bytes(sizeof entry);
    const auto size = std::min(bytes.size(), input.size());
    std::copy_n(input.begin(), size, bytes.begin());
    std::memcpy(&entry, bytes.data(), bytes.size());
    input = input.subspan(size);
    return entry;
}

/// IPv6 and IPv4 TCP packets whose headers tell the truth, so that the checksums can be written over.
bool well_formed(std::span<const std::uint8_t> frame) {
    if (frame.size() < ethernet_header + 40) return false;
    const auto ip = frame.subspan(ethernet_header);
    if (get16(frame, 12) == 0x0800) return ip[0] == 0x45 && get16(ip, 2) >= 40 && get16(ip, 2) <= ip.size();
    if (get16(frame, 12) != 0x86dd || ip.size() < 60) return false;
    return get16(ip, 4) >= 20 && get16(ip, 4) + 40 <= ip.size();
}

void write_checksums(std::span<std::uint8_t> frame) {
    const auto ip = frame.subspan(ethernet_header);
    const bool four = get16(frame, 12) == 0x0800;
    const std::size_t header = four ? 20 : 40;
    const std::size_t length = four ? get16(ip, 2) : get16(ip, 4) + 40;
    const auto store = [](std::span<std::uint8_t> field, std::uint32_t value) {
        field[0] = static_cast<std::uint8_t>(value >> 8);
        field[1] = static_cast<std::uint8_t>(value);
    };
    if (four) {
        store(ip.subspan(10, 2), 0);
        store(ip.subspan(10, 2), 0xffffU ^ folded_sum(ip.first(20)));
    }
    Bytes pseudo;
    put(pseudo, four ? ip.subspan(12, 8) : ip.subspan(8, 32));
    put32(pseudo, static_cast<std::uint32_t>(length - header));
    put32(pseudo, protocol_tcp);
    const auto segment = ip.subspan(header, length - header);
    store(segment.subspan(16, 2), 0);
    store(segment.subspan(16, 2), 0xffffU ^ folded_sum(segment, folded_sum(pseudo)));
}

void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::span<const std::uint8_t> input(data, size);
    if (input.empty()) return 0;
    const bool mend_checksums = (input[0] & 1) != 0;
    input = input.subspan(1);
    auto entry = read_entry(input);
    // Two bytes behind a multiple of four, and not a byte more than the frame: a sanitizer sees all else.
    const std::unique_ptr<std::uint8_t[]> block(new std::uint8_t[2 + input.size()]);
    const std::span<std::uint8_t> frame(block.get() + 2, input.size());
    std::copy(input.begin(), input.end(), frame.begin());
    if (mend_checksums && well_formed(frame)) write_checksums(frame);
    const Bytes before(frame.begin(), frame.end());
    const bool right = well_formed(frame) && checksums_right(frame);

    limpet_host_packet parsed{};
    const auto length = static_cast<std::uint32_t>(frame.size());
    const int found = limpet_host_parse(frame.data(), length, &parsed);
    require(std::ranges::equal(frame, before));  // parsing changes nothing
    if (found == 0) require(parsed.tcp_offset + parsed.tcp_header + parsed.payload <= frame.size());

    // An IPv4 frame gets an IPv4 entry in a block of its exact size, too.
    int result = 0;
    if (parsed.family == 4) {
        const std::unique_ptr<limpet_flow4> entry4(new limpet_flow4);
        std::memcpy(entry4.get(), &entry, sizeof *entry4);
        result = limpet_host_translate(frame.data(), length, entry4.get());
    } else {
        result = limpet_host_translate(frame.data(), length, &entry);
    }
    if (result != 0) require(std::ranges::equal(frame, before));
    if (result == 0 && right) require(checksums_right(frame));
    if (result == 0) {
        limpet_host_packet after{};
        require(limpet_host_parse(frame.data(), length, &after) == 0);
        require(after.payload == parsed.payload && after.tcp_header == parsed.tcp_header);
        limpet_host_checksum(frame.data(), &after, after.payload);
        require(!well_formed(frame) || checksums_right(frame));
    }
    return 0;
}
