// SPDX-License-Identifier: Apache-2.0
// The first byte of the input says whether a request or a response follows. However it is cut, the judgement
// is the same; every answer to a request is one that a client can read; an accepted one is accepted by our
// own client. Seeds: tests/fuzz/corpus/upgrade_websocket.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "websocket/handshake.h"

namespace {

using namespace limpet;
using namespace limpet::websocket;

constexpr std::size_t maximum_size = 1024;

void require(bool held, const char* promise) {
    if (held) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

template <class Head>
std::string text_of(const Head& head) {
    std::string all = std::to_string(head.version());
    for (const auto& field : head)
        all += "|" + std::string(field.name_string()) + ":" + std::string(field.value());
    return all;
}

template <class Reader>
Reader read_in_pieces(Bytes bytes, std::size_t piece) {
    Reader reader(maximum_size);
    for (std::size_t length = 0; length < bytes.size();) {
        length = std::min(length + piece, bytes.size());
        reader.read(bytes.first(length));
    }
    return reader;
}

template <class Reader>
Reader read_in_all_pieces(Bytes bytes) {
    const auto whole = read_in_pieces<Reader>(bytes, bytes.size() + 1);
    require((whole.status() == Status::invalid) == (whole.fault() != HeadFault::none), "invalid has a fault");
    require(whole.status() == Status::complete || whole.consumed() == 0,
            "nothing is consumed of what is no head");
    require(whole.status() != Status::incomplete || bytes.size() < maximum_size,
            "never waits beyond the maximum");
    for (const std::size_t piece : {1U, 2U, 3U, 5U, 64U}) {
        const auto part = read_in_pieces<Reader>(bytes, piece);
        require(part.status() == whole.status() && part.fault() == whole.fault() &&
                    part.detail() == whole.detail() && part.consumed() == whole.consumed() &&
                    text_of(part.head()) == text_of(whole.head()),
                "the judgement does not hang on how the bytes were cut");
    }
    return whole;
}

void check_answer(const RequestHead& request) {
    const Rules rules{.paths = {"/mqtt", "/"}, .origins = {"https://a.example"}, .headers = {}};
    for (const Answer& answer : {answer_upgrade(request, rules), answer_upgrade(request, {})}) {
        ResponseReader reader(maximum_size * 2);
        require(reader.read(as_bytes(answer.response)) == Status::complete, "an answer is a response");
        require(reader.head().result_int() == answer.status, "of the status that it says");
        require(answer.accepted() == (answer.status == 101), "accepted is 101");
        if (!answer.accepted()) continue;
        UpgradeRequest asked;
        asked.key = std::string(request[http::field::sec_websocket_key]);
        asked.subprotocol = answer.subprotocol;
        require(judge_response(reader.head(), asked) == ResponseFault::none, "our own client accepts it");
        require(answer.path.starts_with('/'), "there is a path");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const Bytes bytes(data + 1, size - 1);
    if (data[0] % 2 != 0) {
        const auto reader = read_in_all_pieces<ResponseReader>(bytes);
        if (reader.status() == Status::complete)
            (void)judge_response(reader.head(), {.host = "h", .key = "k", .headers = {}});
        return 0;
    }
    const auto reader = read_in_all_pieces<RequestReader>(bytes);
    if (reader.status() == Status::complete) check_answer(reader.head());
    return 0;
}
