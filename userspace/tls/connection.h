// SPDX-License-Identifier: Apache-2.0
// TLS on a socket, of either side: first the handshake, then bytes. Works on the descriptor itself, so that
// nothing is copied and nothing is held while the connection is quiet.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/channel.h"
#include "base/reason.h"

struct ssl_st;

namespace limpet::tls {

/// Why a handshake came to nothing.
struct Failure {
    Reason reason = LIMPET_REASON_NONE;
    std::string detail;
};

/// What both sides agreed on, and who the peer is.
struct Session {
    std::string version;      ///< "TLSv1.3"
    std::string cipher;       ///< "TLS_AES_128_GCM_SHA256"
    std::string protocol;     ///< by ALPN; empty: none
    std::string server_name;  ///< that the client asked for, lower case; empty: none
    bool resumed = false;
    bool kernel_sends = false;  ///< kTLS
    bool kernel_receives = false;
};

/// The certificate that the peer showed, as far as rules may ask for it.
struct PeerCertificate {
    std::string common_name;
    std::string serial;       ///< hexadecimal, lower case
    std::string fingerprint;  ///< SHA-256, hexadecimal, lower case
    std::vector<std::string> dns_names;
    std::vector<std::string> emails;
    std::vector<std::string> uris;
};

class Connection final : public Channel {
  public:
    enum class Step : std::uint8_t { done, wants_read, wants_write, failed };

    ~Connection() override;

    /// Goes on with the handshake as far as the socket lets it.
    [[nodiscard]] Step handshake();
    /// After Step::failed. An alert was sent where the protocol has one.
    [[nodiscard]] const Failure& failure() const { return failure_; }
    /// After Step::done.
    [[nodiscard]] Session session() const;
    /// After Step::done; false: the peer showed no certificate.
    [[nodiscard]] bool peer_certificate(PeerCertificate& certificate) const;
    [[nodiscard]] bool has_peer_certificate() const;
    /// The common name alone, which most rules ask for; empty: none.
    [[nodiscard]] std::string peer_common_name() const;

    // Channel
    [[nodiscard]] Read read(std::span<std::uint8_t> into) override;
    [[nodiscard]] std::ptrdiff_t write(std::span<const std::uint8_t> bytes) override;
    [[nodiscard]] bool end() override;
    [[nodiscard]] bool buffered() const override { return buffered_; }
    [[nodiscard]] Wait to_read() const override { return to_read_; }
    [[nodiscard]] Wait to_write() const override { return to_write_; }
    [[nodiscard]] std::string_view trouble() const override { return failure_.detail; }

  private:
    friend class Server;
    friend class Client;
    struct Callbacks;
    friend struct Callbacks;

    /// Takes the SSL object over.
    explicit Connection(ssl_st* ssl);
    void fail_stream();
    [[nodiscard]] Failure judge() const;

    ssl_st* ssl_;
    Failure failure_;
    Wait to_read_ = Wait::readable;
    Wait to_write_ = Wait::writable;
    bool buffered_ = false;
    bool broken_ = false;
    bool said_goodbye_ = false;
    bool established_ = false;
    bool unknown_name_ = false;  ///< the client asked for a name that the server does not have
};

}  // namespace limpet::tls
