// SPDX-License-Identifier: Apache-2.0
#include "mqtt/property.h"

#include <algorithm>
#include <array>

#include "mqtt/utf8.h"

namespace limpet::mqtt {
namespace {

using P = Properties;
using enum PropertyRule;

// MQTT-5.0 2.2.2.2 table 2-4, and for the values 3.1.2.11, 3.1.3.2 and 3.2.2.3. Payload format indicator and
// the "available" flags take 0 and 1 only; a response topic is a Topic Name (MQTT-3.3.2-14).
constexpr std::array<Property, 25> table{{
    {0x01, "payload_format_indicator", in_will, boolean, &P::payload_format_indicator},
    {0x02, "message_expiry_interval", in_will, none, &P::message_expiry_interval},
    {0x03, "content_type", in_will, none, &P::content_type},
    {0x08, "response_topic", in_will, topic_name, &P::response_topic},
    {0x09, "correlation_data", in_will, none, &P::correlation_data},
    {0x11, "session_expiry_interval", in_connect | in_connack, none, &P::session_expiry_interval},
    {0x12, "assigned_client_identifier", in_connack, none, &P::assigned_client_identifier},
    {0x13, "server_keep_alive", in_connack, none, &P::server_keep_alive},
    {0x15, "authentication_method", in_connect | in_connack, none, &P::authentication_method},
    {0x16, "authentication_data", in_connect | in_connack, none, &P::authentication_data},
    {0x17, "request_problem_information", in_connect, boolean, &P::request_problem_information},
    {0x18, "will_delay_interval", in_will, none, &P::will_delay_interval},
    {0x19, "request_response_information", in_connect, boolean, &P::request_response_information},
    {0x1A, "response_information", in_connack, none, &P::response_information},
    {0x1C, "server_reference", in_connack, none, &P::server_reference},
    {0x1F, "reason_string", in_connack, none, &P::reason_string},
    {0x21, "receive_maximum", in_connect | in_connack, not_zero, &P::receive_maximum},
    {0x22, "topic_alias_maximum", in_connect | in_connack, none, &P::topic_alias_maximum},
    {0x24, "maximum_qos", in_connack, boolean, &P::maximum_qos},
    {0x25, "retain_available", in_connack, boolean, &P::retain_available},
    {0x26, "user_properties", in_connect | in_will | in_connack, none, &P::user_properties},
    {0x27, "maximum_packet_size", in_connect | in_connack, not_zero, &P::maximum_packet_size},
    {0x28, "wildcard_subscription_available", in_connack, boolean, &P::wildcard_subscription_available},
    {0x29, "subscription_identifier_available", in_connack, boolean, &P::subscription_identifier_available},
    {0x2A, "shared_subscription_available", in_connack, boolean, &P::shared_subscription_available},
}};

const Property* find_property(std::uint32_t identifier) {
    const auto found = std::ranges::find(table, identifier, &Property::identifier);
    return found == table.end() ? nullptr : &*found;
}

std::string_view place_name(Place place) {
    switch (place) {
        case in_connect:
            return "CONNECT";
        case in_will:
            return "the will";
        case in_connack:
            return "CONNACK";
    }
    return "";
}

std::string complaint(const Property& property, std::string_view what) {
    std::string text = "property ";
    text += property.name;
    text += ' ';
    text += what;
    return text;
}

// One reader per type of value.
auto read_value(Reader& reader, const std::optional<std::string>&) {
    return reader.string();
}
auto read_value(Reader& reader, const std::optional<std::vector<std::uint8_t>>&) {
    return reader.binary();
}
template <class Number>
auto read_value(Reader& reader, const std::optional<Number>&) {
    return reader.number<Number>();
}

template <class Value>
std::string_view broken_rule(PropertyRule rule, const Value& value) {
    if constexpr (std::is_integral_v<Value>) {
        if (rule == boolean && value > 1) return "is neither 0 nor 1";
        if (rule == not_zero && value == 0) return "is 0";
    }
    if constexpr (std::is_same_v<Value, std::string>) {
        if (rule == topic_name && !is_topic_name(value)) return "is empty or has a wildcard (MQTT-3.3.2-14)";
    }
    return {};
}

/// Reads one value into its member; an error is what is wrong with it, or nothing.
class ReadInto {
  public:
    ReadInto(Reader& reader, Properties& properties, PropertyRule rule)
        : reader_(reader), properties_(properties), rule_(rule) {}

    template <class Value>
    std::string operator()(std::optional<Value> Properties::* member) const {
        if (properties_.*member) return "is there twice";
        auto value = read_value(reader_, properties_.*member);
        if (!value) return value.error();
        const auto broken = broken_rule(rule_, *value);
        properties_.*member = *std::move(value);
        return std::string(broken);
    }

    // The only property that may be there more than once; the order is kept (MQTT-5.0 3.1.2.11.8).
    std::string operator()(UserProperties Properties::* member) const {
        auto key = reader_.string();
        if (!key) return key.error();
        auto value = reader_.string();
        if (!value) return value.error();
        (properties_.*member).emplace_back(*std::move(key), *std::move(value));
        return {};
    }

  private:
    Reader& reader_;
    Properties& properties_;
    PropertyRule rule_;
};

void write_value(Writer& writer, const std::string& text) {
    writer.string(text);
}
void write_value(Writer& writer, const std::vector<std::uint8_t>& data) {
    writer.binary(data);
}
template <class Number>
    requires std::is_integral_v<Number>
void write_value(Writer& writer, Number value) {
    writer.number(value);
}

class WriteFrom {
  public:
    WriteFrom(Writer& writer, const Properties& properties, std::uint8_t identifier)
        : writer_(writer), properties_(properties), identifier_(identifier) {}

    template <class Value>
    void operator()(std::optional<Value> Properties::* member) const {
        if (!(properties_.*member)) return;
        writer_.number(identifier_);
        write_value(writer_, *(properties_.*member));
    }
    void operator()(UserProperties Properties::* member) const {
        for (const auto& [key, value] : properties_.*member) {
            writer_.number(identifier_);
            writer_.string(key);
            writer_.string(value);
        }
    }

  private:
    Writer& writer_;
    const Properties& properties_;
    std::uint8_t identifier_;
};

}  // namespace

std::span<const Property> property_table() {
    return table;
}

Read<Properties> read_properties(Bytes bytes, Place place) {
    Properties properties;
    Reader reader(bytes);
    while (!reader.at_end()) {
        // An identifier is a variable byte integer, though none in use is longer than one byte.
        const auto identifier = reader.variable_integer();
        if (!identifier) return Malformed("property identifier " + identifier.error());
        const Property* property = find_property(*identifier);
        if (property == nullptr)
            return Malformed("property " + std::to_string(*identifier) + " is unknown in " +
                             std::string(place_name(place)));
        if ((property->places & place) == 0)
            return Malformed(complaint(*property, "does not belong in ") + std::string(place_name(place)));
        const std::string wrong = std::visit(ReadInto(reader, properties, property->rule), property->member);
        if (!wrong.empty()) return Malformed(complaint(*property, wrong));
    }
    // MQTT-5.0 3.1.2.11.10; CONNACK has no such rule.
    if (place == in_connect && properties.authentication_data && !properties.authentication_method)
        return Malformed("property authentication_data without authentication_method");
    return properties;
}

void write_properties(Writer& writer, const Properties& properties, Place place) {
    Writer content;
    for (const Property& property : table)
        if ((property.places & place) != 0)
            std::visit(WriteFrom(content, properties, property.identifier), property.member);
    writer.section(content);
}

}  // namespace limpet::mqtt
