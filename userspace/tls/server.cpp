// SPDX-License-Identifier: Apache-2.0
#include "tls/server.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <map>

#include "tls/server_names.h"

namespace limpet::tls {

/// One context for each set of certificates that a name can mean.
struct Server::State {
    ServerSettings settings;
    std::string protocols;  ///< as they are on the wire: a length and a name each
    ServerNames names;
    ServerNames::Certificates standard;
    std::map<ServerNames::Certificates, ContextPointer> contexts;

    [[nodiscard]] Result<void> build();
    [[nodiscard]] Result<ContextPointer> make_one(const ServerNames::Certificates& certificates);
    [[nodiscard]] Result<void> ask_for_certificates(SSL_CTX* context) const;
};

/// What OpenSSL asks in the middle of a handshake.
struct Connection::Callbacks {
    static const Server::State& state(SSL* ssl) {
        return *static_cast<const Server::State*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    }

    static int choose_certificate(SSL* ssl, int* alert, void*);
    static int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_length,
                               const unsigned char* in, unsigned in_length, void*);
    static int staple(SSL* ssl, void*);
    static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* vector, EVP_CIPHER_CTX* cipher,
                          EVP_MAC_CTX* mac, int sealing);
    static int verified(int good, X509_STORE_CTX* store);
};

int Connection::Callbacks::choose_certificate(SSL* ssl, int* alert, void*) {
    const auto* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name) return SSL_TLSEXT_ERR_NOACK;
    const auto& server = state(ssl);
    const auto* certificates = server.names.find(name);
    if (!certificates) {
        if (!server.settings.strict_names) return SSL_TLSEXT_ERR_NOACK;
        static_cast<Connection*>(SSL_get_app_data(ssl))->unknown_name_ = true;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (*certificates != server.standard) SSL_set_SSL_CTX(ssl, server.contexts.at(*certificates).get());
    return SSL_TLSEXT_ERR_OK;
}

int Connection::Callbacks::choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_length,
                                           const unsigned char* in, unsigned in_length, void*) {
    const auto& ours = state(ssl).protocols;
    unsigned char* chosen = nullptr;
    const int found =
        SSL_select_next_proto(&chosen, out_length, reinterpret_cast<const unsigned char*>(ours.data()),
                              static_cast<unsigned>(ours.size()), in, in_length);
    // Nothing in common ends the handshake (RFC 7301 3.2): a browser that was sent here to speak HTTP must
    // not.
    if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int Connection::Callbacks::staple(SSL* ssl, void*) {
    const auto* shown = SSL_get_certificate(ssl);
    for (const auto& credentials : state(ssl).settings.credentials) {
        if (credentials->chain->leaf() != shown || credentials->staple.empty()) continue;
        // An old response is worse than none: clients that look would leave.
        if (std::chrono::system_clock::now() >= credentials->staple_until) break;
        const auto size = credentials->staple.size();
        auto* copy = OPENSSL_memdup(credentials->staple.data(), size);
        if (!copy) break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(size));
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/// Seals a ticket with the newest key, or finds the key of one that came back: -1 failed, 0 unknown, 1 good,
/// 2 good, and the client gets a new one.
int Connection::Callbacks::ticket_key(SSL* ssl, unsigned char* name, unsigned char* vector,
                                      EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing) {
    auto& tickets = *state(ssl).settings.tickets;
    const auto now = TicketKeys::Clock::now();
    TicketKeys::Found found;
    if (sealing == 1) {
        const auto key = tickets.current(now);
        if (!key || RAND_bytes(vector, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
        found = {*key, true};
        std::ranges::copy(key->name, name);
    } else {
        const auto known = tickets.find({name, found.key.name.size()}, now);
        if (!known) return 0;
        found = *known;
    }
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, found.key.mac.data(), found.key.mac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    const bool good = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, found.key.encryption.data(),
                                        vector, sealing) == 1 &&
                      EVP_MAC_CTX_set_params(mac, parameters) == 1;
    OPENSSL_cleanse(&found.key, sizeof found.key);
    if (!good) return -1;
    return found.newest ? 1 : 2;
}

/// Who gives lists of revoked certificates need not have one of every authority in between.
int Connection::Callbacks::verified(int good, X509_STORE_CTX* store) {
    if (good == 1) return 1;
    const bool list_missing = X509_STORE_CTX_get_error(store) == X509_V_ERR_UNABLE_TO_GET_CRL;
    if (!list_missing || X509_STORE_CTX_get_error_depth(store) == 0) return 0;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

namespace {

/// On the wire: a byte of length before each name.
std::string wire_format(const std::vector<std::string>& protocols) {
    std::string wire;
    for (const auto& protocol : protocols) {
        wire += static_cast<char>(protocol.size());
        wire += protocol;
    }
    return wire;
}

/// Under which sessions may be resumed: the same listener, judging clients alike. A list of revoked
/// certificates that a reload brought makes every older ticket worthless.
std::array<unsigned char, SHA256_DIGEST_LENGTH> session_context(const ServerSettings& settings) {
    std::string text = settings.name + '\0' + static_cast<char>(settings.verify) +
                       std::to_string(settings.verify_depth) + '\0';
    if (settings.authorities)
        text.append(settings.authorities->digest.begin(), settings.authorities->digest.end());
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    unsigned length = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
    return digest;
}

Result<void> show_to_clients(SSL_CTX* context, const Credentials& credentials) {
    STACK_OF(X509)* others = sk_X509_new_null();
    const auto& certificates = credentials.chain->certificates;
    for (std::size_t index = 1; index < certificates.size(); ++index)
        sk_X509_push(others, certificates[index].get());
    const int good =
        SSL_CTX_use_cert_and_key(context, certificates.front().get(), credentials.key.get(), others, 1);
    sk_X509_free(others);
    if (good == 1) return {};
    return fail(credentials.chain->path + " cannot be used: " + take_problem(),
                "OpenSSL wants RSA keys of at least 2048 bits, or ECDSA");
}

int key_kind(const Credentials& credentials) {
    return EVP_PKEY_base_id(credentials.key.get());
}

}  // namespace

Result<void> Server::State::ask_for_certificates(SSL_CTX* context) const {
    if (settings.verify == Verify::none) return {};
    auto* store = SSL_CTX_get_cert_store(context);
    for (const auto& certificate : settings.authorities->certificates) {
        if (X509_STORE_add_cert(store, certificate.get()) != 1 ||
            SSL_CTX_add_client_CA(context, certificate.get()) != 1)
            return fail("OpenSSL does not take a certificate of client_ca: " + take_problem());
    }
    for (const auto& list : settings.authorities->revocations)
        if (X509_STORE_add_crl(store, list.get()) != 1)
            return fail("OpenSSL does not take a list of client_crl: " + take_problem());
    if (!settings.authorities->revocations.empty())
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    const int mode =
        SSL_VERIFY_PEER | (settings.verify == Verify::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(context, mode, Connection::Callbacks::verified);
    SSL_CTX_set_verify_depth(context, settings.verify_depth);
    return {};
}

Result<ContextPointer> Server::State::make_one(const ServerNames::Certificates& certificates) {
    auto context = make_context(TLS_server_method(), settings.policy);
    if (!context) return context;
    auto* raw = context->get();
    SSL_CTX_set_app_data(raw, this);
    for (const auto index : certificates)
        if (auto shown = show_to_clients(raw, *settings.credentials[index]); !shown)
            return std::unexpected(shown.error());
    if (auto asking = ask_for_certificates(raw); !asking) return std::unexpected(asking.error());
    SSL_CTX_set_tlsext_servername_callback(raw, Connection::Callbacks::choose_certificate);
    if (!protocols.empty()) SSL_CTX_set_alpn_select_cb(raw, Connection::Callbacks::choose_protocol, nullptr);
    SSL_CTX_set_tlsext_status_cb(raw, Connection::Callbacks::staple);
    // Sessions live in the clients' tickets, not here.
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    const auto id = session_context(settings);
    SSL_CTX_set_session_id_context(raw, id.data(), static_cast<unsigned>(id.size()));
    if (settings.tickets) {
        SSL_CTX_set_timeout(raw, static_cast<long>(settings.ticket_lifetime.count()));
        SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, Connection::Callbacks::ticket_key);
        SSL_CTX_set_num_tickets(raw, 1);
    } else {
        SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(raw, 0);
    }
    return context;
}

Result<void> Server::State::build() {
    protocols = wire_format(settings.protocols);
    for (std::size_t index = 0; index < settings.credentials.size(); ++index)
        for (const auto& name : facts_of(settings.credentials[index]->chain->leaf()).names)
            names.add(name, index, key_kind(*settings.credentials[index]));
    // Beside the first certificate stand those of other kinds that carry its name.
    const auto first = facts_of(settings.credentials.front()->chain->leaf()).names;
    standard = {0};
    if (!first.empty())
        if (const auto* found = names.find(first.front());
            found && std::ranges::find(*found, 0u) != found->end())
            standard = *found;
    auto sets = names.sets();
    if (std::ranges::find(sets, standard) == sets.end()) sets.push_back(standard);
    for (const auto& set : sets) {
        auto context = make_one(set);
        if (!context) return std::unexpected(context.error());
        contexts[set] = std::move(*context);
    }
    return {};
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() = default;

Result<std::shared_ptr<const Server>> Server::make(ServerSettings settings) {
    if (settings.credentials.empty()) return fail("a TLS server has no certificate");
    auto state = std::make_unique<State>();
    state->settings = std::move(settings);
    if (auto built = state->build(); !built) return std::unexpected(built.error());
    return std::shared_ptr<const Server>(new Server(std::move(state)));
}

std::unique_ptr<Connection> Server::accept(int socket) const {
    SslPointer ssl(SSL_new(state_->contexts.at(state_->standard).get()));
    if (!ssl || SSL_set_fd(ssl.get(), socket) != 1) {
        ERR_clear_error();
        return nullptr;
    }
    SSL_set_accept_state(ssl.get());
    return std::unique_ptr<Connection>(new Connection(ssl.release()));
}

const ServerSettings& Server::settings() const {
    return state_->settings;
}

}  // namespace limpet::tls
