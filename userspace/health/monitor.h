// SPDX-License-Identifier: Apache-2.0
// Asks every broker that it is told of, on a thread of its own, and reports what it finds.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/endpoint.h"
#include "health/judge.h"
#include "health/probe.h"

namespace limpet::health {

struct Target {
    std::string pool;
    std::string broker;
    Endpoint address;
    Terms terms;
    ProbeTerms probe;

    bool operator==(const Target&) const = default;
};

/// After each probe.
struct Report {
    std::string pool;
    std::string broker;
    Endpoint address;
    bool up = true;
    bool changed = false;      ///< the verdict, with this probe
    bool ever_passed = false;  ///< since the broker has this address and this probe
    std::string error;         ///< of this probe; empty: the answer was good
};

class Monitor {
  public:
    using Handler = std::function<void(const Report&)>;

    /// `handler` is called on the monitor's thread. `dataplane` must outlive this.
    Monitor(dataplane::Dataplane& dataplane, Handler handler);
    ~Monitor();  ///< stops; probes under way are given up
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    /// The brokers that there are from now on. One that was there before (by pool, name and address) keeps
    /// its verdict.
    void follow(std::vector<Target> targets);
    /// Real clients have trouble with this broker.
    void doubt(const std::string& pool, const std::string& broker);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace limpet::health
