// SPDX-License-Identifier: Apache-2.0
// The side that clients come to: which certificate for which name, whom to ask for one, which protocol.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tls/connection.h"
#include "tls/credentials.h"
#include "tls/policy.h"
#include "tls/ticket_keys.h"

namespace limpet::tls {

enum class Verify : std::uint8_t { none, optional, required };

struct ServerSettings {
    std::string name{};  ///< of the listener: sessions of one are not resumed at another
    Policy policy{};
    /// The first is for clients that name nobody, or somebody unknown.
    std::vector<std::shared_ptr<const Credentials>> credentials{};
    bool strict_names = false;  ///< clients that name somebody unknown are refused
    Verify verify = Verify::none;
    int verify_depth = 4;                              ///< certificates between the client's and the root
    std::shared_ptr<const Authorities> authorities{};  ///< of clients
    std::vector<std::string> protocols{};   ///< ALPN, the best first; empty: whatever is asked is ignored
    std::shared_ptr<TicketKeys> tickets{};  ///< empty: no resumption
    std::chrono::seconds ticket_lifetime{12 * 3600};
};

/// What one listener does with its clients. Never changed: a reload makes a new one. Must outlive its
/// connections.
class Server {
  public:
    [[nodiscard]] static Result<std::shared_ptr<const Server>> make(ServerSettings settings);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// The server's side of TLS on an accepted socket; nothing where memory has run out.
    [[nodiscard]] std::unique_ptr<Connection> accept(int socket) const;

    [[nodiscard]] const ServerSettings& settings() const;

  private:
    friend class Connection;
    struct State;
    explicit Server(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace limpet::tls
