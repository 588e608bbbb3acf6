// SPDX-License-Identifier: Apache-2.0
// Where packets begin in a stream of MQTT, so that something of our own can be said between two of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"

namespace limpet::mqtt {

/// Follows the fixed headers (MQTT-5.0 2.1) and skips what is behind them.
class PacketBoundary {
  public:
    void take(Bytes bytes) {
        for (std::size_t at = 0; at < bytes.size();) {
            switch (part_) {
                case Part::type:
                    part_ = Part::length;
                    left_ = digits_ = 0;
                    ++at;
                    break;
                case Part::length:
                    take_digit(bytes[at++]);
                    break;
                case Part::body: {
                    const auto skipped = std::min<std::size_t>(left_, bytes.size() - at);
                    left_ -= static_cast<std::uint32_t>(skipped);
                    at += skipped;
                    if (left_ == 0) part_ = Part::type;
                    break;
                }
                case Part::lost:
                    return;
            }
        }
    }
    /// The last packet is whole, and the next has not begun.
    [[nodiscard]] bool between() const { return part_ == Part::type; }

  private:
    enum class Part : std::uint8_t { type, length, body, lost };

    void take_digit(std::uint8_t digit) {
        left_ |= static_cast<std::uint32_t>(digit & 0x7F) << (7 * digits_++);
        if ((digit & 0x80) == 0)
            part_ = left_ == 0 ? Part::type : Part::body;
        else if (digits_ == 4)
            part_ = Part::lost;  // a fifth digit is malformed (MQTT-5.0 1.5.5)
    }

    std::uint32_t left_ = 0;  // of the body
    Part part_ = Part::type;
    std::uint8_t digits_ = 0;
};

}  // namespace limpet::mqtt
