// SPDX-License-Identifier: Apache-2.0
#include "mqtt/connect_layout.h"
#include "mqtt/packet.h"
#include "mqtt/property.h"
#include "mqtt/utf8.h"
#include "mqtt/wire.h"

namespace limpet::mqtt {
namespace {

constexpr std::uint8_t connect_byte = 0x10;

/// Reads what the fields of a whole packet hold. The layout has settled where they are.
class ContentReader {
  public:
    ContentReader(Bytes packet, const ConnectLayout& layout) : packet_(packet), layout_(layout) {}

    Read<Connect> read() {
        connect_.version = layout_.version;
        connect_.bridge = layout_.bridge;
        connect_.clean_start = (layout_.flags & flag_clean_start) != 0;
        connect_.keep_alive = layout_.keep_alive;
        properties(layout_.properties, connect_.properties, in_connect);
        string(layout_.client_id, connect_.client_id, "client identifier");
        if ((layout_.flags & flag_will) != 0) will();
        if (layout_.user_name) string(*layout_.user_name, connect_.user_name.emplace(), "user name");
        if (layout_.password) binary(*layout_.password, connect_.password.emplace());
        if (!wrong_.empty()) return Malformed(std::move(wrong_));
        return std::move(connect_);
    }

  private:
    void will() {
        Will& will = connect_.will.emplace();
        will.qos = (layout_.flags & flag_will_qos) >> will_qos_shift;
        will.retain = (layout_.flags & flag_will_retain) != 0;
        properties(layout_.will_properties, will.properties, in_will);
        string(layout_.will_topic, will.topic, "will topic");
        // 4.7.3 wants one character at least, 4.7.1 no wildcard in a Topic Name; mosquitto refuses both too.
        if (!is_topic_name(will.topic)) note("will topic is empty or has a wildcard (MQTT-4.7.1-1)");
        // The payload is bytes; whether it is what payload_format_indicator says, the server MAY ask
        // (MQTT-5.0 3.1.3.2.3): the broker's business.
        binary(layout_.will_payload, will.payload);
    }

    [[nodiscard]] Bytes slice(Slice at) const { return packet_.subspan(at.offset, at.length); }

    void properties(Slice at, Properties& into, Place place) {
        auto read = read_properties(slice(at), place);
        if (read)
            into = *std::move(read);
        else
            note(std::move(read.error()));
    }

    void string(Slice at, std::string& into, std::string_view name) {
        if (is_mqtt_string(slice(at)))
            into = as_text(slice(at));
        else
            note(std::string(name) + " is not valid UTF-8, or has a NUL");
    }

    void binary(Slice at, std::vector<std::uint8_t>& into) {
        const Bytes bytes = slice(at);
        into.assign(bytes.begin(), bytes.end());
    }

    /// The first thing that is wrong counts.
    void note(std::string what) {
        if (wrong_.empty()) wrong_ = std::move(what);
    }

    Bytes packet_;
    const ConnectLayout& layout_;
    Connect connect_;
    std::string wrong_;
};

std::uint8_t flags_of(const Connect& connect) {
    unsigned flags = connect.clean_start ? flag_clean_start : 0;
    if (connect.will) {
        flags |= flag_will | (static_cast<unsigned>(connect.will->qos) << will_qos_shift & flag_will_qos);
        if (connect.will->retain) flags |= flag_will_retain;
    }
    if (connect.user_name) flags |= flag_user_name;
    if (connect.password) flags |= flag_password;
    return static_cast<std::uint8_t>(flags);
}

}  // namespace

Parsed<Connect> parse_connect(Bytes bytes, std::size_t maximum_size) {
    Parsed<Connect> result;
    ConnectLayout layout = lay_out_connect(bytes, maximum_size);
    result.status = layout.status;
    result.version = layout.refusal_version;
    if (layout.status == Status::invalid) {
        result.reason = layout.reason;
        result.detail = std::move(layout.detail);
    }
    if (layout.status != Status::complete) return result;
    auto content = ContentReader(bytes, layout).read();
    if (!content) {
        result.status = Status::invalid;
        result.reason = LIMPET_REASON_CLOSE_MALFORMED;
        result.detail = std::move(content.error());
        return result;
    }
    result.consumed = layout.end;
    result.packet = *std::move(content);
    return result;
}

std::vector<std::uint8_t> write_connect(const Connect& connect) {
    const bool properties = connect.version == Version::v5;
    Writer body;
    body.string(protocol_name(connect.version));
    body.number(static_cast<std::uint8_t>(static_cast<std::uint8_t>(connect.version) |
                                          (connect.bridge ? bridge_bit : 0)));
    body.number(flags_of(connect));
    body.number(connect.keep_alive);
    if (properties) write_properties(body, connect.properties, in_connect);
    body.string(connect.client_id);
    if (connect.will) {
        if (properties) write_properties(body, connect.will->properties, in_will);
        body.string(connect.will->topic);
        body.binary(connect.will->payload);
    }
    if (connect.user_name) body.string(*connect.user_name);
    if (connect.password) body.binary(*connect.password);
    return body.packet(connect_byte);
}

}  // namespace limpet::mqtt
