// SPDX-License-Identifier: Apache-2.0
#include "authority.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <cstdio>
#include <cstring>
#include <fstream>

namespace limpet::tls::test {
namespace {

KeyPointer make_key(const char* kind) {
    if (std::strcmp(kind, "RSA") == 0) return KeyPointer(EVP_RSA_gen(2048));
    std::string curve = "P-256";  // OpenSSL's macro casts the const of a constant text away
    return KeyPointer(EVP_EC_gen(curve.data()));
}

void add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    auto* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    ASSERT_NE(extension, nullptr) << value;
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

CertificatePointer bare(const std::string& common_name, long serial, EVP_PKEY* key, long seconds) {
    CertificatePointer certificate(X509_new());
    X509_set_version(certificate.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -2 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), seconds);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
    X509_set_pubkey(certificate.get(), key);
    return certificate;
}

}  // namespace

Authority::Authority() : key_(make_key("EC")) {
    std::string pattern = (std::filesystem::temp_directory_path() / "limpet-tls-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    own_ = bare("Limpet's test authority", serial_++, key_.get(), 365 * 86400);
    X509_set_issuer_name(own_.get(), X509_get_subject_name(own_.get()));
    add_extension(own_.get(), own_.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(own_.get(), own_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    X509_sign(own_.get(), key_.get(), EVP_sha256());
    static_cast<void>(store("ca", own_.get(), key_.get()));
}

Authority::~Authority() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

Authority::Made Authority::issue(const std::string& common_name, const std::string& names, const char* kind,
                                 long seconds) {
    const auto key = make_key(kind);
    const auto serial = serial_++;
    const auto certificate = bare(common_name, serial, key.get(), seconds);
    X509_set_issuer_name(certificate.get(), X509_get_subject_name(own_.get()));
    if (!names.empty()) add_extension(certificate.get(), own_.get(), NID_subject_alt_name, names);
    X509_sign(certificate.get(), key_.get(), EVP_sha256());
    return store(std::to_string(serial), certificate.get(), key.get());
}

Authority::Made Authority::store(const std::string& name, X509* certificate, EVP_PKEY* key) const {
    Made made{(folder_ / (name + ".pem")).string(), (folder_ / (name + ".key")).string()};
    auto* file = std::fopen(made.certificate.c_str(), "w");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    file = std::fopen(made.key.c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(file);
    return made;
}

std::string Authority::write(const std::string& name, const std::string& text) const {
    const auto path = folder_ / name;
    std::ofstream(path) << text;
    return path.string();
}

std::shared_ptr<const Credentials> Authority::load(const Made& made) {
    auto credentials = std::make_shared<Credentials>();
    auto chain = read_chain(made.certificate);
    auto key = read_key(made.key);
    if (!chain || !key) throw std::runtime_error("a certificate of the test's own cannot be read");
    credentials->chain = *chain;
    credentials->key = std::move(*key);
    return credentials;
}

std::shared_ptr<const Authorities> Authority::authorities() const {
    auto authorities = std::make_shared<Authorities>();
    if (!read_authorities(certificate(), *authorities)) throw std::runtime_error("no authority");
    return authorities;
}

}  // namespace limpet::tls::test
