// SPDX-License-Identifier: Apache-2.0
// Whatever bytes come first: a judgement does not change when more bytes come, no prefix of a valid header is
// anything but incomplete, and a header written back reads the same. Seeds:
// tests/fuzz/corpus/header_proxy_protocol.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "proxy_protocol/header.h"

namespace {

using namespace limpet;
using namespace limpet::proxy_protocol;

constexpr Accept accept_all{.v1 = true, .v2 = true, .maximum_size = 2048};

void require(bool held, const char* promise) {
    if (held) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

bool same_judgement(const Parsed& left, const Parsed& right) {
    return left.status == right.status && left.fault == right.fault && left.consumed == right.consumed &&
           left.header == right.header;
}

void check_splits(Bytes bytes, const Parsed& whole) {
    for (std::size_t length = 0; length < bytes.size(); length += length < 128 ? 1 : 1 + length / 8) {
        const Parsed part = parse_header(bytes.first(length), accept_all);
        if (part.status == Status::incomplete) continue;
        require(same_judgement(part, whole), "what was judged once stays so when more bytes come");
        require(part.status == Status::invalid || length >= whole.consumed,
                "a prefix of a valid header is incomplete");
    }
    if (whole.status == Status::incomplete) return;
    std::vector<std::uint8_t> longer(bytes.begin(), bytes.end());
    for (const std::uint8_t byte : std::to_array<std::uint8_t>({0x00, 0x0D, 0x0A, 0xFF})) {
        longer.push_back(byte);
        require(same_judgement(parse_header(longer, accept_all), whole),
                "bytes behind what was judged change nothing");
    }
}

void check_written(const Parsed& whole) {
    Header header = whole.header;
    const bool writable =
        whole.status == Status::complete && (header.addresses || header.command == Command::local);
    if (!writable) return;
    header.version = Version::v2;
    const auto written = write_v2(header);
    require(written.has_value(), "what was read can be written");
    const Parsed again = parse_header(*written, {.v1 = false, .v2 = true, .maximum_size = written->size()});
    require(again.status == Status::complete && again.consumed == written->size(),
            "what is written is one valid header");
    require(again.header == header, "what is written reads the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes(data, size);
    const Parsed whole = parse_header(bytes, accept_all);
    require((whole.status == Status::invalid) == (whole.fault != Fault::none), "invalid has a fault");
    require(whole.status == Status::complete || (whole.consumed == 0 && whole.header == Header{}),
            "nothing gets out of what is not a header");
    require(whole.status != Status::incomplete || size < accept_all.maximum_size,
            "never waits beyond the maximum");
    check_splits(bytes, whole);
    check_written(whole);
    return 0;
}
