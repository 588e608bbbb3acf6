// SPDX-License-Identifier: Apache-2.0
// One question to one broker, and its answer.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/endpoint.h"
#include "health/mqtt_dialogue.h"
#include "proxy_protocol/header.h"

namespace limpet::dataplane {
class Dataplane;
}

namespace limpet::health {

enum class Kind : std::uint8_t { tcp, mqtt, http };
[[nodiscard]] std::string_view kind_name(Kind kind);

struct HttpTerms {
    std::string path = "/";
    unsigned status = 200;
    std::string host;  ///< Host field; empty: the address

    bool operator==(const HttpTerms&) const = default;
};

struct ProbeTerms {
    Kind kind = Kind::tcp;
    std::chrono::milliseconds timeout{2000};  ///< of the whole probe
    std::uint16_t port = 0;                   ///< 0: the broker's own
    /// A PROXY v2 header comes first, where the broker's own port is asked by tcp or mqtt; `proxy` names us.
    std::optional<proxy_protocol::Command> proxy_header;
    MqttTerms mqtt;
    HttpTerms http;

    bool operator==(const ProbeTerms&) const = default;
};

struct Answer {
    bool asked = true;  ///< false: this host lacks what a question needs, which says nothing about the broker
    std::string error;  ///< why the answer is a bad one; empty: it is good
};

/// The source port is one of the data plane's, so that it is never that of a live flow.
[[nodiscard]] boost::asio::awaitable<Answer> probe(dataplane::Dataplane& dataplane, Endpoint broker,
                                                   const ProbeTerms& terms, std::string client_id);

}  // namespace limpet::health
