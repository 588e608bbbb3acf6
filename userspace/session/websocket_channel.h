// SPDX-License-Identifier: Apache-2.0
// WebSocket's frames as a channel: who reads and writes it sees the stream of MQTT that they carry.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/channel.h"
#include "session/leg.h"
#include "websocket/frame.h"

namespace limpet::session {

class WebSocketChannel final : public Channel {
  public:
    /// `peer`: whose frames are read. `below`: what the frames go through, or nothing: `socket` itself.
    /// `ahead`: bytes of the peer that came together with the end of the handshake.
    WebSocketChannel(websocket::Sender peer, int socket, std::unique_ptr<Channel> below,
                     std::vector<std::uint8_t> ahead);

    [[nodiscard]] Read read(std::span<std::uint8_t> into) override;
    [[nodiscard]] std::ptrdiff_t write(std::span<const std::uint8_t> bytes) override;
    [[nodiscard]] bool end() override;
    [[nodiscard]] bool buffered() const override {
        return !ahead_.empty() || unwrapper_.closed() || is_wrong() || (below_ && below_->buffered());
    }
    [[nodiscard]] Wait to_read() const override { return below_ ? below_->to_read() : Wait::readable; }
    [[nodiscard]] Wait to_write() const override { return below_ ? below_->to_write() : Wait::writable; }
    [[nodiscard]] std::string_view trouble() const override;
    /// The peer's frames are: it was told so, and nothing more is read.
    [[nodiscard]] bool is_wrong() const { return unwrapper_.fault() != websocket::Fault::none; }

    /// Nothing that was written is still here, and nothing that was read: what follows may be passed on as it
    /// comes, behind this header (or none). Nothing: not now.
    [[nodiscard]] std::optional<websocket::FrameHeader> seam() const;
    /// What lies below, for a leg that goes on without this channel.
    [[nodiscard]] std::unique_ptr<Channel> release() { return std::move(below_); }

  private:
    enum class Flushed { all, some, broken };

    [[nodiscard]] Read read_below(std::span<std::uint8_t> into);
    [[nodiscard]] std::size_t unwrap(std::span<std::uint8_t> bytes);
    [[nodiscard]] Flushed flush();
    [[nodiscard]] std::optional<websocket::MaskKey> mask() const;
    void answer_ping(Bytes payload);
    void say_close(websocket::CloseCode code, std::string_view reason);

    websocket::Sender peer_;
    int socket_;
    std::unique_ptr<Channel> below_;
    std::vector<std::uint8_t> ahead_;
    websocket::Unwrapper unwrapper_;
    std::vector<std::uint8_t> out_;  ///< of a frame that the socket has not taken whole
    std::size_t taken_ = 0;          ///< of out_
    std::size_t promised_ = 0;       ///< bytes of payload in that frame, which write() answers when it is out
    std::vector<std::uint8_t> later_;  ///< control frames that go behind it
    bool close_said_ = false;
};

/// The frames over a leg's socket; null: there are none.
[[nodiscard]] inline WebSocketChannel* frames_of(const Leg& leg) {
    return dynamic_cast<WebSocketChannel*>(leg.channel());
}

}  // namespace limpet::session
