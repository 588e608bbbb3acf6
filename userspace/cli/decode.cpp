// SPDX-License-Identifier: Apache-2.0
#include "cli/decode.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "mqtt/packet.h"
#include "mqtt/property.h"
#include "mqtt/utf8.h"

namespace limpet::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;
using Buffer = std::vector<std::uint8_t>;
using mqtt::Bytes;
using mqtt::Status;

constexpr std::uint8_t connack_byte = 0x20;
// The largest packet that MQTT knows; the cap of a listener is no business of somebody who wants to look.
constexpr std::size_t maximum_size = 1 + 4 + 268'435'455;

std::string hex_text(Bytes bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 0x0F];
    }
    return text;
}

/// Bytes under their name, as text where they are text, and always in hexadecimal.
void put_bytes(OrderedJson& into, const std::string& name, const std::optional<Buffer>& bytes) {
    into[name] = bytes && mqtt::is_utf8(*bytes) ? OrderedJson(std::string(bytes->begin(), bytes->end()))
                                                : OrderedJson();
    into[name + "_hex"] = bytes ? OrderedJson(hex_text(*bytes)) : OrderedJson();
}

/// Puts a property that is there under its name.
class PutProperty {
  public:
    PutProperty(OrderedJson& into, const mqtt::Properties& properties, std::string_view name)
        : into_(into), properties_(properties), name_(name) {}

    template <class Value>
    void operator()(std::optional<Value> mqtt::Properties::* member) const {
        if (properties_.*member) into_[name_] = *(properties_.*member);
    }
    void operator()(std::optional<Buffer> mqtt::Properties::* member) const {
        if (properties_.*member) put_bytes(into_, name_, properties_.*member);
    }
    void operator()(mqtt::UserProperties mqtt::Properties::* member) const {
        if ((properties_.*member).empty()) return;
        OrderedJson pairs = OrderedJson::array();
        for (const auto& [key, value] : properties_.*member)
            pairs.push_back(OrderedJson::array({key, value}));
        into_["user_property"] = pairs;  // the OASIS text has it in the singular
        into_[name_] = std::move(pairs);
    }

  private:
    OrderedJson& into_;
    const mqtt::Properties& properties_;
    std::string name_;
};

OrderedJson properties_json(const mqtt::Properties& properties) {
    OrderedJson json = OrderedJson::object();
    for (const mqtt::Property& property : mqtt::property_table())
        std::visit(PutProperty(json, properties, property.name), property.member);
    return json;
}

OrderedJson will_json(const mqtt::Will& will) {
    OrderedJson json;
    json["topic"] = will.topic;
    put_bytes(json, "payload", will.payload);
    json["qos"] = will.qos;
    json["retain"] = will.retain;
    json["properties"] = properties_json(will.properties);
    return json;
}

/// The flags and fields of the will by their names in the OASIS text, beside the object of will_json.
void put_flat_will(OrderedJson& json, const std::optional<mqtt::Will>& will) {
    json["will_flag"] = will.has_value();
    json["will_qos"] = will ? will->qos : 0;
    json["will_retain"] = will && will->retain;
    json["will_properties"] = will ? properties_json(will->properties) : OrderedJson();
    json["will_topic"] = will ? OrderedJson(will->topic) : OrderedJson();
    const auto payload = will ? std::optional(will->payload) : std::nullopt;
    put_bytes(json, "will_payload", payload);  // 5
    put_bytes(json, "will_message", payload);  // 3.1, 3.1.1
}

OrderedJson connect_json(const mqtt::Connect& connect) {
    const auto level = static_cast<unsigned>(connect.version);
    OrderedJson json;
    json["type"] = "connect";
    json["protocol_name"] = connect.version == mqtt::Version::v31 ? "MQIsdp" : "MQTT";
    json["protocol_level"] = level;    // 3.1.1
    json["protocol_version"] = level;  // 5
    json["bridge"] = connect.bridge;
    json["clean_start"] = connect.clean_start;    // 5
    json["clean_session"] = connect.clean_start;  // 3.1, 3.1.1
    json["keep_alive"] = connect.keep_alive;
    json["client_identifier"] = connect.client_id;
    json["client_id"] = connect.client_id;
    json["will"] = connect.will ? will_json(*connect.will) : OrderedJson();
    put_flat_will(json, connect.will);
    json["user_name_flag"] = connect.user_name.has_value();
    json["user_name"] = connect.user_name ? OrderedJson(*connect.user_name) : OrderedJson();
    json["username"] = json["user_name"];
    json["password_flag"] = connect.password.has_value();
    put_bytes(json, "password", connect.password);
    json["properties"] = properties_json(connect.properties);
    return json;
}

OrderedJson connack_json(const mqtt::Connack& connack, mqtt::Version version) {
    OrderedJson json;
    json["type"] = "connack";
    json["session_present"] = connack.session_present;
    const std::string name = version == mqtt::Version::v5 ? "reason_code" : "return_code";
    json[name] = connack.code;
    json["connect_" + name] = connack.code;  // 3.1.1 3.2.2.3 and 5 3.2.2.2 have both, long and short
    json["properties"] = properties_json(connack.properties);
    return json;
}

struct Decoded {
    Status status = Status::incomplete;
    OrderedJson json;
};

template <class Packet>
Decoded report(const mqtt::Parsed<Packet>& parsed, OrderedJson packet) {
    const bool invalid = parsed.status == Status::invalid;
    const bool complete = parsed.status == Status::complete;
    Decoded decoded{parsed.status, {}};
    decoded.json["status"] = invalid ? "invalid" : complete ? "complete" : "incomplete";
    decoded.json["reason"] = invalid ? OrderedJson(reason_name(parsed.reason)) : OrderedJson();
    decoded.json["detail"] = invalid ? OrderedJson(parsed.detail) : OrderedJson();
    decoded.json["consumed"] = parsed.consumed;
    decoded.json["packet"] = complete ? std::move(packet) : OrderedJson();
    return decoded;
}

/// CONNACK does not say its version, but its remaining length does: two bytes before MQTT 5, at least three
/// in 5, where a property length follows.
mqtt::Version connack_version(Bytes bytes) {
    const mqtt::Frame frame = mqtt::parse_frame(bytes);
    if (frame.status != Status::complete) return mqtt::Version::v5;
    // A remaining length of two may be padded before MQTT 5, so that the packet is longer than four bytes.
    const bool two_bytes =
        frame.length == 4 || mqtt::parse_connack(bytes, mqtt::Version::v311).status != Status::invalid;
    return two_bytes ? mqtt::Version::v311 : mqtt::Version::v5;
}

Decoded decode_bytes(Bytes bytes) {
    if (!bytes.empty() && bytes[0] == connack_byte) {
        const mqtt::Version version = connack_version(bytes);
        const auto parsed = mqtt::parse_connack(bytes, version);
        return report(parsed, connack_json(parsed.packet, version));
    }
    const auto parsed = mqtt::parse_connect(bytes, maximum_size);
    return report(parsed, connect_json(parsed.packet));
}

Status judge(Bytes bytes) {
    if (!bytes.empty() && bytes[0] == connack_byte)
        return mqtt::parse_connack(bytes, connack_version(bytes)).status;
    return mqtt::parse_connect(bytes, maximum_size).status;
}

/// Reads until the bytes are judged or the input ends: the head of a packet byte by byte, as it may come from
/// a pipe that stays open, the rest in pieces that end where the packet does.
Buffer read_raw(std::istream& input) {
    constexpr std::size_t head = 32;  // longer than any fixed header, name and level
    constexpr std::size_t piece = 65'536;
    Buffer bytes;
    while (judge(bytes) == Status::incomplete) {
        const std::size_t have = bytes.size();
        const std::size_t want = have < head ? 1 : std::min(piece, mqtt::parse_frame(bytes).length - have);
        bytes.resize(have + want);
        input.read(reinterpret_cast<char*>(bytes.data() + have), static_cast<std::streamsize>(want));
        bytes.resize(have + static_cast<std::size_t>(input.gcount()));
        if (!input) break;
    }
    return bytes;
}

int digit_value(int character) {
    if (character >= '0' && character <= '9') return character - '0';
    if (character >= 'a' && character <= 'f') return character - 'a' + 10;
    if (character >= 'A' && character <= 'F') return character - 'A' + 10;
    return -1;
}

bool is_space(int character) {
    return character == ' ' || (character >= '\t' && character <= '\r');
}

/// Digits in pairs. "0x" may stand before any group of them.
Result<Buffer> read_hex(std::istream& input) {
    Buffer bytes;
    int high = -1;
    bool group_begins = true;
    std::size_t position = 0;
    for (int character = input.get(); input; character = input.get()) {
        ++position;
        if (is_space(character)) {
            group_begins = true;
            continue;
        }
        if (group_begins && character == '0' && (input.peek() == 'x' || input.peek() == 'X') && high < 0) {
            input.get();
            ++position;
            group_begins = false;
            continue;
        }
        group_begins = false;
        const int value = digit_value(character);
        if (value < 0)
            return fail("character " + std::to_string(position) + " is not a hexadecimal digit",
                        "give two digits for each byte, or raw bytes without --hex");
        if (high < 0) {
            high = value;
            continue;
        }
        bytes.push_back(static_cast<std::uint8_t>(high << 4 | value));
        high = -1;
    }
    if (high >= 0) return fail("the last byte has one digit", "give two digits for each byte");
    return bytes;
}

}  // namespace

int decode(std::istream& input, std::ostream& output, bool hex) {
    const Result<Buffer> bytes = hex ? read_hex(input) : Result<Buffer>(read_raw(input));
    if (!bytes) {
        std::cerr << "limpet: " << bytes.error().line() << '\n';
        return 1;
    }
    const Decoded decoded = decode_bytes(*bytes);
    // Text of a packet is valid UTF-8 by rule, so nothing is ever replaced; a printer must not throw all the
    // same.
    output << decoded.json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << '\n';
    switch (decoded.status) {
        case Status::complete:
            return 0;
        case Status::incomplete:
            return 3;
        case Status::invalid:
            return 1;
    }
    return 1;
}

}  // namespace limpet::cli
