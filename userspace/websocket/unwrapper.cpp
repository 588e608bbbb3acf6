// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/utf8.h"
#include "websocket/frame.h"

namespace limpet::websocket {
namespace {

// 5.2
constexpr std::uint8_t final_bit = 0x80;
constexpr std::uint8_t reserved_mask = 0x70;
constexpr std::uint8_t opcode_mask = 0x0F;
constexpr std::uint8_t control_bit = 0x08;
constexpr std::uint8_t mask_bit = 0x80;
constexpr std::uint8_t length_mask = 0x7F;
constexpr std::uint8_t length_of_16_bits = 126;
constexpr std::uint8_t length_of_64_bits = 127;
constexpr std::size_t mask_key_size = 4;

bool is_opcode(int value) {
    return value <= 2 || (value >= 8 && value <= 10);
}

/// 7.4: codes that may be in a close frame. 1004, 1005, 1006 and 1015 never are, 1012 to 1014 are IANA's
/// additions, 3000 to 4999 belong to libraries and applications.
bool is_close_code(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

std::size_t extended_length_size(std::uint8_t length) {
    if (length == length_of_16_bits) return 2;
    return length == length_of_64_bits ? 8 : 0;
}

}  // namespace

Event Unwrapper::read(std::span<std::uint8_t>& bytes) {
    if (fault_ != Fault::none) return invalid(fault_);
    while (!closed_) {
        if (!in_payload_ && !read_header(bytes)) return fault_ == Fault::none ? Event{} : invalid(fault_);
        if ((header_[0] & control_bit) != 0) return read_control(bytes);
        const Event event = read_data(bytes);
        // An empty frame, or the end of one without a byte of it here, says nothing to anybody.
        if (event.kind == Event::Kind::data || in_payload_) return event;
    }
    bytes = {};
    return {};
}

Event Unwrapper::invalid(Fault fault) {
    fault_ = fault;
    return {.kind = Event::Kind::invalid, .payload = {}, .code = 0};
}

/// Byte by byte, so that each is judged when it comes. True when the header is whole.
bool Unwrapper::read_header(std::span<std::uint8_t>& bytes) {
    while (header_size_ < header_need_) {
        if (bytes.empty()) return false;
        header_[header_size_++] = bytes[0];
        bytes = bytes.subspan(1);
        const std::size_t extended = header_size_ < 2 ? 0 : extended_length_size(header_[1] & length_mask);
        if (header_size_ == 1) fault_ = judge_first_byte();
        if (header_size_ == 2) fault_ = judge_second_byte();
        if (fault_ == Fault::none && header_size_ >= 2 && header_size_ == 2 + extended)
            fault_ = judge_length();
        if (fault_ != Fault::none) return false;
    }
    in_payload_ = true;
    payload_read_ = 0;
    return true;
}

Fault Unwrapper::judge_first_byte() {
    const int opcode = header_[0] & opcode_mask;
    const bool final = (header_[0] & final_bit) != 0;
    if ((header_[0] & reserved_mask) != 0) return Fault::reserved_bits;
    if (!is_opcode(opcode)) return Fault::opcode;
    if ((opcode & control_bit) != 0) return final ? Fault::none : Fault::control_fragmented;
    if (opcode == static_cast<int>(Opcode::text)) return Fault::text;  // MQTT-6.0.0-1
    const bool continues = opcode == static_cast<int>(Opcode::continuation);
    if (continues && !message_open_) return Fault::continuation_of_nothing;
    if (!continues && message_open_) return Fault::message_within_message;
    if (!continues) message_size_ = 0;
    message_open_ = !final;
    return Fault::none;
}

Fault Unwrapper::judge_second_byte() {
    const bool masked = (header_[1] & mask_bit) != 0;
    const std::uint8_t length = header_[1] & length_mask;
    if (!masked && sender_ == Sender::client) return Fault::not_masked;
    if (masked && sender_ == Sender::server) return Fault::masked;
    if ((header_[0] & control_bit) != 0) {
        if (length > longest_control_payload) return Fault::control_too_long;
        // 5.5.1: a body begins with a code of two bytes
        const bool close = (header_[0] & opcode_mask) == static_cast<int>(Opcode::close);
        if (close && length == 1) return Fault::close_length;
    }
    header_need_ = 2 + extended_length_size(length) + (masked ? mask_key_size : 0);
    return Fault::none;
}

/// When the last byte of the length is there.
Fault Unwrapper::judge_length() {
    payload_size_ = header_[1] & length_mask;
    if (const std::size_t extended = extended_length_size(header_[1] & length_mask); extended > 0) {
        payload_size_ = 0;
        for (std::size_t at = 2; at < 2 + extended; ++at) payload_size_ = payload_size_ << 8 | header_[at];
        if (payload_size_ >> 63 != 0) return Fault::length_too_large;
        if (payload_size_ < (extended == 2 ? length_of_16_bits : 0x10000U)) return Fault::length_not_shortest;
    }
    if ((header_[0] & control_bit) != 0) return Fault::none;
    // Neither is above 2^63, so that the sum is right.
    message_size_ += payload_size_;
    return message_size_ > largest_message_ ? Fault::message_too_big : Fault::none;
}

/// The part of the payload that is here, unmasked. Behind the last byte the next header is awaited.
std::span<std::uint8_t> Unwrapper::take_payload(std::span<std::uint8_t>& bytes) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), payload_size_ - payload_read_));
    const std::span<std::uint8_t> taken = bytes.first(size);
    bytes = bytes.subspan(size);
    if (sender_ == Sender::client) {
        MaskKey key;
        std::copy_n(header_.begin() + static_cast<std::ptrdiff_t>(header_need_ - mask_key_size),
                    mask_key_size, key.begin());
        apply_mask(taken, key, payload_read_);
    }
    payload_read_ += size;
    if (payload_read_ == payload_size_) {
        in_payload_ = false;
        header_size_ = 0;
        header_need_ = 2;
    }
    return taken;
}

Event Unwrapper::read_data(std::span<std::uint8_t>& bytes) {
    const std::span<std::uint8_t> payload = take_payload(bytes);
    if (payload.empty()) return {};
    return {.kind = Event::Kind::data, .payload = payload, .code = 0};
}

Event Unwrapper::read_control(std::span<std::uint8_t>& bytes) {
    const std::uint64_t before = payload_read_;
    const std::span<std::uint8_t> piece = take_payload(bytes);
    std::ranges::copy(piece, control_.begin() + static_cast<std::ptrdiff_t>(before));
    return in_payload_ ? Event{} : end_of_control();
}

Event Unwrapper::end_of_control() {
    const Bytes payload = Bytes(control_).first(static_cast<std::size_t>(payload_size_));
    const auto opcode = static_cast<Opcode>(header_[0] & opcode_mask);
    if (opcode == Opcode::ping) return {.kind = Event::Kind::ping, .payload = payload, .code = 0};
    if (opcode == Opcode::pong) return {.kind = Event::Kind::pong, .payload = payload, .code = 0};
    if (payload.empty()) {
        closed_ = true;
        return {.kind = Event::Kind::close,
                .payload = {},
                .code = static_cast<std::uint16_t>(CloseCode::no_status)};
    }
    if (const Fault fault = judge_close(); fault != Fault::none) return invalid(fault);
    closed_ = true;
    return {.kind = Event::Kind::close,
            .payload = payload.subspan(2),
            .code = static_cast<std::uint16_t>(payload[0] << 8 | payload[1])};
}

std::optional<FrameHeader> Unwrapper::seam() const {
    if (fault_ != Fault::none || closed_) return std::nullopt;
    const bool masked = sender_ == Sender::client;
    if (!in_payload_) {
        if (header_size_ > 0) return std::nullopt;
        if (!message_open_) return FrameHeader{};
        // An empty beginning, for the continuation frames that come.
        return frame_header(Opcode::binary, 0, masked ? std::optional<MaskKey>(MaskKey{}) : std::nullopt,
                            false);
    }
    if ((header_[0] & control_bit) != 0) return std::nullopt;
    const bool final = (header_[0] & final_bit) != 0;
    const auto left = payload_size_ - payload_read_;
    if (!masked) return frame_header(Opcode::binary, left, std::nullopt, final);
    MaskKey key;  // turned, so that it fits the bytes that are left
    for (std::size_t index = 0; index < key.size(); ++index)
        key[index] = header_[header_need_ - mask_key_size + (payload_read_ + index) % mask_key_size];
    return frame_header(Opcode::binary, left, key, final);
}

Fault Unwrapper::judge_close() const {
    const Bytes payload = Bytes(control_).first(static_cast<std::size_t>(payload_size_));
    if (!is_close_code(static_cast<unsigned>(payload[0] << 8 | payload[1]))) return Fault::close_code;
    return is_utf8(payload.subspan(2)) ? Fault::none : Fault::close_reason;
}

}  // namespace limpet::websocket
