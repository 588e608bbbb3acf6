// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "mqtt/first_bytes.h"
#include "mqtt/packet.h"
#include "mqtt/property.h"
#include "mqtt/wire.h"

namespace limpet::mqtt {
namespace {

constexpr std::uint8_t connack_byte = 0x20;
constexpr std::uint8_t highest_return_code = 5;  // MQTT-3.1.1 3.2.2.3: 6 to 255 are reserved

// MQTT-5.0 3.2.2.2 table 3-1.
constexpr std::array<std::uint8_t, 22> reason_codes{0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86,
                                                    0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
                                                    0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F};

/// A broker that knows only 3.1.1 answers a CONNECT of MQTT 5 in the words of 3.1.1: "unacceptable protocol
/// version", two bytes without properties. Clients of MQTT 5 understand it, so it is passed on.
constexpr std::uint8_t old_broker_code = 1;

bool is_code(std::uint8_t code, Version version, bool old_broker) {
    if (version != Version::v5) return code <= highest_return_code;
    if (old_broker) return code == old_broker_code;
    return std::ranges::find(reason_codes, code) != reason_codes.end();
}

class ConnackReader {
  public:
    ConnackReader(Bytes bytes, Version version) : bytes_(bytes), version_(version) {
        result_.version = version;
    }

    Parsed<Connack> read() {
        result_.status = packet();
        if (result_.status == Status::complete)
            result_.consumed = end_;
        else
            result_.packet = {};
        return std::move(result_);
    }

  private:
    Status packet() {
        Status status = fixed_header();
        if (status == Status::complete) status = flags_and_code();
        if (status == Status::complete && version_ == Version::v5 && !old_broker_) status = properties();
        return status;
    }

    Status invalid(std::string detail) {
        result_.reason = LIMPET_REASON_BROKER_PROTOCOL;
        result_.detail = std::move(detail);
        return Status::invalid;
    }

    Status fixed_header() {
        if (bytes_.empty()) return Status::incomplete;
        // 3.1 does not use the flags of CONNACK's fixed header (3.1 3.2); later they are 0.
        const auto flags = static_cast<std::uint8_t>(version_ == Version::v31 ? bytes_[0] & 0x0F : 0);
        if ((bytes_[0] ^ flags) != connack_byte)
            return invalid(bytes_[0] >> 4 == connack_byte >> 4
                               ? "reserved flags in the fixed header of CONNACK (MQTT-2.2.2-1)"
                               : std::string(packet_type_name(bytes_[0] >> 4)) + " in place of CONNACK");
        const VariableInteger remaining = read_variable_integer(bytes_.subspan(1));
        if (remaining.status == Status::incomplete) return Status::incomplete;
        if (remaining.status == Status::invalid)
            return invalid("remaining length of more than four bytes (MQTT-5.0 1.5.5)");
        if (version_ == Version::v5 && !remaining.shortest)
            return invalid("remaining length not in the fewest bytes (MQTT-1.5.5-1)");
        position_ = 1 + remaining.length;
        end_ = position_ + remaining.value;
        old_broker_ = version_ == Version::v5 && remaining.value == 2;
        if (remaining.value < 2 || (version_ != Version::v5 && remaining.value != 2))
            return invalid("remaining length does not fit a CONNACK");
        return Status::complete;
    }

    Status flags_and_code() {
        if (bytes_.size() <= position_) return Status::incomplete;
        const std::uint8_t flags = bytes_[position_];
        // 3.1 3.2: the first byte is reserved, and there is no session present.
        if (version_ != Version::v31) {
            if ((flags & 0xFE) != 0) return invalid("reserved acknowledge flags (MQTT-3.2.2-1)");
            result_.packet.session_present = flags != 0;
        }
        if (bytes_.size() <= position_ + 1) return Status::incomplete;
        const std::uint8_t code = bytes_[position_ + 1];
        if (!is_code(code, version_, old_broker_))
            return invalid("code " + std::to_string(code) + " is reserved");
        if (code != 0 && result_.packet.session_present)
            return invalid("session present in a refusal (MQTT-3.2.2-4)");
        result_.packet.code = code;
        position_ += 2;
        return Status::complete;
    }

    Status properties() {
        const Bytes arrived = bytes_.first(std::min(bytes_.size(), end_));
        const VariableInteger length = read_variable_integer(arrived.subspan(position_));
        const bool ends_here = arrived.size() == end_;
        if (length.status == Status::invalid || (length.status == Status::incomplete && ends_here))
            return invalid("property length is cut short or too long");
        if (length.status == Status::incomplete) return Status::incomplete;
        if (!length.shortest) return invalid("property length not in the fewest bytes (MQTT-1.5.5-1)");
        if (position_ + length.length + length.value != end_)
            return invalid("property length does not fit the packet");
        if (!ends_here) return Status::incomplete;
        auto read = read_properties(arrived.subspan(position_ + length.length), in_connack);
        if (!read) return invalid(std::move(read.error()));
        result_.packet.properties = *std::move(read);
        return Status::complete;
    }

    Bytes bytes_;
    Version version_;
    std::size_t position_ = 0;
    std::size_t end_ = 0;
    bool old_broker_ = false;
    Parsed<Connack> result_;
};

}  // namespace

Parsed<Connack> parse_connack(Bytes bytes, Version version) {
    return ConnackReader(bytes, version).read();
}

std::vector<std::uint8_t> write_connack(const Connack& connack, Version version) {
    Writer body;
    const bool flag = connack.session_present && version != Version::v31;  // 3.1 has no such flag
    body.number(static_cast<std::uint8_t>(flag ? 1 : 0));
    body.number(connack.code);
    if (version == Version::v5 && connack.code != old_broker_code)
        write_properties(body, connack.properties, in_connack);
    return body.packet(connack_byte);
}

}  // namespace limpet::mqtt
