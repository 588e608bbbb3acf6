// SPDX-License-Identifier: Apache-2.0
// Asks DNS (c-ares), many names at once, and says how long the answers may be kept.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"
#include "discovery/assignment.h"

namespace limpet::discovery {

struct Question {
    std::string name;
    bool service = false;  ///< SRV; otherwise A and AAAA
};

struct Answer {
    std::vector<IpAddress> addresses;
    std::vector<Service> services;  ///< without addresses
    std::chrono::seconds lifetime{0};
    std::string error;  ///< empty: there was an answer with at least one record
};

/// Not thread-safe.
class Resolver {
  public:
    /// `servers`: "ADDRESS" or "ADDRESS:PORT"; empty: as /etc/resolv.conf says, and /etc/hosts besides.
    [[nodiscard]] static Result<Resolver> make(const std::vector<std::string>& servers);
    ~Resolver();
    Resolver(Resolver&&) noexcept;
    Resolver& operator=(Resolver&&) noexcept;
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    /// Blocks until all are answered, `patience` at the longest; what is open then has an error.
    [[nodiscard]] std::vector<Answer> ask(std::span<const Question> questions,
                                          std::chrono::milliseconds patience);

  private:
    struct State;
    explicit Resolver(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace limpet::discovery
