// SPDX-License-Identifier: Apache-2.0
#include "health/mqtt_dialogue.h"

#include <fmt/format.h>

#include <array>

namespace limpet::health {
namespace {

// MQTT-3.1.1 2.2.1, MQTT-5.0 2.1.2
constexpr std::uint8_t connack = 2;
constexpr std::uint8_t publish = 3;
constexpr std::uint8_t pingresp = 13;
constexpr std::array<std::uint8_t, 2> ping_request{0xC0, 0};
constexpr std::array<std::uint8_t, 2> disconnect{0xE0, 0};
constexpr std::uint16_t keep_alive = 60;        // seconds; the session lasts shorter
constexpr std::size_t largest_answer = 65'536;  // bytes of one packet

/// The client is not who may come in, which only a working broker can say.
bool is_about_credentials(std::uint8_t code, mqtt::Version version) {
    if (version != mqtt::Version::v5) return code == 4 || code == 5;  // MQTT-3.1.1 3.2.2.3
    return code == 0x86 || code == 0x87;                              // MQTT-5.0 3.2.2.2
}

}  // namespace

MqttDialogue::MqttDialogue(const MqttTerms& terms, std::string_view client_id)
    : version_(terms.version), has_username_(terms.username.has_value()) {
    mqtt::Connect connect;
    connect.version = terms.version;
    connect.clean_start = true;
    connect.keep_alive = keep_alive;
    connect.client_id = terms.client_id.empty() ? client_id : std::string_view(terms.client_id);
    connect.user_name = terms.username;
    if (terms.password) connect.password.emplace(terms.password->begin(), terms.password->end());
    output_ = mqtt::write_connect(connect);
    if (output_.empty()) fail("the probe's CONNECT cannot be written");
}

std::vector<std::uint8_t> MqttDialogue::take_output() {
    return std::exchange(output_, {});
}

void MqttDialogue::hear(mqtt::Bytes bytes) {
    if (state_ != State::going_on) return;
    heard_.insert(heard_.end(), bytes.begin(), bytes.end());
    while (state_ == State::going_on && (connected_ ? hear_pingresp() : hear_connack())) {
    }
}

/// True: there may be more to read.
bool MqttDialogue::hear_connack() {
    const auto frame = mqtt::parse_frame(heard_);
    if (frame.status == mqtt::Status::incomplete) return false;
    if (frame.status == mqtt::Status::invalid || frame.type != connack || frame.length > largest_answer) {
        fail("answered CONNECT with something that is no CONNACK");
        return false;
    }
    auto parsed = mqtt::parse_connack(heard_, version_);
    if (parsed.status == mqtt::Status::incomplete) return false;
    if (parsed.status == mqtt::Status::invalid) {
        fail(fmt::format("answered with a malformed CONNACK: {}", parsed.detail));
        return false;
    }
    const auto code = parsed.packet.code;
    if (code != 0) {
        if (!has_username_ && is_about_credentials(code, version_))
            state_ = State::passed;
        else
            fail(fmt::format("refused the probe with CONNACK code {:#04x}{}", code,
                             is_about_credentials(code, version_) ? " (user name or password)" : ""));
        return false;
    }
    connected_ = true;
    heard_.erase(heard_.begin(), heard_.begin() + static_cast<std::ptrdiff_t>(parsed.consumed));
    output_.insert(output_.end(), ping_request.begin(), ping_request.end());
    return true;
}

bool MqttDialogue::hear_pingresp() {
    const auto frame = mqtt::parse_frame(heard_);
    if (frame.status == mqtt::Status::incomplete) return false;
    if (frame.status == mqtt::Status::invalid || frame.length > largest_answer) {
        fail("answered PINGREQ with something that is no MQTT");
        return false;
    }
    if (heard_.size() < frame.length) return false;
    heard_.erase(heard_.begin(), heard_.begin() + static_cast<std::ptrdiff_t>(frame.length));
    if (frame.type == pingresp) {
        output_.insert(output_.end(), disconnect.begin(), disconnect.end());
        state_ = State::passed;
    } else if (frame.type != publish) {
        // A server may send what it likes to every client, as some do with $SYS; nothing else is expected.
        fail(fmt::format("answered PINGREQ with packet type {}", frame.type));
    }
    return true;
}

void MqttDialogue::fail(std::string why) {
    state_ = State::failed;
    failure_ = std::move(why);
}

std::string MqttDialogue::explanation() const {
    if (state_ == State::failed) return failure_;
    return connected_ ? "no PINGRESP" : "no CONNACK";
}

}  // namespace limpet::health
