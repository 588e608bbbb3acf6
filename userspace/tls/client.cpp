// SPDX-License-Identifier: Apache-2.0
#include "tls/client.h"

#include <openssl/x509v3.h>

namespace limpet::tls {
namespace {

Result<void> believe(SSL_CTX* context, const ClientSettings& settings) {
    if (!settings.verify) return {};
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (!settings.authorities) {
        if (SSL_CTX_set_default_verify_paths(context) == 1) return {};
        return fail("the system's certificates cannot be loaded: " + take_problem(), "name them with ca");
    }
    auto* store = SSL_CTX_get_cert_store(context);
    for (const auto& certificate : settings.authorities->certificates)
        if (X509_STORE_add_cert(store, certificate.get()) != 1)
            return fail("OpenSSL does not take a certificate of ca: " + take_problem());
    // Who names a certificate that is no root, a broker's own one for instance, means just that one.
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return {};
}

Result<void> show_to_brokers(SSL_CTX* context, const Credentials& credentials) {
    if (SSL_CTX_use_certificate(context, credentials.chain->leaf()) != 1 ||
        SSL_CTX_use_PrivateKey(context, credentials.key.get()) != 1)
        return fail(credentials.chain->path + " cannot be used: " + take_problem());
    const auto& certificates = credentials.chain->certificates;
    for (std::size_t index = 1; index < certificates.size(); ++index)
        SSL_CTX_add1_chain_cert(context, certificates[index].get());
    return {};
}

}  // namespace

Result<std::shared_ptr<const Client>> Client::make(ClientSettings settings) {
    auto context = make_context(TLS_client_method(), settings.policy);
    if (!context) return std::unexpected(context.error());
    if (auto believing = believe(context->get(), settings); !believing)
        return std::unexpected(believing.error());
    if (settings.credentials)
        if (auto shown = show_to_brokers(context->get(), *settings.credentials); !shown)
            return std::unexpected(shown.error());
    SSL_CTX_set_session_cache_mode(context->get(), SSL_SESS_CACHE_OFF);
    return std::shared_ptr<const Client>(new Client(std::move(settings), std::move(*context)));
}

std::unique_ptr<Connection> Client::connect(int socket, const IpAddress& address) const {
    SslPointer ssl(SSL_new(context_.get()));
    if (!ssl || SSL_set_fd(ssl.get(), socket) != 1) {
        ERR_clear_error();
        return nullptr;
    }
    auto* rules = SSL_get0_param(ssl.get());
    bool good = true;
    if (settings_.server_name.empty()) {
        if (settings_.verify) good = X509_VERIFY_PARAM_set1_ip_asc(rules, address.text().c_str()) == 1;
    } else {
        good = SSL_set_tlsext_host_name(ssl.get(), settings_.server_name.c_str()) == 1;
        if (good && settings_.verify) {
            X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            good = X509_VERIFY_PARAM_set1_host(rules, settings_.server_name.c_str(), 0) == 1;
        }
    }
    if (!good) {
        ERR_clear_error();
        return nullptr;
    }
    SSL_set_connect_state(ssl.get());
    return std::unique_ptr<Connection>(new Connection(ssl.release()));
}

}  // namespace limpet::tls
