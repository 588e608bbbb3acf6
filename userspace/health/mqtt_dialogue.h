// SPDX-License-Identifier: Apache-2.0
// A whole MQTT session as a health check: CONNECT, CONNACK, PINGREQ, PINGRESP, DISCONNECT. Bytes in, bytes
// out: no sockets, no clocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mqtt/packet.h"

namespace limpet::health {

struct MqttTerms {
    mqtt::Version version = mqtt::Version::v311;
    std::string client_id{};  ///< empty: one of its own
    std::optional<std::string> username{};
    std::optional<std::string> password{};

    bool operator==(const MqttTerms&) const = default;
};

class MqttDialogue {
  public:
    enum class State : std::uint8_t { going_on, passed, failed };

    /// `client_id` is what the session goes by where the terms name none.
    MqttDialogue(const MqttTerms& terms, std::string_view client_id);

    /// What is to be sent now.
    [[nodiscard]] std::vector<std::uint8_t> take_output();
    /// Bytes that the broker sent.
    void hear(mqtt::Bytes bytes);
    [[nodiscard]] State state() const { return state_; }
    /// Why it failed, or what is still missing, in words for people.
    [[nodiscard]] std::string explanation() const;

  private:
    [[nodiscard]] bool hear_connack();
    [[nodiscard]] bool hear_pingresp();
    void fail(std::string why);

    const mqtt::Version version_;
    const bool has_username_;
    bool connected_ = false;
    State state_ = State::going_on;
    std::string failure_;
    std::vector<std::uint8_t> output_;
    std::vector<std::uint8_t> heard_;
};

}  // namespace limpet::health
