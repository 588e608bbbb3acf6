// SPDX-License-Identifier: Apache-2.0
#include "mqtt/connect_layout.h"

#include <algorithm>
#include <array>

#include "mqtt/first_bytes.h"
#include "mqtt/wire.h"

namespace limpet::mqtt {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t name_length_size = 2;
constexpr std::string_view name_31 = "MQIsdp"sv;
constexpr std::string_view name_311 = "MQTT"sv;
constexpr std::size_t after_name = 6;  ///< at least: level, flags, keep-alive, length of the client id
constexpr std::string_view bad_property_length = "property length is malformed or does not fit the packet";
constexpr std::string_view reserved_header_flags_detail =
    "reserved flags of the fixed header are set (MQTT-2.2.2-1)";

class LayoutWalk {
  public:
    LayoutWalk(Bytes bytes, std::size_t maximum_size) : bytes_(bytes), maximum_size_(maximum_size) {}

    ConnectLayout walk() {
        using Step = Status (LayoutWalk::*)();
        constexpr std::array<Step, 8> steps{&LayoutWalk::first_bytes, &LayoutWalk::remaining_length,
                                            &LayoutWalk::name_length, &LayoutWalk::name,
                                            &LayoutWalk::level,       &LayoutWalk::size,
                                            &LayoutWalk::flags,       &LayoutWalk::fields};
        for (const Step step : steps) {
            layout_.status = (this->*step)();
            if (layout_.status != Status::complete) break;
        }
        return std::move(layout_);
    }

  private:
    Status invalid(Reason reason, std::string_view detail) {
        layout_.reason = reason;
        layout_.detail = detail;
        return Status::invalid;
    }
    Status malformed(std::string_view detail) { return invalid(LIMPET_REASON_CLOSE_MALFORMED, detail); }

    Status first_bytes() {
        FirstBytes judged = judge_first_bytes(bytes_);
        if (judged.status == Status::invalid) return invalid(judged.reason, judged.detail);
        return judged.status;
    }

    Status remaining_length() {
        const VariableInteger remaining = read_variable_integer(bytes_.subspan(1));
        if (remaining.status == Status::incomplete) return Status::incomplete;
        if (remaining.status == Status::invalid)
            return malformed("remaining length of more than four bytes (MQTT-3.1.1 2.2.3)");
        shortest_ = remaining.shortest;
        position_ = 1 + remaining.length;
        layout_.end = position_ + remaining.value;
        if (!has_room(name_length_size + name_311.size() + after_name))
            return malformed("remaining length is too short for any CONNECT");
        return Status::complete;
    }

    /// The length of the name, which says already which of the two it must be.
    Status name_length() {
        const Bytes arrived =
            bytes_.subspan(position_, std::min(bytes_.size() - position_, name_length_size));
        const bool may_be_311 = begins_like("\x00\x04"sv, arrived);
        const bool may_be_31 = begins_like("\x00\x06"sv, arrived);
        // MQTT-2.2.2-1: the flags of the fixed header are 0. 3.1 does not use them (3.1 3.1: "DUP, QoS, and
        // RETAIN flags are not used in the CONNECT message"), and mosquitto takes any there.
        if (reserved_header_flags() && !may_be_31) return malformed(reserved_header_flags_detail);
        if (!may_be_311 && !may_be_31) return wrong_name();
        if (arrived.size() < name_length_size) return Status::incomplete;
        layout_.version = may_be_31 ? Version::v31 : Version::v311;
        position_ += name_length_size;
        if (!has_room(protocol_name(layout_.version).size() + after_name))
            return malformed("remaining length is too short for a CONNECT of 3.1");
        return Status::complete;
    }

    /// The name is compared byte for byte; the first that differs decides.
    Status name() {
        const std::string_view name = protocol_name(layout_.version);
        const Bytes arrived = bytes_.subspan(position_, std::min(bytes_.size() - position_, name.size()));
        if (!begins_like(name, arrived))
            return reserved_header_flags() ? malformed(reserved_header_flags_detail) : wrong_name();
        if (arrived.size() < name.size()) return Status::incomplete;
        position_ += name.size();
        return Status::complete;
    }

    [[nodiscard]] bool reserved_header_flags() const { return (bytes_[0] & 0x0F) != 0; }

    Status wrong_name() {
        layout_.refusal_version = Version::v311;
        return invalid(LIMPET_REASON_CLOSE_VERSION, "protocol name is neither MQTT nor MQIsdp");
    }

    /// Whether one is the beginning of the other.
    static bool begins_like(std::string_view want, Bytes have) {
        const std::size_t length = std::min(want.size(), have.size());
        return want.substr(0, length) == as_text(have.first(length));
    }

    /// Name and level belong together; MQTT-5.0 3.1.2.2. Bridges of mosquitto set the top bit, with 3.1 and
    /// 3.1.1 only: mosquitto sends 5 and refuses 0x85.
    Status level() {
        if (bytes_.size() <= position_) return Status::incomplete;
        const std::uint8_t byte = bytes_[position_++];
        const auto level = static_cast<std::uint8_t>(byte & ~bridge_bit);
        layout_.bridge = (byte & bridge_bit) != 0;
        const bool named_mqtt = layout_.version == Version::v311;
        if (named_mqtt && level >= 5) layout_.version = Version::v5;
        layout_.refusal_version = layout_.version;
        if (level != static_cast<std::uint8_t>(layout_.version))
            return invalid(LIMPET_REASON_CLOSE_VERSION, "protocol level " + std::to_string(level) +
                                                            " does not belong to the protocol name");
        if (layout_.version == Version::v5 && layout_.bridge)
            return invalid(LIMPET_REASON_CLOSE_VERSION, "bridge bit in the protocol level of MQTT 5");
        return Status::complete;
    }

    /// Judged only now, so that the refusal can be written in the client's words.
    Status size() {
        if (layout_.end > maximum_size_)
            return invalid(
                LIMPET_REASON_CLOSE_TOO_LARGE,
                std::to_string(layout_.end) + " bytes, allowed are " + std::to_string(maximum_size_));
        if (layout_.version != Version::v5) return Status::complete;
        if (!shortest_) return malformed("remaining length not in the fewest bytes (MQTT-1.5.5-1)");
        // Level and position are behind us; 5 has a property length that 3.x has not.
        if (!has_room(after_name)) return malformed("remaining length is too short for a CONNECT of 5");
        return Status::complete;
    }

    Status flags() {
        if (bytes_.size() <= position_) return Status::incomplete;
        const std::uint8_t flags = layout_.flags = bytes_[position_++];
        if (const auto wrong = broken_flags(flags); !wrong.empty()) return malformed(wrong);
        // What must follow at least: each field is there with its length, 3.1 may leave out user name and
        // password (see optional_field).
        const std::size_t property_length = layout_.version == Version::v5 ? 1 : 0;
        reserved_ = 2 + property_length + 2;
        if (has(flag_will)) reserved_ += property_length + 4;
        if (layout_.version != Version::v31)
            reserved_ += (has(flag_user_name) ? 2u : 0u) + (has(flag_password) ? 2u : 0u);
        if (!has_room(reserved_)) return malformed("remaining length is too short for the connect flags");
        return Status::complete;
    }

    [[nodiscard]] std::string_view broken_flags(std::uint8_t flags) const {
        // 3.1 says "reserved for future use" and no more; mosquitto ignores it there.
        if ((flags & flag_reserved) != 0 && layout_.version != Version::v31)
            return "reserved connect flag is set (MQTT-3.1.2-3)";
        if ((flags & flag_will_qos) == flag_will_qos) return "will QoS 3 (MQTT-3.1.2-14)";
        // 3.1 lets a server disregard them; held to in every version, as a packet that breaks it is nonsense.
        if ((flags & flag_will) == 0 && (flags & (flag_will_qos | flag_will_retain)) != 0)
            return "will QoS or will retain without a will (MQTT-3.1.2-13, MQTT-3.1.2-15)";
        // 3.1.1 MQTT-3.1.2-22, and 3.1: "it is not valid to supply a password without a user name".
        if ((flags & flag_password) != 0 && (flags & flag_user_name) == 0 && layout_.version != Version::v5)
            return "password without user name (MQTT-3.1.2-22)";
        return {};
    }

    Status fields() {
        using Step = Status (LayoutWalk::*)();
        constexpr std::array<Step, 5> steps{&LayoutWalk::keep_alive, &LayoutWalk::connect_properties,
                                            &LayoutWalk::client_id, &LayoutWalk::will,
                                            &LayoutWalk::credentials};
        for (const Step step : steps)
            if (const Status status = (this->*step)(); status != Status::complete) return status;
        if (position_ != layout_.end) return malformed("bytes behind the last field of the packet");
        return bytes_.size() < layout_.end ? Status::incomplete : Status::complete;
    }

    Status keep_alive() { return number(layout_.keep_alive); }

    Status connect_properties() {
        return layout_.version == Version::v5 ? property_section(layout_.properties) : Status::complete;
    }

    Status client_id() {
        std::uint16_t length = 0;
        if (const Status status = number(length); status != Status::complete) return status;
        // 3.1.1: an empty id wants a clean session (MQTT-3.1.3-8). 3.1: 1 to 23 characters; longer ones are
        // taken, as fleets have them. 5: always legal, the server assigns one (MQTT-3.1.3-6).
        if (length == 0 && layout_.version == Version::v31)
            return invalid(LIMPET_REASON_CLOSE_EMPTY_ID, "empty client identifier in MQTT 3.1");
        if (length == 0 && layout_.version == Version::v311 && !has(flag_clean_start))
            return invalid(LIMPET_REASON_CLOSE_EMPTY_ID,
                           "empty client identifier without clean session (MQTT-3.1.3-8)");
        return skip(layout_.client_id, length);
    }

    Status will() {
        if (!has(flag_will)) return Status::complete;
        if (layout_.version == Version::v5)
            if (const Status status = property_section(layout_.will_properties); status != Status::complete)
                return status;
        if (const Status status = field(layout_.will_topic); status != Status::complete) return status;
        return field(layout_.will_payload);
    }

    Status credentials() {
        if (has(flag_user_name))
            if (const Status status = optional_field(layout_.user_name); status != Status::complete)
                return status;
        return has(flag_password) ? optional_field(layout_.password) : Status::complete;
    }

    /// 3.1 3.1: the remaining length takes precedence over the flags of user name and password; a server must
    /// allow for a packet that ends before them, and mosquitto does. 3.1.1 and 5: the field must be there.
    Status optional_field(std::optional<Slice>& slice) {
        if (layout_.version == Version::v31) {
            if (position_ == layout_.end) return Status::complete;
            if (!has_room(2)) return malformed("bytes behind the last field of the packet");
            reserved_ = 2;
        }
        return field(slice.emplace());
    }

    Status field(Slice& slice) {
        std::uint16_t length = 0;
        if (const Status status = number(length); status != Status::complete) return status;
        return skip(slice, length);
    }

    Status property_section(Slice& slice) {
        reserved_ -= 1;
        const Bytes arrived = bytes_.subspan(std::min(position_, bytes_.size()));
        const VariableInteger length = read_variable_integer(arrived);
        if (length.status == Status::invalid) return malformed(bad_property_length);
        const std::size_t seen = std::min(arrived.size(), longest_variable_integer);
        const std::size_t least = length.status == Status::complete ? length.length : seen + 1;
        if (!has_room(least + reserved_)) return malformed(bad_property_length);
        if (length.status == Status::incomplete) return Status::incomplete;
        if (!length.shortest) return malformed("property length not in the fewest bytes (MQTT-1.5.5-1)");
        position_ += length.length;
        return skip(slice, length.value);
    }

    /// Two bytes for which `reserved_` has kept room.
    Status number(std::uint16_t& value) {
        if (bytes_.size() < position_ + 2) return Status::incomplete;
        value = static_cast<std::uint16_t>(bytes_[position_] << 8 | bytes_[position_ + 1]);
        position_ += 2;
        reserved_ -= 2;
        return Status::complete;
    }

    Status skip(Slice& slice, std::size_t length) {
        if (!has_room(length + reserved_))
            return malformed("a field is longer than the packet leaves room for");
        slice = {position_, length};
        position_ += length;
        return Status::complete;
    }

    [[nodiscard]] bool has(std::uint8_t flag) const { return (layout_.flags & flag) != 0; }
    [[nodiscard]] bool has_room(std::size_t size) const { return position_ + size <= layout_.end; }

    Bytes bytes_;
    std::size_t maximum_size_;
    bool shortest_ = true;
    std::size_t position_ =
        0;  ///< of the next byte; beyond the bytes that have come, when a field is on its way
    std::size_t reserved_ = 0;  ///< the least that the fields still to come take up
    ConnectLayout layout_;
};

}  // namespace

ConnectLayout lay_out_connect(Bytes bytes, std::size_t maximum_size) {
    return LayoutWalk(bytes, maximum_size).walk();
}

std::string_view protocol_name(Version version) {
    return version == Version::v31 ? name_31 : name_311;
}

}  // namespace limpet::mqtt
