// SPDX-License-Identifier: Apache-2.0
// What sticky pools remember, in a file that outlives the daemon and the machine's uptime: a journal of fixed
// records, to which changes are appended and which is written anew when it has grown.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace limpet::daemon {

/// One client of one pool, in words that another daemon understands.
struct SavedStick {
    std::uint64_t key_hash = 0;
    std::string pool;
    std::string broker;  ///< empty: nothing is remembered any more
    std::chrono::seconds lifetime{0};
    /// When it disconnected; while it is connected: when that was written.
    std::chrono::system_clock::time_point since;
};

/// What a file says; the last word on each client, in the order of disconnecting.
struct SavedSticks {
    std::uint64_t seed = 0;  ///< of the key hashes; 0: there is no such file
    std::vector<SavedStick> sticks;
};

/// Reads what is whole of a file: the last records may have been cut off by a crash. Only what is no such
/// file, or cannot be read, is an error.
[[nodiscard]] Result<SavedSticks> read_sticks(const std::string& path);

class StickFile {
  public:
    /// Makes the file, and its folder where missing, with nothing in it but what `write` gives; an earlier
    /// one stands until this one is whole.
    static Result<StickFile> create(const std::string& path, std::uint64_t seed,
                                    const std::function<void(StickFile&)>& write);

    /// In memory until flush().
    void append(const SavedStick& stick);
    Result<void> flush();
    /// To the disk itself, so that it survives a crash of the machine too.
    Result<void> sync();
    [[nodiscard]] std::uint64_t size() const { return size_; }

  private:
    StickFile(Fd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
    std::uint16_t number_of(const std::string& pool);
    std::uint16_t number_of(std::uint16_t pool, const std::string& broker);
    void append_name(std::uint8_t kind, std::uint16_t pool, std::uint16_t broker, const std::string& name);

    Fd file_;
    std::string path_;
    std::string waiting_;
    std::uint64_t size_ = 0;  // bytes, those that wait included
    std::map<std::string, std::uint16_t> pools_;
    std::map<std::pair<std::uint16_t, std::string>, std::uint16_t> brokers_;
};

/// Bytes of one record.
inline constexpr std::uint64_t stick_record_size = 32;

}  // namespace limpet::daemon
