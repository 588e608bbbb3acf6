// SPDX-License-Identifier: Apache-2.0
#include "session/websocket_channel.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

namespace limpet::session {
namespace {

// Payload of one frame that we write.
constexpr std::size_t largest_frame = 16 * 1024;
// Reads without a byte of data in them until others have their turn: pings cost as much as they are many.
constexpr int most_reads = 8;
// Pongs for a peer that takes none: the rest goes unanswered.
constexpr std::size_t most_later = 1024;

}  // namespace

WebSocketChannel::WebSocketChannel(websocket::Sender peer, int socket, std::unique_ptr<Channel> below,
                                   std::vector<std::uint8_t> ahead)
    : peer_(peer), socket_(socket), below_(std::move(below)), ahead_(std::move(ahead)), unwrapper_(peer) {}

Read WebSocketChannel::read_below(std::span<std::uint8_t> into) {
    if (!ahead_.empty()) {
        const auto count = std::min(into.size(), ahead_.size());
        std::copy_n(ahead_.begin(), count, into.begin());
        ahead_.erase(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(count));
        if (ahead_.empty()) ahead_.shrink_to_fit();
        return {Read::Kind::bytes, count};
    }
    return below_ ? below_->read(into) : read_some(socket_, into);
}

Read WebSocketChannel::read(std::span<std::uint8_t> into) {
    for (int reads = 0; reads < most_reads; ++reads) {
        if (is_wrong()) return {Read::Kind::broken, 0};
        if (unwrapper_.closed()) return {Read::Kind::end, 0};
        const auto raw = read_below(into);
        if (raw.kind != Read::Kind::bytes) return raw;
        const auto count = unwrap(into.first(raw.count));
        if (flush() == Flushed::broken) return {Read::Kind::broken, 0};
        if (count > 0) return {Read::Kind::bytes, count};
    }
    return {Read::Kind::nothing, 0};
}

/// Moves the payloads together at the front; answers what is to be answered.
std::size_t WebSocketChannel::unwrap(std::span<std::uint8_t> bytes) {
    using Kind = websocket::Event::Kind;
    std::size_t count = 0;
    auto rest = bytes;
    for (;;) {
        const auto event = unwrapper_.read(rest);
        switch (event.kind) {
            case Kind::more:
                return count;
            case Kind::data:
                std::memmove(bytes.data() + count, event.payload.data(), event.payload.size());
                count += event.payload.size();
                break;
            case Kind::ping:
                answer_ping(event.payload);
                break;
            case Kind::pong:
                break;
            case Kind::close:
                say_close(websocket::CloseCode::normal, {});
                return count;
            case Kind::invalid:
                say_close(websocket::close_code(unwrapper_.fault()), trouble());
                return count;
        }
    }
}

std::ptrdiff_t WebSocketChannel::write(std::span<const std::uint8_t> bytes) {
    if (promised_ == 0 && out_.empty() && !bytes.empty()) {
        // Who has closed reads nothing more (RFC 6455 5.5.1); the broker is not to suffer for what it says
        // yet.
        if (unwrapper_.closed()) return static_cast<std::ptrdiff_t>(bytes.size());
        if (close_said_) return -1;
        const auto piece = bytes.first(std::min(bytes.size(), largest_frame));
        websocket::append_frame(out_, websocket::Opcode::binary, piece, mask());
        promised_ = piece.size();
    }
    const auto flushed = flush();
    if (flushed == Flushed::broken) return -1;
    return flushed == Flushed::all ? static_cast<std::ptrdiff_t>(std::exchange(promised_, 0)) : 0;
}

bool WebSocketChannel::end() {
    say_close(websocket::CloseCode::normal, {});
    if (flush() == Flushed::some) return false;
    return !below_ || below_->end();
}

/// Writes what is there, and behind it the control frames that wait.
WebSocketChannel::Flushed WebSocketChannel::flush() {
    for (;;) {
        if (taken_ == out_.size()) {
            std::vector<std::uint8_t>().swap(out_);
            taken_ = 0;
            if (later_.empty()) return Flushed::all;
            out_.swap(later_);
        }
        const auto rest = std::span(out_).subspan(taken_);
        const auto count = below_ ? below_->write(rest) : write_some(socket_, rest);
        if (count < 0) return Flushed::broken;
        if (count == 0) return Flushed::some;
        taken_ += static_cast<std::size_t>(count);
    }
}

/// A client's frames are masked, each with a key of its own that nobody can guess (RFC 6455 5.3).
std::optional<websocket::MaskKey> WebSocketChannel::mask() const {
    if (peer_ == websocket::Sender::client) return std::nullopt;
    websocket::MaskKey key{};
    static_cast<void>(::getrandom(key.data(), key.size(), 0));
    return key;
}

void WebSocketChannel::answer_ping(Bytes payload) {
    if (close_said_ || later_.size() > most_later) return;
    websocket::append_frame(later_, websocket::Opcode::pong, payload, mask());
}

void WebSocketChannel::say_close(websocket::CloseCode code, std::string_view reason) {
    if (std::exchange(close_said_, true)) return;
    websocket::append_close(later_, code, reason, mask());
}

std::string_view WebSocketChannel::trouble() const {
    if (is_wrong()) return websocket::fault_sentence(unwrapper_.fault());
    return below_ ? below_->trouble() : std::string_view{};
}

std::optional<websocket::FrameHeader> WebSocketChannel::seam() const {
    if (!ahead_.empty() || !out_.empty() || !later_.empty() || promised_ > 0 || close_said_)
        return std::nullopt;
    return unwrapper_.seam();
}

}  // namespace limpet::session
