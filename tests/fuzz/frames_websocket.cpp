// SPDX-License-Identifier: Apache-2.0
// The first byte of the input says whose frames follow. However they are cut: the same payload, the same
// control frames at the same places, the same judgement; and what came out, written anew, reads the same.
// Seeds: tests/fuzz/corpus/frames_websocket.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "websocket/frame.h"

namespace {

using namespace limpet;
using namespace limpet::websocket;

constexpr std::uint64_t largest_message = 1000;

void require(bool held, const char* promise) {
    if (held) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

struct Control {
    Event::Kind kind;
    std::vector<std::uint8_t> payload;
    std::uint16_t code;
    std::size_t after;

    bool operator==(const Control&) const = default;
};

struct Story {
    std::vector<std::uint8_t> data;
    std::vector<Control> controls;
    Fault fault = Fault::none;
    bool between_frames = false;
    bool between_messages = false;
    bool closed = false;

    bool operator==(const Story&) const = default;
};

Story read_in_pieces(Bytes bytes, Sender sender, std::size_t piece) {
    Unwrapper reader(sender, largest_message);
    Story story;
    while (!bytes.empty() && reader.fault() == Fault::none) {
        std::vector<std::uint8_t> copy(
            bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(std::min(piece, bytes.size())));
        bytes = bytes.subspan(copy.size());
        std::span<std::uint8_t> left(copy);
        for (Event event = reader.read(left); event.kind != Event::Kind::more; event = reader.read(left)) {
            if (event.kind == Event::Kind::invalid) break;
            if (event.kind == Event::Kind::data) {
                require(!event.payload.empty(), "nothing is no event");
                story.data.insert(story.data.end(), event.payload.begin(), event.payload.end());
            } else {
                story.controls.push_back({event.kind,
                                          {event.payload.begin(), event.payload.end()},
                                          event.code,
                                          story.data.size()});
            }
        }
    }
    story.fault = reader.fault();
    story.between_frames = reader.between_frames();
    story.between_messages = reader.between_messages();
    story.closed = reader.closed();
    return story;
}

void write_data(std::vector<std::uint8_t>& out, Bytes data, std::optional<MaskKey> key) {
    for (std::size_t at = 0; at < data.size(); at += largest_message)
        append_frame(out, Opcode::binary,
                     data.subspan(at, std::min<std::size_t>(largest_message, data.size() - at)), key);
}

void check_written(const Story& story, Sender sender) {
    std::optional<MaskKey> key;
    if (sender == Sender::client) key = MaskKey{0x12, 0x34, 0x56, 0x78};
    std::vector<std::uint8_t> out;
    std::size_t written = 0;
    for (const Control& control : story.controls) {
        write_data(out, Bytes(story.data).subspan(written, control.after - written), key);
        written = control.after;
        if (control.kind != Event::Kind::close)
            append_frame(out, control.kind == Event::Kind::ping ? Opcode::ping : Opcode::pong,
                         control.payload, key);
        else if (control.code == static_cast<std::uint16_t>(CloseCode::no_status))
            append_frame(out, Opcode::close, {}, key);
        else
            append_close(out, static_cast<CloseCode>(control.code), as_text(control.payload), key);
    }
    write_data(out, Bytes(story.data).subspan(written), key);
    const Story again = read_in_pieces(out, sender, out.size() + 1);
    require(again.fault == Fault::none && again.between_messages, "what is written is valid");
    require(again.data == story.data && again.controls == story.controls, "what is written reads the same");
}

/// Somebody who goes on behind a seam reads what is left, and nothing else.
void check_seam(Bytes bytes, Sender sender, std::size_t cut, const Story& whole) {
    if (whole.fault != Fault::none || !whole.between_messages) return;
    std::vector<std::uint8_t> copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    Unwrapper reader(sender, largest_message);
    std::size_t before = 0;
    std::span<std::uint8_t> left(copy);
    for (Event event = reader.read(left); event.kind != Event::Kind::more; event = reader.read(left))
        if (event.kind == Event::Kind::data) before += event.payload.size();
    const auto seam = reader.seam();
    if (!seam) return;
    const Bytes header = seam->view();
    std::vector<std::uint8_t> rest(header.begin(), header.end());
    rest.insert(rest.end(), bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.end());
    const Story after = read_in_pieces(rest, sender, rest.size() + 1);
    require(after.fault == Fault::none && after.between_messages,
            "a seam makes whole frames of what follows");
    require(std::ranges::equal(after.data, Bytes(whole.data).subspan(before)), "a seam loses no byte");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const Sender sender = data[0] % 2 == 0 ? Sender::client : Sender::server;
    const Bytes bytes(data + 1, size - 1);
    const Story whole = read_in_pieces(bytes, sender, size);
    for (const std::size_t piece : {1U, 2U, 3U, 5U, 16U})
        require(read_in_pieces(bytes, sender, piece) == whole,
                "the story does not hang on how the bytes were cut");
    check_written(whole, sender);
    check_seam(bytes, sender, bytes.size() / 2, whole);
    check_seam(bytes, sender, bytes.size() / 3, whole);
    return 0;
}
