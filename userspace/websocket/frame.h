// SPDX-License-Identifier: Apache-2.0
// The framing of WebSocket (RFC 6455 5) around an MQTT stream. Bytes in, values out: no sockets, no clocks,
// no random numbers. MQTT packets and frames need not align (MQTT-5.0 6): what counts is the stream of
// payload.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace limpet::websocket {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Whose frames they are: a client's are masked, a server's are not (5.1).
enum class Sender { client, server };

/// Four random bytes, new for every frame of a client (5.3). The caller draws them.
using MaskKey = std::array<std::uint8_t, 4>;

/// 7.4.1 and IANA's list.
enum class CloseCode : std::uint16_t {
    normal = 1000,
    going_away = 1001,
    protocol_error = 1002,
    unsupported_data = 1003,
    no_status = 1005,  ///< read: the close frame was empty; never written
    invalid_payload = 1007,
    policy_violation = 1008,
    message_too_big = 1009,
    internal_error = 1011,
    service_restart = 1012,
    try_again_later = 1013,
};

inline constexpr std::uint64_t longest_payload = (std::uint64_t{1} << 63) - 1;  // 5.2
inline constexpr std::size_t longest_frame_header = 14;
inline constexpr std::size_t longest_control_payload = 125;  // 5.5

/// What is wrong with bytes that are no frames.
enum class Fault : std::uint8_t {
    none,
    reserved_bits,
    opcode,
    control_fragmented,
    control_too_long,
    continuation_of_nothing,
    message_within_message,
    text,
    not_masked,
    masked,
    length_not_shortest,
    length_too_large,
    message_too_big,
    close_length,
    close_code,
    close_reason,
};
/// One sentence for people.
[[nodiscard]] std::string_view fault_sentence(Fault fault);
/// What to tell the peer in a close frame (7.4.1).
[[nodiscard]] CloseCode close_code(Fault fault);

/// What one step of reading gave.
struct Event {
    enum class Kind {
        more,     ///< all bytes are taken, and more are needed
        data,     ///< `payload`: a piece of the MQTT stream, unmasked, inside the caller's bytes
        ping,     ///< `payload`: what the pong must carry; the reader's until the next read
        pong,     ///< `payload`, likewise
        close,    ///< `code`, and `payload`: the reason, UTF-8; likewise
        invalid,  ///< see fault(); the connection can only be closed
    };
    Kind kind = Kind::more;
    Bytes payload;
    std::uint16_t code = 0;
};

/// The bytes in front of a payload.
struct FrameHeader {
    std::array<std::uint8_t, longest_frame_header> bytes{};
    std::size_t size = 0;

    [[nodiscard]] Bytes view() const { return Bytes(bytes).first(size); }
};

/// Takes frames off a stream, in whatever pieces it comes, and gives the payload in place: no byte of data is
/// copied or held, so that memory does not grow with the length of a frame. It does hold a header and the
/// payload of one control frame. Extensions are not negotiated, so that the reserved bits must be 0.
class Unwrapper {
  public:
    /// `largest_message`: bytes of payload over all frames of one message (a cap of policy, not of memory).
    explicit Unwrapper(Sender sender, std::uint64_t largest_message = longest_payload)
        : sender_(sender), largest_message_(largest_message) {}

    /// Takes bytes off the front of `bytes`, which it may overwrite, up to the next event. Call again with
    /// what is left until the answer is `more`, then with the bytes that follow. Events hang on the stream
    /// alone, but for where data is cut into pieces. Behind a close frame all bytes are thrown away (5.5.1).
    Event read(std::span<std::uint8_t>& bytes);

    [[nodiscard]] Fault fault() const { return fault_; }
    /// No byte of a frame has been taken that is not taken whole: another writer may go on from here.
    [[nodiscard]] bool between_frames() const { return header_size_ == 0; }
    /// And the last data frame was the last of its message.
    [[nodiscard]] bool between_messages() const { return between_frames() && !message_open_; }
    [[nodiscard]] bool closed() const { return closed_; }
    /// What makes the bytes that follow whole frames for a reader who has seen none of this stream, but other
    /// messages that have ended: a header, or none (size 0) where a message begins anyway. Nothing while the
    /// stream stands inside a header or a control frame, or is over.
    [[nodiscard]] std::optional<FrameHeader> seam() const;

  private:
    bool read_header(std::span<std::uint8_t>& bytes);
    Fault judge_first_byte();
    Fault judge_second_byte();
    Fault judge_length();
    [[nodiscard]] Fault judge_close() const;
    Event read_control(std::span<std::uint8_t>& bytes);
    Event end_of_control();
    Event read_data(std::span<std::uint8_t>& bytes);
    std::span<std::uint8_t> take_payload(std::span<std::uint8_t>& bytes);
    Event invalid(Fault fault);

    Sender sender_;
    std::uint64_t largest_message_;
    Fault fault_ = Fault::none;
    bool closed_ = false;
    bool message_open_ = false;       ///< a message has begun whose last frame has not
    std::uint64_t message_size_ = 0;  ///< bytes of payload announced of the message that is open
    // the frame
    std::array<std::uint8_t, longest_frame_header> header_{};
    std::size_t header_size_ = 0;  ///< arrived, 0 between frames
    std::size_t header_need_ = 2;  ///< all of it, as far as known
    bool in_payload_ = false;
    std::uint64_t payload_size_ = 0;
    std::uint64_t payload_read_ = 0;
    std::array<std::uint8_t, longest_control_payload> control_{};
};

/// With a key for a client's frame: the payload must then go through apply_mask. The length is in its
/// shortest form.
[[nodiscard]] FrameHeader frame_header(Opcode opcode, std::uint64_t length, std::optional<MaskKey> key = {},
                                       bool final = true);

/// Masks or unmasks bytes that begin `offset` bytes into the payload of a frame (5.3).
void apply_mask(std::span<std::uint8_t> bytes, MaskKey key, std::uint64_t offset = 0);

/// Appends a whole frame to `out`, masked if there is a key. The payload of a control frame is at most
/// longest_control_payload bytes; what is behind is cut off.
void append_frame(std::vector<std::uint8_t>& out, Opcode opcode, Bytes payload,
                  std::optional<MaskKey> key = {}, bool final = true);

/// Appends a close frame. A reason that is too long is cut between two characters.
void append_close(std::vector<std::uint8_t>& out, CloseCode code, std::string_view reason,
                  std::optional<MaskKey> key = {});

}  // namespace limpet::websocket
