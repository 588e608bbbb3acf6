// SPDX-License-Identifier: Apache-2.0
// The side that goes to brokers: whom to believe, and what to show.
#pragma once

#include <memory>
#include <string>

#include "base/endpoint.h"
#include "base/result.h"
#include "tls/connection.h"
#include "tls/credentials.h"
#include "tls/policy.h"

namespace limpet::tls {

struct ClientSettings {
    Policy policy{};
    bool verify = true;
    std::shared_ptr<const Authorities> authorities{};  ///< empty: those that the system trusts
    std::string server_name{};  ///< asked for, and must be in the certificate; empty: the
                                ///< broker's address must be
    std::shared_ptr<const Credentials> credentials{};  ///< empty: nothing is shown
};

/// How the brokers of one pool are spoken to. Never changed: a reload makes a new one.
class Client {
  public:
    [[nodiscard]] static Result<std::shared_ptr<const Client>> make(ClientSettings settings);

    /// The client's side of TLS on a connected socket; nothing where memory has run out.
    [[nodiscard]] std::unique_ptr<Connection> connect(int socket, const IpAddress& address) const;

    [[nodiscard]] const ClientSettings& settings() const { return settings_; }

  private:
    Client(ClientSettings settings, ContextPointer context)
        : settings_(std::move(settings)), context_(std::move(context)) {}

    ClientSettings settings_;
    ContextPointer context_;
};

}  // namespace limpet::tls
