// SPDX-License-Identifier: Apache-2.0
// Constants of the PROXY protocol and how version 2 lays numbers into bytes; inside this room only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "proxy_protocol/header.h"

namespace limpet::proxy_protocol {

/// 2.1
inline constexpr std::array<std::uint8_t, 6> v1_signature{'P', 'R', 'O', 'X', 'Y', ' '};
inline constexpr std::size_t v1_longest_line = 107;  ///< bytes, CRLF included

/// 2.2
inline constexpr std::array<std::uint8_t, 12> v2_signature{0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                                           0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};
inline constexpr std::size_t v2_head_size = 16;
inline constexpr std::uint8_t v2_version = 2;
inline constexpr std::uint8_t family_ipv4 = 1;
inline constexpr std::uint8_t family_ipv6 = 2;
inline constexpr std::uint8_t family_unix = 3;
inline constexpr std::size_t unix_path_size = 108;
inline constexpr std::size_t largest_length = 65'535;

/// How many bytes the two ends take, ports included.
[[nodiscard]] constexpr std::size_t addresses_size(std::uint8_t family) {
    constexpr std::array<std::size_t, 4> sizes{0, 2 * (4 + 2), 2 * (16 + 2), 2 * unix_path_size};
    return sizes[family];
}

inline constexpr std::size_t tlv_head_size = 3;
inline constexpr std::size_t tls_head_size = 5;  ///< client and verify, in front of the vectors inside
inline constexpr std::size_t checksum_size = 4;
inline constexpr std::size_t longest_unique_id = 128;  ///< 2.2.5

enum TlvType : std::uint8_t {
    tlv_alpn = 0x01,
    tlv_authority = 0x02,
    tlv_checksum = 0x03,
    tlv_noop = 0x04,
    tlv_unique_id = 0x05,
    tlv_tls = 0x20,
    tlv_tls_version = 0x21,
    tlv_tls_common_name = 0x22,
    tlv_tls_cipher = 0x23,
    tlv_tls_signature_algorithm = 0x24,
    tlv_tls_key_algorithm = 0x25,
    tlv_network_namespace = 0x30,
};

[[nodiscard]] constexpr std::uint16_t number16(Bytes bytes) {
    return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}
[[nodiscard]] constexpr std::uint32_t number32(Bytes bytes) {
    return std::uint32_t{number16(bytes)} << 16 | number16(bytes.subspan(2));
}

/// CRC32c (RFC 4960 appendix B) of bytes that come in pieces.
class Crc32c {
  public:
    void add(Bytes bytes);
    [[nodiscard]] std::uint32_t value() const { return ~state_; }

  private:
    std::uint32_t state_ = 0xFFFFFFFF;
};

/// Both read from bytes that begin with the signature.
[[nodiscard]] Parsed read_v1(Bytes bytes);
[[nodiscard]] Parsed read_v2(Bytes bytes, std::size_t maximum_size);

}  // namespace limpet::proxy_protocol
