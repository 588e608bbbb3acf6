// SPDX-License-Identifier: Apache-2.0
// The first byte of the input chooses the version; the rest is what a broker may send in answer to CONNECT.
// The same promises as for CONNECT, and for parse_frame that it agrees. Seeds:
// tests/fuzz/corpus/connack_mqtt.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "mqtt/packet.h"

namespace {

using namespace limpet;
using namespace limpet::mqtt;

void require(bool held, const char* promise) {
    if (held) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

bool same_judgement(const Parsed<Connack>& left, const Parsed<Connack>& right) {
    return left.status == right.status && left.reason == right.reason && left.detail == right.detail &&
           left.consumed == right.consumed && left.packet == right.packet;
}

void check_splits(Bytes bytes, Version version, const Parsed<Connack>& whole) {
    for (std::size_t length = 0; length < bytes.size(); length += length < 64 ? 1 : 1 + length / 8) {
        const auto part = parse_connack(bytes.first(length), version);
        if (part.status == Status::incomplete) continue;
        require(same_judgement(part, whole), "what was judged once stays so when more bytes come");
        require(part.status == Status::invalid || length >= whole.consumed,
                "a prefix of a valid packet is incomplete");
    }
    if (whole.status == Status::incomplete) return;
    std::vector<std::uint8_t> longer(bytes.begin(), bytes.end());
    for (const char byte : {'\0', '\xFF', '\x20', '\x80', '\x7F'}) {
        longer.push_back(static_cast<std::uint8_t>(byte));
        require(same_judgement(parse_connack(longer, version), whole),
                "bytes behind what was judged change nothing");
    }
}

void check_written(Version version, const Parsed<Connack>& whole) {
    if (whole.status != Status::complete) return;
    const auto written = write_connack(whole.packet, version);
    require(written.size() <= whole.consumed, "what is written is the shortest form");
    const auto again = parse_connack(written, version);
    require(again.status == Status::complete && again.consumed == written.size(),
            "what is written is one valid packet");
    require(again.packet == whole.packet, "what is written reads the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    constexpr Version versions[] = {Version::v31, Version::v311, Version::v5};
    const Version version = versions[data[0] % 3];
    const Bytes bytes(data + 1, size - 1);
    const auto whole = parse_connack(bytes, version);
    const Frame frame = parse_frame(bytes);
    require((whole.status == Status::invalid) == (whole.reason != LIMPET_REASON_NONE),
            "invalid has a reason");
    require(whole.status == Status::complete || (whole.consumed == 0 && whole.packet == Connack{}),
            "nothing gets out of what is not a packet");
    if (whole.status == Status::complete)
        require(frame.status == Status::complete && frame.type == 2 && frame.length == whole.consumed,
                "the frame is the packet's");
    check_splits(bytes, version, whole);
    check_written(version, whole);
    return 0;
}
