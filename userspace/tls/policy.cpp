// SPDX-License-Identifier: Apache-2.0
#include "tls/policy.h"

namespace limpet::tls {
namespace {

ContextPointer any_context() {
    ERR_clear_error();
    return ContextPointer(SSL_CTX_new(TLS_method()));
}

Result<void> refuse(const std::string& what, const std::string& value, std::string_view example) {
    const auto problem = take_problem();
    return fail("\"" + value + "\" has no " + what + " that OpenSSL knows (" + problem + ")",
                "write them as in \"" + std::string(example) + "\"");
}

}  // namespace

Result<void> check_ciphers(const std::string& ciphers) {
    const auto context = any_context();
    if (SSL_CTX_set_cipher_list(context.get(), ciphers.c_str()) == 1) return {};
    return refuse("cipher of TLS 1.2", ciphers, "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384");
}

Result<void> check_ciphersuites(const std::string& ciphersuites) {
    const auto context = any_context();
    if (SSL_CTX_set_ciphersuites(context.get(), ciphersuites.c_str()) == 1) return {};
    return refuse("cipher suite of TLS 1.3", ciphersuites, default_ciphersuites);
}

/// A copy, because OpenSSL's macro casts the const of a constant text away.
bool set_groups(SSL_CTX* context, std::string groups) {
    return SSL_CTX_set1_groups_list(context, groups.data()) == 1;
}

Result<void> check_groups(const std::string& groups) {
    const auto context = any_context();
    if (set_groups(context.get(), groups)) return {};
    return refuse("group", groups, default_groups);
}

Result<ContextPointer> make_context(const SSL_METHOD* method, const Policy& policy) {
    ERR_clear_error();
    ContextPointer context(SSL_CTX_new(method));
    if (!context) return fail("OpenSSL makes no context: " + take_problem());
    auto* raw = context.get();
    SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_PRIORITIZE_CHACHA |
                                 // Devices just close: FIN alone ends a direction, as it does without TLS. An
                                 // MQTT stream says by itself where it ends.
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (policy.kernel_tls) SSL_CTX_set_options(raw, SSL_OP_ENABLE_KTLS);
    SSL_CTX_set_mode(
        raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // One system call for all that has come, instead of two for each record.
    SSL_CTX_set_read_ahead(raw, 1);
    SSL_CTX_set_min_proto_version(raw, policy.minimum == Version::tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION);
    const auto or_default = [](const std::string& value, std::string_view standard) {
        return value.empty() ? std::string(standard) : value;
    };
    if (SSL_CTX_set_cipher_list(raw, or_default(policy.ciphers, default_ciphers).c_str()) != 1 ||
        SSL_CTX_set_ciphersuites(raw, or_default(policy.ciphersuites, default_ciphersuites).c_str()) != 1 ||
        !set_groups(raw, or_default(policy.groups, default_groups)))
        return fail("OpenSSL does not take the ciphers or groups: " + take_problem());
    SSL_CTX_set_dh_auto(raw, 1);
    return context;
}

}  // namespace limpet::tls
