// SPDX-License-Identifier: Apache-2.0
// What is negotiated, on both sides: versions, ciphers, groups. The defaults are Mozilla's "intermediate".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "tls/openssl.h"

namespace limpet::tls {

enum class Version : std::uint8_t { tls12, tls13 };

struct Policy {
    Version minimum = Version::tls12;
    std::string ciphers{};       ///< of TLS 1.2, in OpenSSL's spelling; empty: the default
    std::string ciphersuites{};  ///< of TLS 1.3
    std::string groups{};
    bool kernel_tls = true;  ///< records are made by the kernel, where it and OpenSSL can
};

// Mozilla's Server Side TLS, intermediate, without its finite-field key exchange, which costs a server much
// and which no client of today needs. The order is the client's choice.
inline constexpr std::string_view default_ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
inline constexpr std::string_view default_ciphersuites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
inline constexpr std::string_view default_groups = "X25519:P-256:P-384";

// Whether OpenSSL knows them.
[[nodiscard]] Result<void> check_ciphers(const std::string& ciphers);
[[nodiscard]] Result<void> check_ciphersuites(const std::string& ciphersuites);
[[nodiscard]] Result<void> check_groups(const std::string& groups);

/// A context of one side with the policy, and with what every connection here has: no renegotiation, no
/// compression, no memory while quiet.
[[nodiscard]] Result<ContextPointer> make_context(const SSL_METHOD* method, const Policy& policy);

}  // namespace limpet::tls
