// SPDX-License-Identifier: Apache-2.0
// The keys of session tickets (RFC 5077 4, RFC 8446 4.6.1): one set for all workers, changed as time goes by.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace limpet::tls {

/// Safe to use from all workers at once. A ticket is good for `lifetime`; its key is used for new tickets for
/// half of that, and kept for as long as its last ticket is good. Keys live in memory only: nobody who finds
/// a disk can read what was said.
class TicketKeys {
  public:
    using Clock = std::chrono::steady_clock;
    struct Key {
        std::array<std::uint8_t, 16> name{};
        std::array<std::uint8_t, 32> encryption{};  ///< AES-256-CBC
        std::array<std::uint8_t, 32> mac{};         ///< HMAC-SHA-256
    };

    explicit TicketKeys(std::chrono::seconds lifetime) : lifetime_(lifetime) {}
    ~TicketKeys();
    TicketKeys(const TicketKeys&) = delete;
    TicketKeys& operator=(const TicketKeys&) = delete;

    /// For keys that are made from now on, and for dropping old ones.
    void set_lifetime(std::chrono::seconds lifetime);
    [[nodiscard]] std::chrono::seconds lifetime() const;

    /// The key for a new ticket; nothing where the system has no randomness.
    [[nodiscard]] std::optional<Key> current(Clock::time_point now);
    /// The key that a ticket names, while its tickets may be good; `newest`: new tickets are made with it.
    struct Found {
        Key key;
        bool newest = false;
    };
    [[nodiscard]] std::optional<Found> find(std::span<const std::uint8_t> name, Clock::time_point now);

  private:
    struct Aged {
        Key key;
        Clock::time_point made;
    };
    void drop_old(Clock::time_point now);

    mutable std::mutex mutex_;
    std::chrono::seconds lifetime_;
    std::vector<Aged> keys_;  ///< the newest last
};

}  // namespace limpet::tls
