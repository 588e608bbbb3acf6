// SPDX-License-Identifier: Apache-2.0
// Where brokers come from beside the configuration itself: names that DNS knows, files that somebody writes.
// On a thread of its own it asks again when an answer's time is over; a failure keeps the last good answer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "discovery/assignment.h"
#include "discovery/resolver.h"

namespace limpet::discovery {

/// A source of brokers; known by pool and name.
struct Source {
    enum class Kind { addresses, services, files };
    std::string pool;
    std::string name;  ///< of the broker in the configuration; empty: files
    Kind kind = Kind::addresses;
    std::string where;       ///< DNS name, or path
    std::uint16_t port = 0;  ///< addresses
    std::uint32_t weight = 1;

    bool operator==(const Source&) const = default;
};

/// Reads the brokers of a file or folder; discovery knows no configuration syntax.
using ReadFiles = std::function<Result<std::vector<Found>>(const std::string& path)>;

struct Events {
    std::function<void()> changed;  ///< some source has other brokers than before
    std::function<void()> failed;   ///< a look-up or a file failed; for counting
};

class Discovery {
  public:
    /// Handlers are called on discovery's own thread, without a lock.
    Discovery(ReadFiles read_files, Events events);
    ~Discovery();
    Discovery(const Discovery&) = delete;
    Discovery& operator=(const Discovery&) = delete;

    /// The sources that there are from now on; those that are new are looked up before this returns, within
    /// `patience`. `servers`: as in Resolver.
    Result<void> follow(std::vector<Source> sources, const std::vector<std::string>& servers,
                        std::chrono::milliseconds patience);
    /// What a source has now.
    [[nodiscard]] std::vector<Found> brokers(const std::string& pool, const std::string& name) const;

  private:
    using Clock = std::chrono::steady_clock;
    using Name = std::pair<std::string, std::string>;

    struct Entry {
        Source source;
        std::vector<Found> found;
        Clock::time_point due;    // to be looked up again
        std::string last_error;   // said once
        std::string fingerprint;  // of the files, when they were read last
        std::uint64_t epoch = 0;  // of follow(): an answer for an earlier source is not taken
    };
    struct Look {
        Name name;
        Source source;
        std::uint64_t epoch = 0;
        std::vector<Found> before;
        std::string fingerprint;
        // the outcome
        std::vector<Found> found;
        std::string error;
        bool usable = true;  // `found` counts, in spite of an error
        std::chrono::milliseconds next{0};
        bool unchanged = false;

        void fail(std::string why);
        void conclude(Answer& answer, std::span<const Answer> targets);
    };

    void run();
    void look_up(std::vector<Look>& looks, std::chrono::milliseconds patience) const;
    void ask_dns(std::vector<Look>& looks, std::chrono::milliseconds patience) const;
    void read_files(Look& look) const;
    static void tell(const Look& look, const Entry& entry);
    bool take(std::vector<Look>& looks);
    [[nodiscard]] std::vector<Look> due_looks(Clock::time_point now);

    const ReadFiles read_files_;
    const Events events_;
    mutable std::mutex mutex_;  // guards all that follows
    std::vector<std::string> servers_;
    std::map<Name, Entry> entries_;
    std::uint64_t epoch_ = 0;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

/// A lifetime below this is not believed, so that no server is asked without end; a failure is tried again
/// after that time.
inline constexpr std::chrono::seconds shortest_lifetime{1};
inline constexpr std::chrono::seconds longest_lifetime{3600};
inline constexpr std::chrono::seconds after_failure{5};
inline constexpr std::chrono::seconds files_interval{1};

}  // namespace limpet::discovery
