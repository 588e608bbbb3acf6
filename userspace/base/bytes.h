// SPDX-License-Identifier: Apache-2.0
// What every codec speaks: bytes that somebody else owns, and how far reading them has come.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace limpet {

using Bytes = std::span<const std::uint8_t>;

/// What a prefix of a stream is: more bytes are needed, a whole unit, or one that can never become valid.
enum class Status { incomplete, complete, invalid };

/// The same text, as bytes and as characters.
[[nodiscard]] inline Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace limpet
