// SPDX-License-Identifier: Apache-2.0
// Certificates, keys and lists from files, read whole and checked before anything uses them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tls/openssl.h"

namespace limpet::tls {

using Time = std::chrono::system_clock::time_point;

/// A certificate with what proves it: the chain towards its root, leaf first.
struct Chain {
    std::string path;
    std::vector<CertificatePointer> certificates;

    [[nodiscard]] X509* leaf() const { return certificates.front().get(); }
};

/// What a server can prove itself with.
struct Credentials {
    std::shared_ptr<const Chain> chain;
    KeyPointer key;
    std::vector<std::uint8_t> staple;  ///< OCSP response in DER, for clients that ask; empty: none
    Time staple_until;                 ///< and until when it may be shown
};

/// Who is believed when a peer shows a certificate, and whom they have revoked.
struct Authorities {
    std::vector<CertificatePointer> certificates;
    std::vector<RevocationPointer> revocations;
    /// Of all that was read: two with the same digest judge alike.
    std::vector<std::uint8_t> digest;
};

[[nodiscard]] Result<std::shared_ptr<const Chain>> read_chain(const std::string& path);
[[nodiscard]] Result<KeyPointer> read_key(const std::string& path);
/// Whether the key belongs to the certificate.
[[nodiscard]] Result<void> check_pair(const Chain& chain, const KeyPointer& key);
/// Reads an OCSP response (DER) about the leaf into `credentials`.
[[nodiscard]] Result<void> read_staple(const std::string& path, Credentials& credentials);
[[nodiscard]] Result<void> read_authorities(const std::string& path, Authorities& authorities);
[[nodiscard]] Result<void> read_revocations(const std::string& path, Authorities& authorities);

/// Why others than root can read a key file; empty where they cannot.
[[nodiscard]] std::string exposure(const std::string& key_path);

/// What people and rules want to know of a certificate.
struct CertificateFacts {
    std::string common_name;
    std::vector<std::string> names;  ///< DNS names, lower case: the alternative ones, or else the common name
    std::string fingerprint;         ///< SHA-256, hexadecimal, lower case
    std::string kind;                ///< of its key: "RSA 2048", "ECDSA prime256v1"
    Time not_before;
    Time not_after;
};
[[nodiscard]] CertificateFacts facts_of(X509* certificate);
[[nodiscard]] std::string common_name_of(X509* certificate);
[[nodiscard]] std::string fingerprint_of(X509* certificate);
/// Lower case, two digits for a byte.
[[nodiscard]] std::string hexadecimal(std::span<const unsigned char> bytes);

}  // namespace limpet::tls
