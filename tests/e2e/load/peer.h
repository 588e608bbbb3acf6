// SPDX-License-Identifier: Apache-2.0
// One end of one connection of the flood, without knowing the others.
#pragma once

#include <array>
#include <span>
#include <string>

#include "common.h"
#include "stream.h"

namespace load {

inline constexpr std::int64_t connection_limit =
    30'000'000;  ///< microseconds without a byte until it counts as hung
inline constexpr std::size_t largest_chunk = 1400;
inline constexpr std::size_t burst_chunk = 65536;

/// One end of one connection. Writes in chunks at small random distances, so that the handoff finds bytes
/// under way in both directions; every fourth connection sends as fast as it can instead.
class Peer {
  public:
    enum class End { none, whole, mismatch, cut, hung, refused };

    Peer(Fd fd, bool client, std::uint64_t seed) : fd_(std::move(fd)), client_(client), seed_(seed) {}

    /// The client knows from the start what the broker learns from CONNECT.
    void identify(std::uint64_t id, std::uint64_t up, std::uint64_t down) {
        id_ = id;
        out_total_ = client_ ? up : down;
        in_total_ = client_ ? down : up;
        out_ = Stream(seed_, id, client_);
        in_ = Stream(seed_, id, !client_);
        random_ = mix(seed_ ^ mix(id * 2 + (client_ ? 1 : 0)));
    }
    /// What is sent first; for every fourth connection the first bytes of the stream ride along.
    void greet(const std::string& connect) {
        if (id_ % 4 == 1) prepare();
        pending_.insert(0, connect);
    }
    /// The client's own address and port, at the broker's end those of whom it sees: by these `flows list`
    /// knows the connection.
    void at(const Address& endpoint) { endpoint_ = endpoint; }
    /// Does not half-close before `release` (or, on the broker's side, before the client does).
    void hold() { held_ = true; }
    void release() { held_ = false; }

    [[nodiscard]] int descriptor() const { return fd_.get(); }
    [[nodiscard]] std::uint64_t id() const { return id_; }
    [[nodiscard]] bool identified() const { return identified_ || client_; }
    [[nodiscard]] std::uint64_t checked() const { return received_; }
    [[nodiscard]] End end() const { return end_; }
    [[nodiscard]] const std::string& trouble() const { return trouble_; }
    [[nodiscard]] std::int64_t began() const { return began_; }
    [[nodiscard]] const Address& endpoint() const { return endpoint_; }

    void readable() {
        static std::array<char, 1 << 18> buffer;
        while (end_ == End::none) {
            const ssize_t count = read(fd_.get(), buffer.data(), buffer.size());
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
            last_byte_ = now();
            if (count < 0) return stop(End::cut, std::string("read: ") + std::strerror(errno));
            if (count == 0) return on_end_of_stream();
            take({buffer.data(), static_cast<std::size_t>(count)});
        }
    }

    /// Nothing is left to say, and the end is the other side's turn, or waits for release().
    [[nodiscard]] bool idle() const {
        return end_ == End::none && pending_.empty() && answered_ && sent_ == out_total_ &&
               (held_ || closed_);
    }

    void give_up_if_hung(std::int64_t time) {
        const bool content = held_ && idle() && received_ == in_total_;
        if (end_ == End::none && !content && time - last_byte_ > connection_limit)
            stop(End::hung, "no byte for half a minute");
    }

    /// Sends what is due; called again and again while not idle.
    void work(std::int64_t time) {
        while (end_ == End::none && time >= next_write_) {
            if (pending_.empty() && !prepare()) return finish();
            const ssize_t count = send(fd_.get(), pending_.data(), pending_.size(), MSG_NOSIGNAL);
            if (count < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
            if (count < 0)
                return stop(greeted_ ? End::cut : End::refused, std::string("send: ") + std::strerror(errno));
            last_byte_ = time;
            pending_.erase(0, static_cast<std::size_t>(count));
            greeted_ = true;
            if (pending_.empty() && !burst()) next_write_ = time + static_cast<std::int64_t>(draw() % 2000);
        }
    }

  private:
    std::uint64_t draw() { return random_ = mix(random_); }
    [[nodiscard]] bool burst() const { return id_ % 4 == 3; }

    /// The next chunk of the stream; false when there is nothing to say now.
    bool prepare() {
        if (!identified() || sent_ == out_total_ || (client_ && id_ % 4 == 2 && !answered_)) return false;
        const std::uint64_t wanted = burst() ? burst_chunk : 1 + draw() % largest_chunk;
        pending_.resize(std::min(wanted, out_total_ - sent_));
        out_.fill(sent_, pending_);
        sent_ += pending_.size();
        return true;
    }

    /// Everything is said: half-close.
    void finish() {
        if (!identified() || sent_ != out_total_ || closed_ || held_ || !answered_) return;
        closed_ = true;
        shutdown(fd_.get(), SHUT_WR);
        if (peer_closed_) stop(End::whole, {});
    }

    void take(std::span<const char> bytes) {
        if (!answered_ && !client_) return take_connect(bytes);
        if (!answered_) {
            header_.append(bytes.data(), std::min<std::size_t>(4 - header_.size(), bytes.size()));
            bytes = bytes.subspan(std::min(bytes.size(), header_.size() - had_));
            had_ = header_.size();
            if (had_ < 4) return;
            if (header_ != std::string_view("\x20\x02\0\0", 4)) return stop(End::refused, "CONNACK is not 0");
            answered_ = true;
        }
        check(bytes);
    }

    /// The broker's side of the beginning: CONNECT, which may come in pieces, and what follows it.
    void take_connect(std::span<const char> bytes) {
        header_.append(bytes.data(), bytes.size());
        std::size_t length = 0;
        std::size_t at = 1;
        for (unsigned shift = 0;; shift += 7, ++at) {
            if (at >= header_.size()) return;
            length |= static_cast<std::size_t>(header_[at] & 0x7f) << shift;
            if ((header_[at] & 0x80) == 0) break;
        }
        ++at;
        if (header_.size() < at + length) return;
        constexpr std::size_t id_offset = 12;  // name, level, flags, keep-alive, length of the id
        const std::string id = header_.substr(at + id_offset, length - id_offset);
        const auto first = id.find('-');
        const auto second = id.rfind('-');
        if (header_[0] != 0x10 || !id.starts_with('f') || first == second)
            return stop(End::mismatch, "CONNECT is not as it was sent: " + id);
        const std::string_view view = id;
        identify(number<std::uint64_t>(view.substr(1, first - 1)),
                 number<std::uint64_t>(view.substr(first + 1, second - first - 1)),
                 number<std::uint64_t>(view.substr(second + 1)));
        identified_ = true;
        pending_.assign("\x20\x02\0\0", 4);
        next_write_ = now() + static_cast<std::int64_t>(draw() % 5000);
        answered_ = true;
        const std::string rest = header_.substr(at + length);
        check(rest);
    }

    void check(std::span<const char> bytes) {
        if (bytes.empty()) return;
        if (received_ + bytes.size() > in_total_) return stop(End::mismatch, "more bytes than were sent");
        if (const auto wrong = in_.wrong(received_, bytes)) return stop(End::mismatch, *wrong);
        received_ += bytes.size();
    }

    void on_end_of_stream() {
        peer_closed_ = true;
        if (!answered_) return stop(End::refused, "closed before CONNACK");
        if (received_ != in_total_)
            return stop(End::cut,
                        "end after " + std::to_string(received_) + " of " + std::to_string(in_total_));
        if (!client_) held_ = false;
        if (closed_) stop(End::whole, {});
    }

    void stop(End end, const std::string& trouble) {
        end_ = end;
        if (end != End::whole)
            trouble_ = (client_ ? "client " : "broker ") + std::to_string(id_) + ": " + trouble;
    }

    Fd fd_;
    bool client_;
    std::uint64_t seed_;
    std::uint64_t id_ = 0;
    std::uint64_t random_ = 0;
    Stream out_, in_;
    std::uint64_t out_total_ = 0, in_total_ = 0, sent_ = 0, received_ = 0;
    std::string pending_;  ///< to be sent before anything else
    std::string header_;   ///< CONNECT or CONNACK as far as it has come
    std::size_t had_ = 0;
    std::int64_t began_ = now(), next_write_ = 0, last_byte_ = began_;
    Address endpoint_;
    bool identified_ = false, answered_ = false, greeted_ = false, closed_ = false, held_ = false,
         peer_closed_ = false;
    End end_ = End::none;
    std::string trouble_;
};

}  // namespace load
