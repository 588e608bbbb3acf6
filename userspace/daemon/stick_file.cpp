// SPDX-License-Identifier: Apache-2.0
#include "daemon/stick_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <unordered_map>

namespace limpet::daemon {
namespace {

using std::chrono::system_clock;

constexpr std::array<char, 8> magic{'l', 'i', 'm', 'p', 's', 't', 'k', '1'};
constexpr std::size_t name_size = 64;
constexpr std::size_t flush_size = 256 * 1024;

enum Kind : std::uint8_t { kind_head = 1, kind_pool = 2, kind_broker = 3, kind_stick = 4, kind_gone = 5 };

/// As it lies in the file, little endian like every machine that Limpet runs on. A name follows in the next
/// 64 bytes.
struct Record {
    std::uint32_t check = 0;  ///< of all that is behind it, a name included
    std::uint8_t kind = 0;
    std::uint8_t padding = 0;
    std::uint16_t pool = 0;
    std::uint16_t broker = 0;
    std::uint16_t padding2 = 0;
    std::uint32_t lifetime = 0;  ///< seconds
    std::uint64_t key = 0;       ///< head: the seed
    std::int64_t since = 0;      ///< milliseconds of the system clock; head: the magic number
};
static_assert(sizeof(Record) == stick_record_size);

/// FNV-1a: it finds what was torn, and is no guard against forgers.
std::uint32_t check_of(const char* bytes, std::size_t count) {
    std::uint32_t hash = 2166136261U;
    for (std::size_t i = sizeof Record::check; i < count; ++i)
        hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 16777619U;
    return hash;
}

bool has_name(const Record& record) {
    return record.kind == kind_pool || record.kind == kind_broker;
}

std::int64_t milliseconds_of(system_clock::time_point time) {
    return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

Result<std::string> read_whole(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW));
    if (!file && errno == ENOENT) return std::string();
    if (!file) return fail_errno("opening " + path, errno);
    struct stat about{};
    if (::fstat(file.get(), &about) != 0) return fail_errno("looking at " + path, errno);
    if (!S_ISREG(about.st_mode)) return fail(path + " is no file", "name another one as state_file");
    std::string bytes(static_cast<std::size_t>(about.st_size), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
        const auto count = ::read(file.get(), bytes.data() + done, bytes.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("reading " + path, errno);
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    bytes.resize(done);
    return bytes;
}

/// Goes through the records and keeps the last word on each client.
class Replay {
  public:
    explicit Replay(std::string_view bytes) : bytes_(bytes) {}

    SavedSticks run() {
        while (next()) take();
        SavedSticks saved{.seed = seed_, .sticks = {}};
        for (auto& pool : pools_)
            for (auto& [key, stick] : pool.sticks) saved.sticks.push_back(std::move(stick));
        std::ranges::sort(saved.sticks, {}, &SavedStick::since);
        return saved;
    }

  private:
    struct Pool {
        std::string name;
        std::vector<std::string> brokers;
        std::unordered_map<std::uint64_t, SavedStick> sticks;
    };

    // False: the end, or what a crash left of a record.
    bool next() {
        if (bytes_.size() < sizeof record_) return false;
        std::memcpy(&record_, bytes_.data(), sizeof record_);
        const auto size = sizeof record_ + (has_name(record_) ? name_size : 0);
        if (bytes_.size() < size || record_.check != check_of(bytes_.data(), size)) return false;
        name_ = has_name(record_) ? std::string(bytes_.data() + sizeof record_) : std::string();
        bytes_.remove_prefix(size);
        return true;
    }

    void take() {
        switch (record_.kind) {
            case kind_head:
                seed_ = record_.key;
                return;
            case kind_pool:
                if (record_.pool == pools_.size())
                    pools_.push_back({.name = name_, .brokers = {}, .sticks = {}});
                return;
            case kind_broker:
                if (record_.pool < pools_.size() && record_.broker == pools_[record_.pool].brokers.size())
                    pools_[record_.pool].brokers.push_back(name_);
                return;
            case kind_gone:
                if (record_.pool < pools_.size()) pools_[record_.pool].sticks.erase(record_.key);
                return;
            case kind_stick:
                take_stick();
                return;
            default:
                return;  // of a later version
        }
    }

    void take_stick() {
        if (record_.pool >= pools_.size()) return;
        auto& pool = pools_[record_.pool];
        if (record_.broker >= pool.brokers.size()) return;
        pool.sticks[record_.key] = {record_.key, pool.name, pool.brokers[record_.broker],
                                    std::chrono::seconds{record_.lifetime},
                                    system_clock::time_point{std::chrono::milliseconds{record_.since}}};
    }

    std::string_view bytes_;
    Record record_;
    std::string name_;
    std::uint64_t seed_ = 0;
    std::vector<Pool> pools_;
};

}  // namespace

Result<SavedSticks> read_sticks(const std::string& path) {
    const auto bytes = read_whole(path);
    if (!bytes) return std::unexpected(bytes.error());
    if (bytes->empty()) return SavedSticks{};
    Record head;
    std::memcpy(&head, bytes->data(), std::min(bytes->size(), sizeof head));
    std::int64_t wanted = 0;
    std::memcpy(&wanted, magic.data(), magic.size());
    if (bytes->size() < sizeof head || head.kind != kind_head || head.since != wanted)
        return fail(path + " is no file of what pools remember",
                    "name another one as state_file, or remove it");
    return Replay(*bytes).run();
}

Result<StickFile> StickFile::create(const std::string& path, std::uint64_t seed,
                                    const std::function<void(StickFile&)>& write) {
    const auto folder = std::filesystem::path(path).parent_path();
    std::error_code made;
    if (!folder.empty()) std::filesystem::create_directories(folder, made);
    const auto fresh = path + ".new";
    Fd descriptor(
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!descriptor) return fail_errno("making " + fresh, errno);
    StickFile file(std::move(descriptor), path);
    Record head{.kind = kind_head, .key = seed};
    std::memcpy(&head.since, magic.data(), magic.size());
    head.check = check_of(reinterpret_cast<const char*>(&head), sizeof head);
    file.waiting_.append(reinterpret_cast<const char*>(&head), sizeof head);
    file.size_ = sizeof head;
    write(file);
    if (auto synced = file.sync(); !synced) return std::unexpected(synced.error());
    if (::rename(fresh.c_str(), path.c_str()) != 0)
        return fail_errno("putting " + path + " in its place", errno);
    return file;
}

void StickFile::append_name(std::uint8_t kind, std::uint16_t pool, std::uint16_t broker,
                            const std::string& name) {
    std::array<char, sizeof(Record) + name_size> bytes{};
    Record record{.kind = kind, .pool = pool, .broker = broker};
    std::memcpy(bytes.data(), &record, sizeof record);
    std::memcpy(bytes.data() + sizeof record, name.data(), std::min(name.size(), name_size - 1));
    record.check = check_of(bytes.data(), bytes.size());
    std::memcpy(bytes.data(), &record, sizeof record);
    waiting_.append(bytes.data(), bytes.size());
    size_ += bytes.size();
}

std::uint16_t StickFile::number_of(const std::string& pool) {
    const auto [entry, fresh] = pools_.try_emplace(pool, static_cast<std::uint16_t>(pools_.size()));
    if (fresh) append_name(kind_pool, entry->second, 0, pool);
    return entry->second;
}

std::uint16_t StickFile::number_of(std::uint16_t pool, const std::string& broker) {
    const auto first = std::pair(pool, std::string());
    const auto [entry, fresh] = brokers_.try_emplace({pool, broker}, std::uint16_t{0});
    if (!fresh) return entry->second;
    std::uint16_t others = 0;
    for (auto one = brokers_.lower_bound(first); one != brokers_.end() && one->first.first == pool; ++one)
        if (one != entry) ++others;
    entry->second = others;
    append_name(kind_broker, pool, others, broker);
    return others;
}

void StickFile::append(const SavedStick& stick) {
    Record record;
    record.pool = number_of(stick.pool);
    record.key = stick.key_hash;
    record.kind = stick.broker.empty() ? kind_gone : kind_stick;
    if (!stick.broker.empty()) record.broker = number_of(record.pool, stick.broker);
    record.lifetime = static_cast<std::uint32_t>(
        std::clamp<std::chrono::seconds::rep>(stick.lifetime.count(), 0, UINT32_MAX));
    record.since = milliseconds_of(stick.since);
    record.check = check_of(reinterpret_cast<const char*>(&record), sizeof record);
    waiting_.append(reinterpret_cast<const char*>(&record), sizeof record);
    size_ += sizeof record;
    if (waiting_.size() >= flush_size) static_cast<void>(flush());  // what stays waits for the next one
}

Result<void> StickFile::flush() {
    std::size_t done = 0;
    while (done < waiting_.size()) {
        const auto count = ::write(file_.get(), waiting_.data() + done, waiting_.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            const int number = errno;
            waiting_.erase(0, done);
            return fail_errno("writing " + path_, number, "make room, or name another state_file");
        }
        done += static_cast<std::size_t>(count);
    }
    waiting_.clear();
    return {};
}

Result<void> StickFile::sync() {
    if (auto flushed = flush(); !flushed) return flushed;
    if (::fdatasync(file_.get()) != 0) return fail_errno("writing " + path_ + " to the disk", errno);
    return {};
}

}  // namespace limpet::daemon
