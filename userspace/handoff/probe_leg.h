// SPDX-License-Identifier: Apache-2.0
// A socket towards a broker for a question of our own, on a source port of our own: the host would take one
// of a spliced connection for free (docs/HANDOFF.md, trap 1).
#pragma once

#include <utility>

#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"

namespace limpet::dataplane {
class Dataplane;
}

namespace limpet::handoff {

/// Holds the port for as long as it lives: outlive the socket's close.
class ProbeLeg {
  public:
    /// Non-blocking and not connected yet. From one of the configured source addresses, or as the route says.
    [[nodiscard]] static Result<ProbeLeg> open(dataplane::Dataplane& dataplane, const Endpoint& broker);
    ~ProbeLeg();
    ProbeLeg(ProbeLeg&& other) noexcept
        : dataplane_(std::exchange(other.dataplane_, nullptr)),
          broker_(other.broker_),
          source_(other.source_),
          socket_(std::move(other.socket_)) {}
    ProbeLeg& operator=(ProbeLeg&&) = delete;
    ProbeLeg(const ProbeLeg&) = delete;
    ProbeLeg& operator=(const ProbeLeg&) = delete;

    [[nodiscard]] int socket() const { return socket_.get(); }
    /// Somebody else closes it now.
    void release_socket() { static_cast<void>(socket_.release()); }

  private:
    ProbeLeg(dataplane::Dataplane* dataplane, const Endpoint& broker, const Endpoint& source, Fd socket)
        : dataplane_(dataplane), broker_(broker), source_(source), socket_(std::move(socket)) {}

    dataplane::Dataplane* dataplane_;  // none: the host chose the port, or it moved
    Endpoint broker_;
    Endpoint source_;
    Fd socket_;
};

}  // namespace limpet::handoff
