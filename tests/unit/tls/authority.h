// SPDX-License-Identifier: Apache-2.0
// Makes certificates for tests, as files in a folder that goes away.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "tls/credentials.h"

namespace limpet::tls::test {

class Authority {
  public:
    Authority();
    ~Authority();
    Authority(const Authority&) = delete;
    Authority& operator=(const Authority&) = delete;

    struct Made {
        std::string certificate;
        std::string key;
    };
    /// A certificate with this common name and these subject alternative names ("DNS:a,DNS:b"), signed by the
    /// authority; good from now for `seconds` (below zero: it has expired).
    [[nodiscard]] Made issue(const std::string& common_name, const std::string& names = {},
                             const char* kind = "EC", long seconds = 86400);
    /// The authority's own certificate.
    [[nodiscard]] std::string certificate() const { return (folder_ / "ca.pem").string(); }
    /// Writes a file into the folder and returns its path.
    [[nodiscard]] std::string write(const std::string& name, const std::string& text) const;

    [[nodiscard]] static std::shared_ptr<const Credentials> load(const Made& made);
    [[nodiscard]] std::shared_ptr<const Authorities> authorities() const;

  private:
    [[nodiscard]] Made store(const std::string& name, X509* certificate, EVP_PKEY* key) const;

    std::filesystem::path folder_;
    KeyPointer key_;
    CertificatePointer own_;
    long serial_ = 1;
};

}  // namespace limpet::tls::test
