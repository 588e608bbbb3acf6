// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <algorithm>
#include <cstddef>

namespace limpet {
namespace {

/// What may follow a first byte (RFC 3629 4): how many continuation bytes, and the range of the first of
/// them, which is where overlong forms, surrogates and code points above U+10FFFF are excluded.
struct Lead {
    std::size_t following;
    std::uint8_t lowest;
    std::uint8_t highest;
};

constexpr Lead lead_of(std::uint8_t byte) {
    if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
    if (byte == 0xE0) return {2, 0xA0, 0xBF};
    if (byte == 0xED) return {2, 0x80, 0x9F};
    if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
    if (byte == 0xF0) return {3, 0x90, 0xBF};
    if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
    if (byte == 0xF4) return {3, 0x80, 0x8F};
    return {0, 0, 0};
}

constexpr bool is_continuation(std::uint8_t byte) {
    return (byte & 0xC0) == 0x80;
}

}  // namespace

bool is_utf8(Bytes bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
        if (bytes[at] < 0x80) {
            ++at;
            continue;
        }
        const Lead lead = lead_of(bytes[at]);
        if (lead.following == 0 || lead.following >= bytes.size() - at) return false;
        if (bytes[at + 1] < lead.lowest || bytes[at + 1] > lead.highest) return false;
        if (!std::ranges::all_of(bytes.subspan(at + 2, lead.following - 1), is_continuation)) return false;
        at += lead.following + 1;
    }
    return true;
}

}  // namespace limpet
