// SPDX-License-Identifier: Apache-2.0
// One side of a connection: a socket, or a channel (TLS, WebSocket) over it. Whoever moves bytes need not
// know which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/channel.h"
#include "base/fd.h"
#include "session/asio.h"

namespace limpet::session {

class Leg {
  public:
    explicit Leg(const Executor& executor) : descriptor_(executor) {}

    /// Takes a non-blocking socket; false: the event loop has no room for it.
    [[nodiscard]] bool take(Fd socket);
    /// From now on bytes go through `channel`, which works on this leg's socket.
    void cover(std::unique_ptr<Channel> channel) { channel_ = std::move(channel); }
    /// What lies over the socket; null: nothing.
    [[nodiscard]] Channel* channel() const { return channel_.get(); }
    /// The channel, to be put under another one or to be dropped.
    [[nodiscard]] std::unique_ptr<Channel> uncover() { return std::move(channel_); }
    /// Nothing lies over the socket: what is read and written is what the network carries.
    [[nodiscard]] bool plain() const { return !channel_; }

    [[nodiscard]] bool is_open() const { return descriptor_.is_open(); }
    [[nodiscard]] int socket() { return descriptor_.native_handle(); }
    [[nodiscard]] Descriptor& descriptor() { return descriptor_; }

    // As Channel has them.
    [[nodiscard]] Read read(std::span<std::uint8_t> into);
    [[nodiscard]] std::ptrdiff_t write(std::span<const std::uint8_t> bytes);
    [[nodiscard]] bool end();
    [[nodiscard]] bool buffered() const { return channel_ && channel_->buffered(); }
    [[nodiscard]] std::string_view trouble() const {
        return channel_ ? channel_->trouble() : std::string_view();
    }
    [[nodiscard]] Descriptor::wait_type to_read() const;
    [[nodiscard]] Descriptor::wait_type to_write() const;

    /// The socket has an error that nobody was told of yet, a reset for example; asking is being told.
    [[nodiscard]] bool broken();

    /// Close will send RST instead of FIN, and nothing of a channel's before.
    void reset_on_close();
    /// A channel says goodbye as far as the socket takes it at once.
    void close();
    /// Gives the socket away as it is; waits on it are cancelled.
    [[nodiscard]] Fd release();

  private:
    Descriptor descriptor_;
    std::unique_ptr<Channel> channel_;
};

/// One read of a plain socket.
[[nodiscard]] Read read_some(int socket, std::span<std::uint8_t> into);
/// One write to a plain socket: how many bytes it took, or -1 when it is broken.
[[nodiscard]] std::ptrdiff_t write_some(int socket, std::span<const std::uint8_t> bytes);

}  // namespace limpet::session
