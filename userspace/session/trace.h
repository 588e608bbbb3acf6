// SPDX-License-Identifier: Apache-2.0
// What happens to chosen clients, step by step, kept for those who watch (`limpet trace`). While nobody does
// it costs a session one look at an atomic for each step.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/endpoint.h"

namespace limpet::session {

class Trace {
  public:
    using Clock = std::chrono::steady_clock;

    /// Whom somebody watches; what is not said is anybody.
    struct Filter {
        std::optional<std::string> client_id;
        std::optional<IpAddress> source;
        bool operator==(const Filter&) const = default;
    };
    struct Event {
        std::uint64_t number = 0;  ///< from 1, in order
        std::chrono::system_clock::time_point at;
        Endpoint client;
        std::string client_id;  ///< empty: it has none, or said none yet
        std::string_view what;  ///< a literal: "connect", "chosen", "broker_failed", "accepted" …
        std::string broker;
        std::string detail;
    };
    struct Answer {
        std::vector<Event> events;
        std::uint64_t next = 0;  ///< what to ask for the next time
        std::uint64_t lost = 0;  ///< events that were pushed out before they were asked for
    };

    [[nodiscard]] bool watched() const { return watched_.load(std::memory_order_relaxed); }

    /// Events of a filter from a number on (0: only what happens from now on). Asking is watching: who has
    /// not asked for a while watches no more.
    [[nodiscard]] Answer ask(const Filter& filter, std::uint64_t from, Clock::time_point now);

    /// An event of a client; `number` and `at` are filled in. One without a client id has the one that its
    /// address was known by before.
    void note(Event event, Clock::time_point now);
    /// The last event of a client.
    void note_end(const Endpoint& client, std::string_view what, std::string detail, Clock::time_point now);
    /// Whom an address belongs to, for events that do not say it.
    void know(const Endpoint& client, std::string_view client_id);

  private:
    struct Watcher {
        Filter filter;
        Clock::time_point until;
    };
    void forget_watchers(Clock::time_point now);
    void note_locked(Event event, Clock::time_point now);

    mutable std::mutex mutex_;
    std::atomic<bool> watched_{false};
    std::vector<Watcher> watchers_;
    std::deque<Event> events_;
    std::unordered_map<Endpoint, std::string> ids_;
    std::uint64_t last_ = 0;  ///< number of the last event
};

}  // namespace limpet::session
