// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/wire.h"

namespace limpet::proxy_protocol {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // 0x1EDC6F41, the lowest bit first

constexpr std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> filled{};
    for (std::uint32_t index = 0; index < filled.size(); ++index) {
        std::uint32_t value = index;
        for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? polynomial : 0);
        filled[index] = value;
    }
    return filled;
}();

}  // namespace

void Crc32c::add(Bytes bytes) {
    for (const std::uint8_t byte : bytes) state_ = state_ >> 8 ^ table[(state_ ^ byte) & 0xFF];
}

}  // namespace limpet::proxy_protocol
