// SPDX-License-Identifier: Apache-2.0
#include "tls/connection.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tls/credentials.h"
#include "tls/openssl.h"
#include "tls/server_names.h"

namespace limpet::tls {
namespace {

/// What an error of OpenSSL's means for a handshake of this side.
Reason reason_of(int code) {
    switch (code) {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return LIMPET_REASON_CLOSE_TLS_NO_CERTIFICATE;
        case SSL_R_CERTIFICATE_VERIFY_FAILED:
            return LIMPET_REASON_CLOSE_TLS_CERTIFICATE;
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_VERSION_TOO_LOW:
        case SSL_R_VERSION_TOO_HIGH:
        case SSL_R_WRONG_SSL_VERSION:
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_UNKNOWN_PROTOCOL:
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        case SSL_R_INAPPROPRIATE_FALLBACK:
            return LIMPET_REASON_CLOSE_TLS_VERSION;
        case SSL_R_NO_SHARED_CIPHER:
        case SSL_R_NO_SHARED_GROUPS:
        case SSL_R_NO_SUITABLE_KEY_SHARE:
        case SSL_R_NO_SUITABLE_GROUPS:
        case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
            return LIMPET_REASON_CLOSE_TLS_CIPHER;
        case SSL_R_NO_APPLICATION_PROTOCOL:
            return LIMPET_REASON_CLOSE_TLS_PROTOCOL;
        case SSL_R_UNEXPECTED_EOF_WHILE_READING:
            return LIMPET_REASON_CLOSE_CLIENT_GONE;
        default:
            // Above it: alerts that the peer sent.
            return code > SSL_AD_REASON_OFFSET ? LIMPET_REASON_CLOSE_TLS_ALERT
                                               : LIMPET_REASON_CLOSE_TLS_HANDSHAKE;
    }
}

std::string raw_text(const ASN1_STRING* string) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
            static_cast<std::size_t>(ASN1_STRING_length(string))};
}

void read_names(X509* certificate, PeerCertificate& into) {
    const NamesPointer names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
    for (int index = 0; names && index < sk_GENERAL_NAME_num(names.get()); ++index) {
        const auto* name = sk_GENERAL_NAME_value(names.get(), index);
        if (name->type == GEN_DNS) into.dns_names.push_back(raw_text(name->d.dNSName));
        if (name->type == GEN_EMAIL) into.emails.push_back(raw_text(name->d.rfc822Name));
        if (name->type == GEN_URI) into.uris.push_back(raw_text(name->d.uniformResourceIdentifier));
    }
}

bool expired(X509* certificate) {
    return X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

}  // namespace

Connection::Connection(ssl_st* ssl) : ssl_(ssl) {
    SSL_set_app_data(ssl_, this);
}

Connection::~Connection() {
    SSL_free(ssl_);
}

Connection::Step Connection::handshake() {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_do_handshake(ssl_);
    if (result == 1) {
        // A ticket brings the certificate of the first handshake along, and may be older than its end.
        auto* peer = SSL_get0_peer_certificate(ssl_);
        if (peer && SSL_session_reused(ssl_) && expired(peer)) {
            failure_ = {LIMPET_REASON_CLOSE_TLS_CERTIFICATE,
                        "certificate has expired since the session began"};
            broken_ = true;
            return Step::failed;
        }
        established_ = true;
        // Bytes may have come along with the last message.
        buffered_ = SSL_has_pending(ssl_) == 1;
        return Step::done;
    }
    const int error = SSL_get_error(ssl_, result);
    if (error == SSL_ERROR_WANT_READ) return Step::wants_read;
    if (error == SSL_ERROR_WANT_WRITE) return Step::wants_write;
    broken_ = true;
    failure_ = judge();
    ERR_clear_error();
    return Step::failed;
}

Failure Connection::judge() const {
    const auto code = ERR_peek_last_error();
    if (code == 0 || ERR_GET_LIB(code) == ERR_LIB_SYS)
        return {LIMPET_REASON_CLOSE_CLIENT_GONE, errno != 0 ? std::strerror(errno) : "the connection ended"};
    if (unknown_name_)
        return {LIMPET_REASON_CLOSE_TLS_NAME, "no certificate for the name " + session().server_name};
    // The first error says what was wrong, later ones in which function.
    const auto first = ERR_peek_error();
    const auto reason = reason_of(ERR_GET_REASON(ERR_GET_LIB(first) == ERR_LIB_SSL ? first : code));
    const auto* text = ERR_reason_error_string(ERR_GET_LIB(first) == ERR_LIB_SSL ? first : code);
    std::string detail = text ? text : "handshake failed";
    if (const auto verdict = SSL_get_verify_result(ssl_);
        reason == LIMPET_REASON_CLOSE_TLS_CERTIFICATE && verdict != X509_V_OK)
        detail = X509_verify_cert_error_string(verdict);
    return {reason, std::move(detail)};
}

Read Connection::read(std::span<std::uint8_t> into) {
    buffered_ = false;
    if (broken_) return {Read::Kind::broken, 0};
    ERR_clear_error();
    errno = 0;
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_, into.data(), into.size(), &count);
    if (result == 1) {
        to_read_ = Wait::readable;
        // Reading ahead fetches several records at once.
        buffered_ = SSL_has_pending(ssl_) == 1;
        return {Read::Kind::bytes, count};
    }
    switch (const int error = SSL_get_error(ssl_, result)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE:
            to_read_ = error == SSL_ERROR_WANT_READ ? Wait::readable : Wait::writable;
            return {Read::Kind::nothing, 0};
        case SSL_ERROR_ZERO_RETURN:
            return {Read::Kind::end, 0};
        default:
            fail_stream();
            return {Read::Kind::broken, 0};
    }
}

std::ptrdiff_t Connection::write(std::span<const std::uint8_t> bytes) {
    if (broken_ || said_goodbye_) return -1;
    std::size_t taken = 0;
    // A record at a time, until the socket is full.
    while (taken < bytes.size()) {
        ERR_clear_error();
        errno = 0;
        std::size_t count = 0;
        const auto rest = bytes.subspan(taken);
        const int result = SSL_write_ex(ssl_, rest.data(), rest.size(), &count);
        if (result == 1) {
            to_write_ = Wait::writable;
            taken += count;
            continue;
        }
        const int error = SSL_get_error(ssl_, result);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            fail_stream();
            return -1;
        }
        to_write_ = error == SSL_ERROR_WANT_WRITE ? Wait::writable : Wait::readable;
        break;
    }
    return static_cast<std::ptrdiff_t>(taken);
}

bool Connection::end() {
    // After an error, and before the handshake is over, nothing may be said any more.
    if (broken_ || said_goodbye_ || !established_) return true;
    ERR_clear_error();
    const int result = SSL_shutdown(ssl_);
    const int error = result < 0 ? SSL_get_error(ssl_, result) : SSL_ERROR_NONE;
    if (error == SSL_ERROR_WANT_WRITE) return false;
    said_goodbye_ = true;
    return true;
}

void Connection::fail_stream() {
    broken_ = true;
    const auto code = ERR_peek_error();
    // The network's own failures need no words: the socket was reset.
    if (code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL) {
        const auto* text = ERR_reason_error_string(code);
        failure_ = {LIMPET_REASON_TLS_BROKEN, text ? text : "a record that cannot be read"};
    }
    ERR_clear_error();
}

Session Connection::session() const {
    Session session;
    session.version = SSL_get_version(ssl_);
    if (const auto* name = SSL_get_cipher_name(ssl_)) session.cipher = name;
    const unsigned char* protocol = nullptr;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl_, &protocol, &length);
    if (length > 0) session.protocol.assign(reinterpret_cast<const char*>(protocol), length);
    if (const auto* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name))
        session.server_name = normalized(name);
    session.resumed = SSL_session_reused(ssl_) == 1;
    session.kernel_sends = BIO_get_ktls_send(SSL_get_wbio(ssl_)) == 1;
    session.kernel_receives = BIO_get_ktls_recv(SSL_get_rbio(ssl_)) == 1;
    return session;
}

bool Connection::has_peer_certificate() const {
    return SSL_get0_peer_certificate(ssl_) != nullptr;
}

std::string Connection::peer_common_name() const {
    auto* peer = SSL_get0_peer_certificate(ssl_);
    return peer ? common_name_of(peer) : std::string();
}

bool Connection::peer_certificate(PeerCertificate& certificate) const {
    auto* peer = SSL_get0_peer_certificate(ssl_);
    if (!peer) return false;
    certificate.common_name = common_name_of(peer);
    const auto* serial = X509_get0_serialNumber(peer);
    certificate.serial = hexadecimal(
        {ASN1_STRING_get0_data(serial), static_cast<std::size_t>(std::max(0, ASN1_STRING_length(serial)))});
    certificate.fingerprint = fingerprint_of(peer);
    read_names(peer, certificate);
    return true;
}

}  // namespace limpet::tls
