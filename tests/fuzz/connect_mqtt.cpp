// SPDX-License-Identifier: Apache-2.0
// Whatever bytes come first, parse_connect must hold to three promises: a judgement does not change when more
// bytes come, no prefix of a valid packet is anything but incomplete, and a packet written back reads the
// same. Seeds: tests/fuzz/corpus/connect_mqtt.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "mqtt/packet.h"

namespace {

using namespace limpet;
using namespace limpet::mqtt;

constexpr std::size_t maximum_size = 4096;

void require(bool held, const char* promise) {
    if (held) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

bool same_judgement(const Parsed<Connect>& left, const Parsed<Connect>& right) {
    return left.status == right.status && left.reason == right.reason && left.detail == right.detail &&
           left.version == right.version && left.consumed == right.consumed && left.packet == right.packet;
}

void check_prefixes(Bytes bytes, const Parsed<Connect>& whole) {
    // All short prefixes, where the head is judged, and some of the longer ones.
    for (std::size_t length = 0; length < bytes.size(); length += length < 64 ? 1 : 1 + length / 8) {
        const auto part = parse_connect(bytes.first(length), maximum_size);
        if (part.status == Status::incomplete) continue;
        require(same_judgement(part, whole), "what was judged once stays so when more bytes come");
        require(part.status == Status::invalid || length >= whole.consumed,
                "a prefix of a valid packet is incomplete");
    }
    if (whole.status == Status::complete)
        for (const std::size_t length : {whole.consumed - 1, whole.consumed / 2})
            require(parse_connect(bytes.first(length), maximum_size).status == Status::incomplete,
                    "a prefix of a valid packet is incomplete");
}

void check_longer(Bytes bytes, const Parsed<Connect>& whole) {
    if (whole.status == Status::incomplete) return;
    std::vector<std::uint8_t> longer(bytes.begin(), bytes.end());
    for (const char byte : {'\0', '\xFF', '\x10', '\x80', '\x7F'}) {
        longer.push_back(static_cast<std::uint8_t>(byte));
        require(same_judgement(parse_connect(longer, maximum_size), whole),
                "bytes behind what was judged change nothing");
    }
}

void check_written(const Parsed<Connect>& whole) {
    if (whole.status != Status::complete) return;
    const auto written = write_connect(whole.packet);
    require(written.size() <= whole.consumed, "what is written is the shortest form");
    const auto again = parse_connect(written, maximum_size);
    require(again.status == Status::complete, "what is written is valid");
    require(again.consumed == written.size(), "what is written is one packet");
    require(again.packet == whole.packet, "what is written reads the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes(data, size);
    const auto whole = parse_connect(bytes, maximum_size);
    require(whole.status != Status::complete || (whole.consumed > 0 && whole.consumed <= size),
            "consumed fits");
    require((whole.status == Status::invalid) == (whole.reason != LIMPET_REASON_NONE),
            "invalid has a reason");
    require((whole.status == Status::invalid) != whole.detail.empty(), "invalid says what is wrong");
    require(whole.status == Status::complete || (whole.consumed == 0 && whole.packet == Connect{}),
            "nothing gets out of what is not a packet");
    require(whole.status != Status::incomplete || size < maximum_size, "never waits beyond the maximum");
    check_prefixes(bytes, whole);
    check_longer(bytes, whole);
    check_written(whole);
    return 0;
}
