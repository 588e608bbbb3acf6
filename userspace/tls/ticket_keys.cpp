// SPDX-License-Identifier: Apache-2.0
#include "tls/ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>

namespace limpet::tls {

TicketKeys::~TicketKeys() {
    for (auto& aged : keys_) OPENSSL_cleanse(&aged.key, sizeof aged.key);
}

void TicketKeys::set_lifetime(std::chrono::seconds lifetime) {
    const std::lock_guard lock(mutex_);
    lifetime_ = lifetime;
}

std::chrono::seconds TicketKeys::lifetime() const {
    const std::lock_guard lock(mutex_);
    return lifetime_;
}

void TicketKeys::drop_old(Clock::time_point now) {
    std::erase_if(keys_, [&](Aged& aged) {
        if (now < aged.made + lifetime_ / 2 + lifetime_) return false;
        OPENSSL_cleanse(&aged.key, sizeof aged.key);
        return true;
    });
}

std::optional<TicketKeys::Key> TicketKeys::current(Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    drop_old(now);
    if (!keys_.empty() && now < keys_.back().made + lifetime_ / 2) return keys_.back().key;
    Key fresh;
    if (RAND_bytes(fresh.name.data(), static_cast<int>(fresh.name.size())) != 1 ||
        RAND_priv_bytes(fresh.encryption.data(), static_cast<int>(fresh.encryption.size())) != 1 ||
        RAND_priv_bytes(fresh.mac.data(), static_cast<int>(fresh.mac.size())) != 1)
        return std::nullopt;
    keys_.push_back({fresh, now});
    return fresh;
}

std::optional<TicketKeys::Found> TicketKeys::find(std::span<const std::uint8_t> name, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    drop_old(now);
    for (const auto& aged : keys_)
        if (std::ranges::equal(aged.key.name, name))
            return Found{aged.key, &aged == &keys_.back() && now < aged.made + lifetime_ / 2};
    return std::nullopt;
}

}  // namespace limpet::tls
