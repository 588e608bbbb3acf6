// SPDX-License-Identifier: Apache-2.0
// OpenSSL's objects with owners, and what it has to say when something fails. For the room's own sources.
#pragma once

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace limpet::tls {

template <auto free>
struct Freed {
    template <class Object>
    void operator()(Object* object) const {
        free(object);
    }
};

using BioPointer = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using CertificatePointer = std::unique_ptr<X509, Freed<X509_free>>;
using RevocationPointer = std::unique_ptr<X509_CRL, Freed<X509_CRL_free>>;
using NamesPointer = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using ContextPointer = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using SslPointer = std::unique_ptr<SSL, Freed<SSL_free>>;
using StaplePointer = std::unique_ptr<OCSP_RESPONSE, Freed<OCSP_RESPONSE_free>>;
using BasicStaplePointer = std::unique_ptr<OCSP_BASICRESP, Freed<OCSP_BASICRESP_free>>;

/// Takes the newest error off OpenSSL's queue of this thread, empties it, and says it in a few words.
[[nodiscard]] std::string take_problem();

}  // namespace limpet::tls
