// SPDX-License-Identifier: Apache-2.0
// Keeps the file of what pools remember up to date while the daemon runs, on a thread of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "daemon/pools.h"
#include "daemon/stick_file.h"

namespace limpet::daemon {

/// Gives the pools what an earlier daemon remembered; returns how many clients that were. Before flows are
/// adopted, which know better.
std::size_t restore_sticks(const Pools& pools, const SavedSticks& saved);

class StickKeeper {
  public:
    StickKeeper(const Pools& pools, std::string path, std::uint64_t seed);
    ~StickKeeper();  ///< writes what is left
    StickKeeper(const StickKeeper&) = delete;
    StickKeeper& operator=(const StickKeeper&) = delete;

    /// Writes everything to a file of its own: for a copy elsewhere.
    [[nodiscard]] static Result<StickFile> write_all(const Pools& pools, const std::string& path,
                                                     std::uint64_t seed);

  private:
    void run();
    void save_changes();
    void write_anew();
    void say(const Error& error);

    const Pools& pools_;
    const std::string path_;
    const std::uint64_t seed_;
    std::optional<StickFile> file_;
    std::uint64_t whole_size_ = 0;  // of the file when it was written anew
    std::chrono::steady_clock::time_point next_try_{};
    std::chrono::steady_clock::time_point next_sync_{};
    bool unsynced_ = false;
    std::string said_;  // the error that was logged last
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

/// A daemon that is killed loses what changed in so long.
inline constexpr std::chrono::milliseconds stick_save_interval{200};
/// And a machine that crashes so much.
inline constexpr std::chrono::seconds stick_sync_interval{5};

}  // namespace limpet::daemon
