// SPDX-License-Identifier: Apache-2.0
#include "websocket/frame.h"

#include <algorithm>
#include <cstring>

namespace limpet::websocket {
namespace {

bool is_control(Opcode opcode) {
    return opcode >= Opcode::close;
}

constexpr std::size_t longest_reason = longest_control_payload - 2;

/// The beginning of a text, cut where a character begins (RFC 3629 3: others begin with bits 10).
std::string_view cut(std::string_view text, std::size_t size) {
    if (text.size() <= size) return text;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
    return text.substr(0, size);
}

}  // namespace

FrameHeader frame_header(Opcode opcode, std::uint64_t length, std::optional<MaskKey> key, bool final) {
    FrameHeader header;
    const auto put = [&header](std::uint64_t value, std::size_t size) {
        for (std::size_t shift = size * 8; shift > 0; shift -= 8)
            header.bytes[header.size++] = static_cast<std::uint8_t>(value >> (shift - 8));
    };
    const unsigned mask = key ? 0x80 : 0;
    put((final ? 0x80U : 0U) | static_cast<unsigned>(opcode), 1);
    if (length <= 125) {
        put(mask | length, 1);
    } else if (length <= 0xFFFF) {
        put(mask | 126, 1);
        put(length, 2);
    } else {
        put(mask | 127, 1);
        put(length, 8);
    }
    if (key)
        for (const std::uint8_t byte : *key) put(byte, 1);
    return header;
}

void apply_mask(std::span<std::uint8_t> bytes, MaskKey key, std::uint64_t offset) {
    std::array<std::uint8_t, 8> pattern{};  // eight bytes at a time; the key fits in twice
    for (std::size_t index = 0; index < pattern.size(); ++index) pattern[index] = key[(offset + index) % 4];
    std::uint64_t mask = 0;
    std::memcpy(&mask, pattern.data(), sizeof mask);
    std::size_t at = 0;
    for (; at + sizeof mask <= bytes.size(); at += sizeof mask) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + at, sizeof word);
        word ^= mask;
        std::memcpy(bytes.data() + at, &word, sizeof word);
    }
    for (; at < bytes.size(); ++at) bytes[at] ^= pattern[at % sizeof mask];
}

void append_frame(std::vector<std::uint8_t>& out, Opcode opcode, Bytes payload, std::optional<MaskKey> key,
                  bool final) {
    if (is_control(opcode)) payload = payload.first(std::min(payload.size(), longest_control_payload));
    const FrameHeader header = frame_header(opcode, payload.size(), key, final);
    const Bytes head = header.view();
    out.insert(out.end(), head.begin(), head.end());
    const std::size_t begin = out.size();
    out.insert(out.end(), payload.begin(), payload.end());
    if (key) apply_mask(std::span(out).subspan(begin), *key);
}

void append_close(std::vector<std::uint8_t>& out, CloseCode code, std::string_view reason,
                  std::optional<MaskKey> key) {
    const auto number = static_cast<std::uint16_t>(code);
    std::vector<std::uint8_t> payload{static_cast<std::uint8_t>(number >> 8),
                                      static_cast<std::uint8_t>(number)};
    const Bytes text = as_bytes(cut(reason, longest_reason));
    payload.insert(payload.end(), text.begin(), text.end());
    append_frame(out, Opcode::close, payload, key);
}

CloseCode close_code(Fault fault) {
    switch (fault) {
        case Fault::none:
            return CloseCode::normal;
        case Fault::text:
            return CloseCode::unsupported_data;
        case Fault::message_too_big:
            return CloseCode::message_too_big;
        case Fault::close_reason:
            return CloseCode::invalid_payload;
        default:
            return CloseCode::protocol_error;
    }
}

std::string_view fault_sentence(Fault fault) {
    switch (fault) {
        case Fault::none:
            return "nothing is wrong";
        case Fault::reserved_bits:
            return "reserved bits of a WebSocket frame are set without an extension";
        case Fault::opcode:
            return "a WebSocket frame of an unknown opcode";
        case Fault::control_fragmented:
            return "a WebSocket control frame that is fragmented";
        case Fault::control_too_long:
            return "a WebSocket control frame longer than 125 bytes";
        case Fault::continuation_of_nothing:
            return "a WebSocket continuation frame without a message to continue";
        case Fault::message_within_message:
            return "a WebSocket message begins before the last one has ended";
        case Fault::text:
            return "a WebSocket text frame; MQTT takes binary frames only";
        case Fault::not_masked:
            return "a WebSocket frame of a client without a mask";
        case Fault::masked:
            return "a WebSocket frame of a server with a mask";
        case Fault::length_not_shortest:
            return "the length of a WebSocket frame is not in its shortest form";
        case Fault::length_too_large:
            return "the length of a WebSocket frame has its highest bit set";
        case Fault::message_too_big:
            return "a WebSocket message above the maximum size";
        case Fault::close_length:
            return "a WebSocket close frame with a body of one byte";
        case Fault::close_code:
            return "a WebSocket close frame with a code that may not be sent";
        case Fault::close_reason:
            return "a WebSocket close frame whose reason is not UTF-8";
    }
    return "unknown";
}

}  // namespace limpet::websocket
