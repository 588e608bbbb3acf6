// SPDX-License-Identifier: Apache-2.0
#include "discovery/discovery.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

namespace limpet::discovery {
namespace {

constexpr std::chrono::milliseconds dns_patience{8000};
constexpr std::chrono::milliseconds least_patience{500};

/// Changes when a file is written, replaced, added or removed.
std::string fingerprint_of(const std::string& path) {
    std::vector<std::string> parts;
    const auto look = [&](const std::string& file) {
        struct stat about{};
        if (::stat(file.c_str(), &about) == 0)
            parts.push_back(fmt::format("{}:{}:{}:{}.{}", file, about.st_ino, about.st_size,
                                        about.st_mtim.tv_sec, about.st_mtim.tv_nsec));
    };
    look(path);
    std::error_code ignored;
    for (std::filesystem::directory_iterator entry(path, ignored), end; !ignored && entry != end;
         entry.increment(ignored))
        look(entry->path().string());
    std::ranges::sort(parts);
    std::string text;
    for (const auto& part : parts) text += part + "\n";
    return text;
}

std::chrono::milliseconds next_look(std::chrono::seconds lifetime) {
    return std::clamp(lifetime, shortest_lifetime, longest_lifetime);
}

std::string shown(const Source& source) {
    return source.kind == Source::Kind::files ? source.where : "name " + source.where;
}

}  // namespace

Discovery::Discovery(ReadFiles read_files, Events events)
    : read_files_(std::move(read_files)), events_(std::move(events)), thread_([this] { run(); }) {}

Discovery::~Discovery() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

Result<void> Discovery::follow(std::vector<Source> sources, const std::vector<std::string>& servers,
                               std::chrono::milliseconds patience) {
    const auto is_dns = [](const Source& source) { return source.kind != Source::Kind::files; };
    if (std::ranges::any_of(sources, is_dns)) {
        if (auto resolver = Resolver::make(servers); !resolver) return std::unexpected(resolver.error());
    }
    {
        const std::lock_guard lock(mutex_);
        servers_ = servers;
        auto before = std::exchange(entries_, {});
        ++epoch_;
        for (auto& source : sources) {
            const Name name(source.pool, source.name);
            const auto old = before.find(name);
            if (old != before.end() && old->second.source == source) {
                entries_.insert(before.extract(old));
                continue;
            }
            auto& entry = entries_[name];
            entry.source = std::move(source);
            entry.epoch = epoch_;
        }
    }
    auto looks = due_looks(Clock::now());
    look_up(looks, patience);
    take(looks);
    wake_.notify_all();
    return {};
}

std::vector<Found> Discovery::brokers(const std::string& pool, const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find({pool, name});
    return found == entries_.end() ? std::vector<Found>{} : found->second.found;
}

std::vector<Discovery::Look> Discovery::due_looks(Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    std::vector<Look> looks;
    for (auto& [name, entry] : entries_) {
        if (entry.due > now) continue;
        entry.due = now + longest_lifetime;  // somebody is at it
        Look look;
        look.name = name;
        look.source = entry.source;
        look.epoch = entry.epoch;
        look.before = entry.found;
        look.fingerprint = entry.fingerprint;
        looks.push_back(std::move(look));
    }
    return looks;
}

void Discovery::look_up(std::vector<Look>& looks, std::chrono::milliseconds patience) const {
    for (auto& look : looks)
        if (look.source.kind == Source::Kind::files) read_files(look);
    ask_dns(looks, patience);
}

void Discovery::read_files(Look& look) const {
    look.next = files_interval;
    auto fingerprint = fingerprint_of(look.source.where);
    look.unchanged = !look.fingerprint.empty() && fingerprint == look.fingerprint;
    if (look.unchanged) return;
    look.fingerprint = std::move(fingerprint);
    auto read = read_files_(look.source.where);
    if (read)
        look.found = std::move(*read);
    else
        look.fail(read.error().line());
    look.next = files_interval;
}

void Discovery::ask_dns(std::vector<Look>& looks, std::chrono::milliseconds patience) const {
    std::vector<Look*> asked;
    std::vector<Question> questions;
    for (auto& look : looks) {
        if (look.source.kind == Source::Kind::files) continue;
        asked.push_back(&look);
        questions.push_back({look.source.where, look.source.kind == Source::Kind::services});
    }
    if (questions.empty()) return;
    std::vector<std::string> servers;
    {
        const std::lock_guard lock(mutex_);
        servers = servers_;
    }
    // One for each round: it reads /etc/resolv.conf, which may have changed.
    auto resolver = Resolver::make(servers);
    if (!resolver) {
        for (auto* look : asked) look->fail(resolver.error().line());
        return;
    }
    const auto deadline = Clock::now() + patience;
    auto answers = resolver->ask(questions, patience);
    std::vector<Question> targets;
    for (const auto& answer : answers)
        for (const auto& service : answer.services) targets.push_back({service.target, false});
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    const auto addresses =
        targets.empty() ? std::vector<Answer>{} : resolver->ask(targets, std::max(rest, least_patience));
    auto of_target = addresses.begin();
    for (std::size_t i = 0; i < asked.size(); ++i) {
        const auto first = of_target;
        of_target += static_cast<std::ptrdiff_t>(answers[i].services.size());
        asked[i]->conclude(answers[i], {first, of_target});
    }
}

void Discovery::Look::fail(std::string why) {
    error = std::move(why);
    usable = false;
    next = after_failure;
}

/// `targets` are the addresses of the answer's services, in their order.
void Discovery::Look::conclude(Answer& answer, std::span<const Answer> targets) {
    if (!answer.error.empty()) return fail(answer.error);
    if (source.kind == Source::Kind::addresses) {
        next = next_look(answer.lifetime);
        found =
            assign_addresses(source.name, source.port, std::move(answer.addresses), source.weight, before);
        return;
    }
    auto lifetime = answer.lifetime;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        answer.services[i].addresses = targets[i].addresses;
        if (targets[i].error.empty())
            lifetime = std::min(lifetime, targets[i].lifetime);
        else
            error = fmt::format("its target {}: {}", answer.services[i].target, targets[i].error);
    }
    found = assign_services(source.name, std::move(answer.services), before);
    next = error.empty() ? next_look(lifetime) : after_failure;
}

/// A failure is said once, and that it is over.
void Discovery::tell(const Look& look, const Entry& entry) {
    if (look.error == entry.last_error) return;
    if (look.error.empty())
        spdlog::info("pool {}: {} can be read again", look.source.pool, shown(look.source));
    else
        spdlog::warn("pool {}: {} cannot be read: {}; {}", look.source.pool, shown(look.source), look.error,
                     entry.found.empty() ? "it has no brokers until it can" : "what was known of it stays");
}

/// True: somebody has other brokers now.
bool Discovery::take(std::vector<Look>& looks) {
    bool changed = false;
    bool failed = false;
    {
        const std::lock_guard lock(mutex_);
        for (auto& look : looks) {
            const auto found = entries_.find(look.name);
            if (found == entries_.end() || found->second.epoch != look.epoch) continue;
            auto& entry = found->second;
            entry.due = Clock::now() + look.next;
            if (look.unchanged) continue;
            entry.fingerprint = std::move(look.fingerprint);
            failed |= !look.error.empty();
            tell(look, entry);
            entry.last_error = look.error;
            if (!look.usable) continue;
            changed |= entry.found != look.found;
            entry.found = std::move(look.found);
        }
    }
    if (failed && events_.failed) events_.failed();
    return changed;
}

void Discovery::run() {
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            if (stop_) return;  // told before this thread came to wait
            auto next = Clock::now() + longest_lifetime;
            for (const auto& [name, entry] : entries_) next = std::min(next, entry.due);
            if (next > Clock::now()) wake_.wait_until(lock, next);
            if (stop_) return;
        }
        auto looks = due_looks(Clock::now());
        if (looks.empty()) continue;
        look_up(looks, dns_patience);
        if (take(looks) && events_.changed) events_.changed();
    }
}

}  // namespace limpet::discovery
