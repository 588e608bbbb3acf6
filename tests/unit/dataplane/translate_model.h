// SPDX-License-Identifier: Apache-2.0
// A slow translator, written from the RFCs alone: packets are values with a list of options, each handled by
// itself, and the frame is built anew with its checksums. What bpf/translate.h must agree with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <variant>
#include <vector>

#include "../../bpf/packet.h"

namespace limpet::packet::model {

struct Nop {};
struct Timestamps {
    std::uint32_t value;
    std::uint32_t echo;
};
struct Sack {
    Bytes edges;  ///< everything behind kind and length; whole numbers of four bytes are edges
};
struct Other {
    Bytes bytes;  ///< kind and length included
};
/// The list ends here for a receiver: EOL, or an option whose length is wrong. The bytes mean nothing.
struct Rest {
    Bytes bytes;
};
using Option = std::variant<Nop, Timestamps, Sack, Other, Rest>;

struct Constants {
    std::uint32_t sequence = 0;
    std::uint32_t acknowledgement = 0;
    std::uint32_t tsval = 0;
    std::uint32_t tsecr = 0;
    int window_shift = 0;
    bool timestamps = true;
    bool clear_ecn = false;
    Endpoint source;
    Endpoint destination;
};

inline Bytes bytes_of(const std::vector<Option>& options) {
    Bytes bytes;
    for (const auto& each : options) {
        if (std::holds_alternative<Nop>(each)) bytes.push_back(1);
        if (const auto* stamps = std::get_if<Timestamps>(&each))
            put(bytes, option::timestamps(stamps->value, stamps->echo));
        if (const auto* sack = std::get_if<Sack>(&each)) {
            bytes.push_back(5);
            bytes.push_back(static_cast<std::uint8_t>(2 + sack->edges.size()));
            put(bytes, sack->edges);
        }
        if (const auto* other = std::get_if<Other>(&each)) put(bytes, other->bytes);
        if (const auto* rest = std::get_if<Rest>(&each)) put(bytes, rest->bytes);
    }
    return bytes;
}

/// RFC 7323 2.3: a window counts in units of its sender's scale; a positive shift makes the field larger.
inline std::uint16_t window(std::uint16_t field, int shift) {
    double value = field;
    for (int i = 0; i < shift; ++i) value *= 2;
    for (int i = 0; i < -shift; ++i) value /= 2;
    if (field != 0 && value < 1) return 1;  // an open window stays open
    return value > 65535 ? std::uint16_t{65535} : static_cast<std::uint16_t>(value);
}

inline std::vector<Option> translate_options(std::vector<Option> options, const Constants& constants,
                                             bool acknowledges) {
    for (auto& each : options) {
        if (auto* stamps = std::get_if<Timestamps>(&each); stamps != nullptr && constants.timestamps) {
            stamps->value += constants.tsval;
            // RFC 7323 3.2: the echo is valid only in a segment with ACK
            if (acknowledges) stamps->echo += constants.tsecr;
        }
        if (auto* sack = std::get_if<Sack>(&each)) {
            // RFC 2018 3: at most four blocks of two edges
            Bytes moved;
            for (std::size_t at = 0; at + 4 <= sack->edges.size() && at < 32; at += 4)
                put32(moved, get32(sack->edges, at) + constants.acknowledgement);
            std::ranges::copy(moved, sack->edges.begin());
        }
    }
    return options;
}

/// `packet.options` is not looked at: `options` are.
inline Packet translate(Packet packet, const std::vector<Option>& options, const Constants& constants) {
    const bool acknowledges = (packet.flags & ack) != 0;
    packet.source = constants.source;
    packet.destination = constants.destination;
    packet.hops = static_cast<std::uint8_t>(packet.hops - 1);
    packet.sequence += constants.sequence;
    if (acknowledges) packet.acknowledgement += constants.acknowledgement;
    packet.window = window(packet.window, constants.window_shift);
    if (constants.clear_ecn) {
        packet.traffic_class = static_cast<std::uint8_t>(packet.traffic_class & ~3);
        packet.flags = static_cast<std::uint8_t>(packet.flags & ~(ece | cwr));
    }
    packet.options = bytes_of(translate_options(options, constants, acknowledges));
    return packet;
}

/// Options as they come and as nobody sends them, up to 40 bytes.
class Generator {
  public:
    explicit Generator(std::uint32_t seed) : random_(seed) {}

    std::uint32_t number() { return static_cast<std::uint32_t>(random_()); }
    std::uint32_t below(std::uint32_t limit) { return number() % limit; }
    Bytes noise(std::size_t length) {
        Bytes bytes(length);
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(number());
        return bytes;
    }

    std::vector<Option> options() {
        switch (below(8)) {
            case 0:
                return {};
            case 1:
                return {Nop{}, Nop{}, Timestamps{number(), number()}};
            case 2:
                return {Nop{}, Nop{}, Timestamps{number(), number()}, Nop{}, Nop{}, blocks(1 + below(3))};
            case 3:
                return {Nop{}, Nop{}, blocks(1 + below(4))};
            case 4:
                return {Timestamps{number(), number()}, Nop{}, Nop{}};
            default:
                return wild();
        }
    }

  private:
    Option blocks(std::uint32_t count) { return Sack{noise(8 * static_cast<std::size_t>(count))}; }

    std::vector<Option> wild() {
        std::vector<Option> options;
        std::size_t left = 4 * static_cast<std::size_t>(1 + below(10));
        while (left > 0) {
            Option next = wild_option(left);
            left -= bytes_of({next}).size();
            const bool last = std::holds_alternative<Rest>(next);
            options.push_back(std::move(next));
            if (last) break;
        }
        return options;
    }

    /// One option of at most `left` bytes; a Rest takes all of them.
    Option wild_option(std::size_t left) {
        const auto what = below(12);
        if (what < 3 && left >= 10) return Timestamps{number(), number()};
        if (what < 5 && left >= 10)
            return Sack{noise(8 * (1 + below(static_cast<std::uint32_t>((left - 2) / 8))))};
        if (what == 5 && left >= 2) return Sack{noise(below(static_cast<std::uint32_t>(left - 1)))};
        if (what < 8 && left >= 2) {
            Bytes bytes = noise(2 + below(static_cast<std::uint32_t>(left - 1)));
            bytes[0] = static_cast<std::uint8_t>(9 + below(246));
            bytes[1] = static_cast<std::uint8_t>(bytes.size());
            return Other{bytes};
        }
        if (what == 8) {  // of the right kind and the wrong size: not a timestamp
            if (left >= 12) {
                Bytes bytes = noise(below(2) == 0 ? 9 : 12);
                bytes[0] = 8;
                bytes[1] = static_cast<std::uint8_t>(bytes.size());
                return Other{bytes};
            }
        }
        if (what == 9) {
            Bytes bytes = noise(left);
            if (below(2) == 0) {
                bytes[0] = 0;
            } else {
                bytes[0] = below(2) == 0 ? 8 : 5;
                if (left > 1)
                    bytes[1] = static_cast<std::uint8_t>(below(2) == 0 ? below(2) : left + 1 + below(200));
            }
            return Rest{bytes};
        }
        return Nop{};
    }

    std::mt19937 random_;
};

}  // namespace limpet::packet::model
