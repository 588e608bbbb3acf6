// SPDX-License-Identifier: Apache-2.0
#include "session/trace.h"

#include <algorithm>

namespace limpet::session {
namespace {

constexpr std::size_t most_events = 8192;
constexpr std::size_t most_ids = 65'536;
constexpr std::size_t most_watchers = 64;
// Who watches asks several times a second.
constexpr std::chrono::seconds watching_time{5};

bool concerns(const Trace::Filter& filter, const Trace::Event& event) {
    return (!filter.client_id || *filter.client_id == event.client_id) &&
           (!filter.source || *filter.source == event.client.address);
}

}  // namespace

Trace::Answer Trace::ask(const Filter& filter, std::uint64_t from, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    forget_watchers(now);
    const auto known = std::ranges::find(watchers_, filter, &Watcher::filter);
    if (known != watchers_.end())
        known->until = now + watching_time;
    else if (watchers_.size() < most_watchers)
        watchers_.push_back({filter, now + watching_time});
    watched_ = true;
    Answer answer;
    answer.next = last_ + 1;
    if (from == 0) return answer;
    const std::uint64_t first = events_.empty() ? last_ + 1 : events_.front().number;
    answer.lost = first > from ? first - from : 0;
    for (const auto& event : events_)
        if (event.number >= from && concerns(filter, event)) answer.events.push_back(event);
    return answer;
}

void Trace::note(Event event, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    note_locked(std::move(event), now);
}

void Trace::note_end(const Endpoint& client, std::string_view what, std::string detail,
                     Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    Event event;
    event.client = client;
    event.what = what;
    event.detail = std::move(detail);
    note_locked(std::move(event), now);
    ids_.erase(client);
}

void Trace::know(const Endpoint& client, std::string_view client_id) {
    const std::lock_guard lock(mutex_);
    if (!client_id.empty() && ids_.size() < most_ids) ids_.insert_or_assign(client, client_id);
}

void Trace::forget_watchers(Clock::time_point now) {
    std::erase_if(watchers_, [&](const Watcher& watcher) { return watcher.until < now; });
    if (!watchers_.empty()) return;
    watched_ = false;
    std::deque<Event>().swap(events_);
    std::unordered_map<Endpoint, std::string>().swap(ids_);
}

void Trace::note_locked(Event event, Clock::time_point now) {
    forget_watchers(now);
    if (watchers_.empty()) return;
    if (!event.client_id.empty()) {
        if (ids_.size() < most_ids) ids_.insert_or_assign(event.client, event.client_id);
    } else if (const auto known = ids_.find(event.client); known != ids_.end()) {
        event.client_id = known->second;
    }
    if (std::ranges::none_of(watchers_, [&](const auto& one) { return concerns(one.filter, event); })) return;
    event.number = ++last_;
    event.at = std::chrono::system_clock::now();
    events_.push_back(std::move(event));
    if (events_.size() > most_events) events_.pop_front();
}

}  // namespace limpet::session
