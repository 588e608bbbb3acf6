// SPDX-License-Identifier: Apache-2.0
// The two doors of a running daemon: the control socket of the command line, and HTTP for machines.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "admin/verbs.h"
#include "base/endpoint.h"
#include "base/result.h"

namespace limpet::admin {

/// What clients may cost.
struct Limits {
    std::size_t clients = 64;  ///< at once, each door
    /// For a whole request to arrive, and for every piece of an answer to be taken.
    std::chrono::milliseconds deadline{10000};
    std::size_t request_size = 64 * 1024;  ///< of a line on the control socket, bytes
    std::size_t header_size = 8 * 1024;    ///< of an HTTP request, bytes
    std::size_t body_size = 4 * 1024;      ///< of an HTTP request, bytes
};

/// Serves `verbs` on one io_context that one thread runs. All calls come from that thread, or while nothing
/// runs it. `verbs` must outlive stop(); after stop() nothing calls it any more.
class Server {
  public:
    Server(boost::asio::io_context& io, Verbs& verbs, Limits limits = Limits());
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// A unix socket of mode 0600; makes its folder. One that a living daemon answers on is left alone, a
    /// stale one is replaced.
    [[nodiscard]] Result<void> listen_control(const std::string& path);
    /// "ADDR:PORT"; port 0 takes a free one.
    [[nodiscard]] Result<void> listen_http(const std::string& endpoint);
    /// Where HTTP really listens.
    [[nodiscard]] std::optional<Endpoint> http_address() const;
    /// Closes both doors and everybody inside, and removes the socket.
    void stop();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace limpet::admin
