// SPDX-License-Identifier: Apache-2.0
// What may lie between a socket and whoever reads and writes it: TLS, WebSocket. Channels stack: one may own
// the one below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace limpet {

/// What one read came to.
struct Read {
    enum class Kind { bytes, end, nothing, broken };
    Kind kind = Kind::nothing;
    std::size_t count = 0;
};

/// A stream of bytes over a non-blocking socket that somebody else owns. Never waits; used on one thread.
class Channel {
  public:
    /// What the socket must become.
    enum class Wait : std::uint8_t { readable, writable };

    Channel() = default;
    virtual ~Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    [[nodiscard]] virtual Read read(std::span<std::uint8_t> into) = 0;
    /// How many bytes were taken; -1: broken. What was not taken must be offered again first.
    [[nodiscard]] virtual std::ptrdiff_t write(std::span<const std::uint8_t> bytes) = 0;
    /// Tells the peer that nothing more will be written, once all that was written is out. False: not yet,
    /// the socket takes nothing; call again.
    [[nodiscard]] virtual bool end() = 0;
    /// Bytes wait for read() for which the socket need not become readable any more.
    [[nodiscard]] virtual bool buffered() const = 0;
    /// What lets read(), write() or end() go on after it could not.
    [[nodiscard]] virtual Wait to_read() const { return Wait::readable; }
    [[nodiscard]] virtual Wait to_write() const { return Wait::writable; }
    /// Why it broke, where the layer itself had something to complain of; empty: the network did.
    [[nodiscard]] virtual std::string_view trouble() const { return {}; }
};

}  // namespace limpet
