// SPDX-License-Identifier: Apache-2.0
// Whatever bytes come first, and however they are cut: the reader says the same, says it at the same byte,
// and never holds more than its maximum. Seeds: tests/fuzz/corpus/client_hello_tls_hello.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tls_hello/client_hello.h"

namespace {

using namespace limpet;
using namespace limpet::tls_hello;

constexpr std::size_t maximum_size = 2048;

void require(bool held, const char* promise) {
    if (held) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

ClientHelloReader read_in_pieces(Bytes bytes, std::size_t piece) {
    ClientHelloReader reader(maximum_size);
    while (!bytes.empty()) {
        const std::size_t size = std::min(piece, bytes.size());
        reader.read(bytes.first(size));
        bytes = bytes.subspan(size);
    }
    return reader;
}

void check_same(const ClientHelloReader& left, const ClientHelloReader& right) {
    require(left.status() == right.status() && left.fault() == right.fault() &&
                left.consumed() == right.consumed() && left.hello() == right.hello(),
            "the result does not hang on how the bytes were cut");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes(data, size);
    const ClientHelloReader whole = read_in_pieces(bytes, size + 1);
    require((whole.status() == Status::invalid) == (whole.fault() != Fault::none), "invalid has a fault");
    require(whole.status() == Status::complete || (whole.consumed() == 0 && whole.hello() == ClientHello{}),
            "nothing gets out of what is not a ClientHello");
    require(whole.status() != Status::incomplete || size <= maximum_size, "never waits beyond the maximum");
    require(whole.consumed() <= std::min(size, maximum_size), "consumed fits");
    for (const std::size_t piece : {1U, 2U, 3U, 7U, 64U}) check_same(read_in_pieces(bytes, piece), whole);
    if (whole.status() == Status::complete) {
        require(read_in_pieces(bytes.first(whole.consumed() - 1), size).status() == Status::incomplete,
                "a prefix of a ClientHello is incomplete");
        check_same(read_in_pieces(bytes.first(whole.consumed()), size), whole);
    }
    return 0;
}
