// SPDX-License-Identifier: Apache-2.0
// What the configuration says of TLS, towards clients and towards brokers. Files are named, not read: their
// contents are checked by those who know TLS, at the positions that are kept here.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace limpet::config {

/// Where in a file something stands; line 0: nowhere (command line).
struct Position {
    std::string file;
    unsigned line = 0;
    unsigned column = 0;
};

/// A text whose meaning only shows later, with the place to blame then.
struct Placed {
    std::string text;
    Position position{};

    [[nodiscard]] bool empty() const { return text.empty(); }
    bool operator==(const Placed& other) const { return text == other.text; }
};

/// Files in PEM, the response in DER.
struct Certificate {
    Placed certificate;
    Placed key;            ///< empty: in the certificate's file
    Placed ocsp_response;  ///< empty: none
    bool operator==(const Certificate&) const = default;
};

enum class Verify : std::uint8_t { none, optional, required };
enum class TlsVersion : std::uint8_t { tls12, tls13 };

/// What is negotiated; empty texts: the defaults.
struct TlsPolicy {
    TlsVersion minimum_version = TlsVersion::tls12;
    Placed ciphers;
    Placed ciphersuites;
    Placed groups;
    bool kernel_tls = true;
    bool operator==(const TlsPolicy&) const = default;
};

/// [listener.tls]
struct ListenerTls {
    bool present = false;
    std::vector<Certificate> certificates;  ///< the first is for clients that name nobody known
    bool strict_sni = false;
    Placed client_ca;
    Placed client_crl;
    Verify verify = Verify::none;
    unsigned verify_depth = 4;
    TlsPolicy policy;
    bool alpn_said = false;
    std::vector<std::string> alpn;
    bool session_tickets = true;
    std::chrono::seconds ticket_lifetime{12 * 3600};
    std::uint32_t max_handshakes = 5000;
    std::chrono::seconds expiry_warning{14 * 86400};
    Position position{};  ///< of the [listener.tls]

    bool operator==(const ListenerTls& other) const {
        return present == other.present && certificates == other.certificates &&
               strict_sni == other.strict_sni && client_ca == other.client_ca &&
               client_crl == other.client_crl && verify == other.verify &&
               verify_depth == other.verify_depth && policy == other.policy && alpn == other.alpn &&
               session_tickets == other.session_tickets && ticket_lifetime == other.ticket_lifetime &&
               max_handshakes == other.max_handshakes && expiry_warning == other.expiry_warning;
    }
};

/// [pool.tls], or tls = true
struct PoolTls {
    bool present = false;
    Placed ca;           ///< empty: what the system trusts
    Placed server_name;  ///< empty: certificates carry the brokers' addresses
    bool verify = true;
    Certificate client;  ///< shown to brokers; empty: none
    TlsPolicy policy;
    Position position{};

    bool operator==(const PoolTls& other) const {
        return present == other.present && ca == other.ca && server_name == other.server_name &&
               verify == other.verify && client == other.client && policy == other.policy;
    }
};

}  // namespace limpet::config
