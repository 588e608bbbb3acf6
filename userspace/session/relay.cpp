// SPDX-License-Identifier: Apache-2.0
#include "session/relay.h"

namespace limpet::session {
namespace {

// Reads of one pass: a fast sender must not keep the worker from its other sessions.
constexpr int reads_per_pass = 8;

}  // namespace

bool flush(Leg& sink, std::vector<std::uint8_t>& waiting, std::size_t& taken) {
    while (taken < waiting.size()) {
        const auto count = sink.write(std::span(waiting).subspan(taken));
        if (count < 0) return false;
        if (count == 0) return true;
        taken += static_cast<std::size_t>(count);
    }
    std::vector<std::uint8_t>().swap(waiting);
    taken = 0;
    return true;
}

bool pump(Leg& source, Leg& sink, Direction& direction, std::span<std::uint8_t> scratch) {
    if (!direction.waiting.empty() && !flush(sink, direction.waiting, direction.taken)) return false;
    for (int pass = 0; pass < reads_per_pass && direction.wants_source(); ++pass) {
        const auto read = source.read(scratch);
        if (read.kind == Read::Kind::broken) return false;
        if (read.kind == Read::Kind::nothing) return true;
        if (read.kind == Read::Kind::end) {
            direction.ended = true;
            break;
        }
        const auto bytes = scratch.first(read.count);
        if (direction.packets) direction.packets->take(bytes);
        const auto count = sink.write(bytes);
        if (count < 0) return false;
        const auto rest = bytes.subspan(static_cast<std::size_t>(count));
        direction.waiting.assign(rest.begin(), rest.end());
    }
    if (direction.ended && direction.waiting.empty() && !direction.passed_on)
        direction.passed_on = sink.end();
    return true;
}

}  // namespace limpet::session
