// SPDX-License-Identifier: Apache-2.0
#include "daemon/offers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "handoff/ask_brokers.h"

namespace limpet::daemon {
namespace {

using Clock = std::chrono::steady_clock;

std::string words(const dataplane::Offer& offer) {
    const auto missing = dataplane::missing_names(offer);
    return missing.empty() ? "all TCP options" : fmt::format("no TCP {}", fmt::join(missing, ", "));
}

}  // namespace

Offers::~Offers() {
    {
        const std::lock_guard guard(mutex_);
        stop_ = true;
    }
    stopping_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Offers::follow(const config::Config& config) {
    std::map<std::string, Front> fresh;
    for (const auto& listener : config.listeners) {
        auto& front = fresh[listener.name];
        front.address = listener.address;
        const auto names = config::pools_of(listener);
        for (const auto& pool : config.pools)
            if (std::ranges::find(names, pool.name) != names.end())
                for (const auto& broker : pool.brokers) front.brokers.push_back(broker.address);
    }
    const std::lock_guard guard(mutex_);
    for (auto& [name, front] : fresh) {
        const auto old = fronts_.find(name);
        if (old != fronts_.end() && old->second.address == front.address) front.told = old->second.told;
    }
    for (const auto& [name, front] : fronts_) {
        const auto same = [&](const auto& other) { return other.second.address == front.address; };
        if (std::ranges::none_of(fresh, same)) dataplane_.set_offer(front.address, 0);
    }
    fronts_ = std::move(fresh);
}

std::vector<Endpoint> Offers::brokers(bool unknown_only) const {
    std::vector<Endpoint> found;
    const std::lock_guard guard(mutex_);
    for (const auto& [name, front] : fronts_)
        for (const auto& broker : front.brokers)
            if (std::ranges::find(found, broker) == found.end() &&
                (!unknown_only || !dataplane_.knows_offer(broker)))
                found.push_back(broker);
    return found;
}

void Offers::ask_first() {
    handoff::ask_brokers(dataplane_, brokers(true), first_answers);
    apply();
}

void Offers::start() {
    thread_ = std::thread([this] { run(); });
}

void Offers::run() {
    auto next_unknown = Clock::now() + unknown_interval;
    auto next_known = Clock::now() + known_interval;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            if (stopping_.wait_for(lock, apply_interval, [this] { return stop_; })) return;
        }
        const auto now = Clock::now();
        if (now >= next_known) {
            handoff::ask_brokers(dataplane_, brokers(false), first_answers);
            next_known = Clock::now() + known_interval;
        } else if (now >= next_unknown) {
            handoff::ask_brokers(dataplane_, brokers(true), first_answers);
            next_unknown = Clock::now() + unknown_interval;
        }
        apply();
    }
}

void Offers::apply() {
    const std::lock_guard guard(mutex_);
    for (auto& [name, front] : fronts_) {
        const auto offer = dataplane_.common_offer(front.brokers);
        if (offer == front.told) continue;
        if (offer.missing != front.told.missing) {
            dataplane_.set_offer(front.address, offer.missing);
            spdlog::info("listener {}: clients are offered {}, as the brokers behind it", name, words(offer));
        }
        if (offer.segment != front.told.segment) workers_.limit_segment(front.address, offer.segment);
        front.told = offer;
    }
}

std::uint32_t Offers::segment_of(const std::string& listener) const {
    const std::lock_guard guard(mutex_);
    const auto found = fronts_.find(listener);
    return found == fronts_.end() ? 0 : found->second.told.segment;
}

}  // namespace limpet::daemon
