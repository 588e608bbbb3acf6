// SPDX-License-Identifier: Apache-2.0
#include "tls/credentials.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "base/fd.h"

namespace limpet::tls {
namespace {

// A file of certificates of all the world's authorities is some 200 KB.
constexpr std::size_t largest_file = 4 * 1024 * 1024;

Result<std::string> read_whole(const std::string& path) {
    const auto doing = "reading " + path;
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (!file) return fail_errno(doing, errno, "name a file that is there and may be read");
    struct stat about{};
    if (::fstat(file.get(), &about) != 0) return fail_errno(doing, errno);
    if (!S_ISREG(about.st_mode)) return fail(doing + ": it is no file", "name a file");
    std::string text;
    char buffer[16384];
    while (text.size() <= largest_file) {
        const auto count = ::read(file.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno(doing, errno);
        if (count == 0) return text;
        text.append(buffer, static_cast<std::size_t>(count));
    }
    return fail(doing + ": it is larger than 4 MiB", "name a file in PEM");
}

BioPointer memory(const std::string& text) {
    return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// A key that wants a pass phrase cannot be used: nobody is there to type it.
int no_phrase(char*, int, int, void*) {
    return -1;
}

/// Every object of one kind in a PEM file, whatever else stands between them.
template <class Pointer, class ReadOne>
Result<std::vector<Pointer>> read_all(const std::string& text, const std::string& path, std::string_view what,
                                      ReadOne read_one) {
    const auto bio = memory(text);
    std::vector<Pointer> objects;
    ERR_clear_error();
    while (auto* object = read_one(bio.get(), nullptr, no_phrase, nullptr)) objects.emplace_back(object);
    const auto code = ERR_peek_last_error();
    const bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    const auto problem = take_problem();
    if (!at_end) return fail(path + ": " + problem, "it must be PEM (-----BEGIN …-----)");
    if (objects.empty())
        return fail(path + " has no " + std::string(what), "name a file in PEM that has one");
    return objects;
}

Time time_of(const ASN1_TIME* time) {
    tm broken_down{};
    if (!time || ASN1_TIME_to_tm(time, &broken_down) != 1) return {};
    return std::chrono::system_clock::from_time_t(timegm(&broken_down));
}

std::string utf8_text(const ASN1_STRING* string) {
    unsigned char* utf8 = nullptr;
    const int length = ASN1_STRING_to_UTF8(&utf8, string);
    if (length < 0) return {};
    std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(length));
    OPENSSL_free(utf8);
    return text;
}

std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

std::string kind_of(X509* certificate) {
    const auto* key = X509_get0_pubkey(certificate);
    if (!key) return "unknown";
    if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA) return "RSA " + std::to_string(EVP_PKEY_bits(key));
    const auto* type = EVP_PKEY_get0_type_name(key);
    char group[64] = {};
    if (EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) == 1 &&
        EVP_PKEY_base_id(key) == EVP_PKEY_EC)
        return std::string("ECDSA ") + group;
    return type ? type : "unknown";
}

/// Chains what was read before with this file.
std::vector<std::uint8_t> extend_digest(const std::vector<std::uint8_t>& before, const std::string& text) {
    std::vector<std::uint8_t> digest(EVP_MAX_MD_SIZE);
    unsigned length = 0;
    const std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
    EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
    EVP_DigestUpdate(context.get(), before.data(), before.size());
    EVP_DigestUpdate(context.get(), text.data(), text.size());
    EVP_DigestFinal_ex(context.get(), digest.data(), &length);
    digest.resize(length);
    return digest;
}

}  // namespace

Result<std::shared_ptr<const Chain>> read_chain(const std::string& path) {
    auto text = read_whole(path);
    if (!text) return std::unexpected(text.error());
    auto certificates = read_all<CertificatePointer>(*text, path, "certificate", PEM_read_bio_X509);
    if (!certificates) return std::unexpected(certificates.error());
    auto chain = std::make_shared<Chain>();
    chain->path = path;
    chain->certificates = std::move(*certificates);
    return chain;
}

Result<KeyPointer> read_key(const std::string& path) {
    auto text = read_whole(path);
    if (!text) return std::unexpected(text.error());
    const auto bio = memory(*text);
    ERR_clear_error();
    KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_phrase, nullptr));
    OPENSSL_cleanse(text->data(), text->size());
    if (key) return key;
    if (text->find("ENCRYPTED") != std::string::npos)
        return fail(path + ": the key is encrypted", "store it without a pass phrase, readable by root only");
    return fail(path + " has no private key: " + take_problem(),
                "name a file in PEM that has one, or put it into the certificate's file");
}

Result<void> check_pair(const Chain& chain, const KeyPointer& key) {
    if (X509_check_private_key(chain.leaf(), key.get()) == 1) return {};
    ERR_clear_error();
    return fail("the key does not belong to the first certificate of " + chain.path,
                "name the key that it was made with; the server's own certificate comes first in its file");
}

Result<void> read_staple(const std::string& path, Credentials& credentials) {
    const auto text = read_whole(path);
    if (!text) return std::unexpected(text.error());
    const auto* at = reinterpret_cast<const unsigned char*>(text->data());
    ERR_clear_error();
    const StaplePointer response(d2i_OCSP_RESPONSE(nullptr, &at, static_cast<long>(text->size())));
    if (!response || OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        ERR_clear_error();
        return fail(path + " is no successful OCSP response",
                    "store what the certificate's responder answered, in DER (openssl ocsp -respout)");
    }
    const BasicStaplePointer basic(OCSP_response_get1_basic(response.get()));
    auto* single = basic ? OCSP_resp_get0(basic.get(), 0) : nullptr;
    const auto* id = single ? OCSP_SINGLERESP_get0_id(single) : nullptr;
    ASN1_INTEGER* serial = nullptr;
    if (id) OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, const_cast<OCSP_CERTID*>(id));
    if (!serial || ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(credentials.chain->leaf())) != 0)
        return fail(path + " is not about the certificate in " + credentials.chain->path,
                    "ask the responder about that one");
    ASN1_GENERALIZEDTIME* next = nullptr;
    OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &next);
    credentials.staple_until = next ? time_of(next) : Time::max();
    credentials.staple.assign(text->begin(), text->end());
    return {};
}

Result<void> read_authorities(const std::string& path, Authorities& authorities) {
    const auto text = read_whole(path);
    if (!text) return std::unexpected(text.error());
    auto certificates = read_all<CertificatePointer>(*text, path, "certificate", PEM_read_bio_X509);
    if (!certificates) return std::unexpected(certificates.error());
    for (auto& certificate : *certificates) authorities.certificates.push_back(std::move(certificate));
    authorities.digest = extend_digest(authorities.digest, *text);
    return {};
}

Result<void> read_revocations(const std::string& path, Authorities& authorities) {
    const auto text = read_whole(path);
    if (!text) return std::unexpected(text.error());
    auto lists =
        read_all<RevocationPointer>(*text, path, "revocation list (X509 CRL)", PEM_read_bio_X509_CRL);
    if (!lists) return std::unexpected(lists.error());
    for (auto& list : *lists) authorities.revocations.push_back(std::move(list));
    authorities.digest = extend_digest(authorities.digest, *text);
    return {};
}

std::string exposure(const std::string& key_path) {
    struct stat about{};
    if (::stat(key_path.c_str(), &about) != 0) return {};
    if ((about.st_mode & (S_IRGRP | S_IROTH | S_IWGRP | S_IWOTH)) != 0)
        return key_path + " can be read by others than its owner: chmod 600 it";
    if (about.st_uid != 0 && about.st_uid != ::geteuid())
        return key_path + " belongs to user " + std::to_string(about.st_uid) +
               ", who can read it: chown root it";
    return {};
}

std::string common_name_of(X509* certificate) {
    auto* subject = X509_get_subject_name(certificate);
    // The last one is the most specific (RFC 6125 1.8).
    int last = -1;
    for (int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0;
         at = X509_NAME_get_index_by_NID(subject, NID_commonName, at))
        last = at;
    if (last < 0) return {};
    return utf8_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
}

std::string hexadecimal(std::span<const unsigned char> bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const auto byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

std::string fingerprint_of(X509* certificate) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &length) != 1) return {};
    return hexadecimal({digest, length});
}

CertificateFacts facts_of(X509* certificate) {
    CertificateFacts facts;
    facts.fingerprint = fingerprint_of(certificate);
    facts.common_name = common_name_of(certificate);
    const NamesPointer names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int index = 0; names && index < sk_GENERAL_NAME_num(names.get()); ++index) {
        const auto* name = sk_GENERAL_NAME_value(names.get(), index);
        if (name->type == GEN_DNS) facts.names.push_back(lower(utf8_text(name->d.dNSName)));
    }
    if (!names && !facts.common_name.empty()) facts.names.push_back(lower(facts.common_name));
    facts.kind = kind_of(certificate);
    facts.not_before = time_of(X509_get0_notBefore(certificate));
    facts.not_after = time_of(X509_get0_notAfter(certificate));
    return facts;
}

}  // namespace limpet::tls
