// SPDX-License-Identifier: Apache-2.0
#include "config/read_tls.h"

namespace limpet::config {
namespace {

Result<Placed> some_text(std::string_view text) {
    if (text.empty()) return fail("it is empty", "leave the key out, or name something");
    return Placed{std::string(text)};
}

void read_placed(Section& section, std::string_view key, Placed& out) {
    if (section.text(key, out, some_text)) out.position = section.position(key);
}

void read_files(Section& section, Certificate& out) {
    read_placed(section, "certificate", out.certificate);
    read_placed(section, "key", out.key);
}

void read_policy(Section& section, TlsPolicy& policy) {
    constexpr std::array<std::pair<std::string_view, TlsVersion>, 2> versions{
        {{"1.2", TlsVersion::tls12}, {"1.3", TlsVersion::tls13}}};
    section.choice("minimum_version", policy.minimum_version, Names<TlsVersion>(versions));
    read_placed(section, "ciphers", policy.ciphers);
    read_placed(section, "ciphersuites", policy.ciphersuites);
    read_placed(section, "groups", policy.groups);
    section.boolean("kernel_tls", policy.kernel_tls);
}

// RFC 7301 3.1: one to 255 bytes.
Result<std::string> protocol_name(std::string_view text) {
    if (text.empty() || text.size() > 255)
        return fail(quote(text) + " is no protocol name", "it has 1 to 255 bytes");
    return std::string(text);
}

void read_verify(Section& section, ListenerTls& tls) {
    constexpr std::array<std::pair<std::string_view, Verify>, 3> words{
        {{"none", Verify::none}, {"optional", Verify::optional}, {"required", Verify::required}}};
    read_placed(section, "client_ca", tls.client_ca);
    read_placed(section, "client_crl", tls.client_crl);
    section.number("verify_depth", tls.verify_depth, bounds::verify_depth);
    const bool said = section.choice("verify", tls.verify, Names<Verify>(words));
    auto& reader = section.reader();
    if (!section.node("verify") && !tls.client_ca.empty()) {
        tls.verify = Verify::optional;
        reader.warn(tls.client_ca.position,
                    "client_ca without verify: clients are asked for a certificate and may come without one; "
                    "say verify = \"optional\" or \"required\" (warning)");
    }
    if (said && tls.verify != Verify::none && !section.node("client_ca"))
        reader.report(section.position("verify"),
                      "verify: without client_ca there is nothing to judge certificates by: add client_ca = "
                      "\"ca.pem\"");
    if (section.node("client_crl") && !section.node("client_ca"))
        reader.report(section.position("client_crl"),
                      "client_crl: it revokes certificates of client_ca: add client_ca = \"ca.pem\"");
}

}  // namespace

void read_listener_tls(Section& section, ListenerTls& tls, bool used) {
    tls.present = true;
    tls.position = section.position();
    if (used) section.require("certificate", "\"server.pem\"");
    Certificate first;
    read_files(section, first);
    read_placed(section, "ocsp_response", first.ocsp_response);
    if (!first.certificate.empty()) tls.certificates.push_back(std::move(first));
    for (const auto* table : several(section, "certificates", more_certificates_schema.label)) {
        Section more(section.reader(), *table, more_certificates_schema);
        more.require("certificate", "\"other.pem\"");
        Certificate other;
        read_files(more, other);
        read_placed(more, "ocsp_response", other.ocsp_response);
        if (!other.certificate.empty()) tls.certificates.push_back(std::move(other));
    }
    section.boolean("strict_sni", tls.strict_sni);
    read_verify(section, tls);
    read_policy(section, tls.policy);
    tls.alpn_said = section.list("alpn", tls.alpn, protocol_name);
    section.boolean("session_tickets", tls.session_tickets);
    section.duration("ticket_lifetime", tls.ticket_lifetime, bounds::ticket_lifetime);
    section.number("max_handshakes", tls.max_handshakes, bounds::max_handshakes);
    section.duration("expiry_warning", tls.expiry_warning, bounds::expiry_warning);
}

void read_pool_tls(Section& section, PoolTls& tls) {
    tls.present = true;
    tls.position = section.position();
    read_placed(section, "ca", tls.ca);
    read_placed(section, "server_name", tls.server_name);
    section.boolean("verify", tls.verify);
    read_files(section, tls.client);
    read_policy(section, tls.policy);
    if (section.node("key") && !section.node("certificate"))
        section.reader().report(section.position("key"),
                                "key: it belongs to a certificate: add certificate = \"client.pem\"");
    if (!tls.verify)
        section.reader().warn(
            section.position("verify"),
            "verify = false: brokers can be anybody; name their authority with ca (warning)");
}

}  // namespace limpet::config
