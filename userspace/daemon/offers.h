// SPDX-License-Identifier: Apache-2.0
// Keeps what listeners offer to their clients to what the brokers behind them do: TCP options and segment
// size.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config/config.h"
#include "dataplane/dataplane.h"
#include "session/worker.h"

namespace limpet::daemon {

class Offers {
  public:
    Offers(dataplane::Dataplane& dataplane, session::Workers& workers)
        : dataplane_(dataplane), workers_(workers) {}
    ~Offers();
    Offers(const Offers&) = delete;
    Offers& operator=(const Offers&) = delete;

    /// The listeners and brokers that there are from now on.
    void follow(const config::Config& config);
    /// Asks the brokers that are not known yet and waits for them, but not for long; before listeners open.
    void ask_first();
    /// Asks again now and then, on a thread of its own, and follows what traffic teaches meanwhile.
    void start();
    /// The segment size that clients of this listener may be told; 0: no limit of ours.
    [[nodiscard]] std::uint32_t segment_of(const std::string& listener) const;

  private:
    struct Front {
        Endpoint address;
        std::vector<Endpoint> brokers;
        dataplane::Offer told;
    };

    void run();
    void apply();
    [[nodiscard]] std::vector<Endpoint> brokers(bool unknown_only) const;

    dataplane::Dataplane& dataplane_;
    session::Workers& workers_;
    mutable std::mutex mutex_;
    std::map<std::string, Front> fronts_;  // by the listener's name
    std::condition_variable stopping_;
    bool stop_ = false;
    std::thread thread_;
};

/// How long the start waits for brokers to answer.
inline constexpr std::chrono::milliseconds first_answers{300};
/// Brokers that have not answered yet are asked so often; what is known is applied so often.
inline constexpr std::chrono::seconds unknown_interval{5};
inline constexpr std::chrono::milliseconds apply_interval{200};
/// Brokers that have answered are asked again, as their settings may change.
inline constexpr std::chrono::minutes known_interval{10};

}  // namespace limpet::daemon
