// SPDX-License-Identifier: Apache-2.0
// The opening handshake of WebSocket (RFC 6455 4) for MQTT (MQTT-5.0 6): judging a client's request, and
// asking a broker. Values in, bytes out: no sockets, no clocks, no random numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "websocket/head.h"

namespace limpet::websocket {

/// A header that a request must have: at least one of this name (any case) with this value, or any value
/// where it is empty.
struct HeaderRule {
    std::string name;
    std::string value;
};

/// What a listener asks of a request.
struct Rules {
    /// Compared byte by byte, without the query; nothing is decoded. Empty: any path.
    std::vector<std::string> paths;
    /// Which pages may open connections ("https://example.com", any case; 10.2 of RFC 6455). Empty: any. A
    /// request without Origin does not come from a browser and passes; to forbid it, put the header into
    /// `headers`.
    std::vector<std::string> origins;
    std::vector<HeaderRule> headers;
};

/// Why a request does not become a WebSocket.
enum class Refusal : std::uint8_t {
    none,
    not_http,     // no answer: nobody there would understand it
    malformed,    // 400
    too_large,    // 431 (RFC 6585 5)
    path,         // 404
    method,       // 405
    not_upgrade,  // 426
    version,      // 426
    host,         // 400
    body,         // 400
    key,          // 400
    origin,       // 403
    header,       // 403
    subprotocol,  // 400
};
/// One sentence for people.
[[nodiscard]] std::string_view refusal_sentence(Refusal refusal);

struct Answer {
    Refusal refusal = Refusal::none;
    unsigned status = 0;      ///< 101 or an error; 0: no answer
    std::string response;     ///< all bytes to send; after an error the connection is to be closed
    std::string path;         ///< asked for, without the query
    std::string subprotocol;  ///< chosen: the first of the client's that we know; empty unless accepted

    [[nodiscard]] bool accepted() const { return refusal == Refusal::none; }
};

/// The answer to a request: a 101 that makes the connection a WebSocket, or a refusal in HTTP. Extensions are
/// declined by not being mentioned (4.2.2).
[[nodiscard]] Answer answer_upgrade(const RequestHead& request, const Rules& rules);

/// The answer to bytes that are no request.
[[nodiscard]] Answer answer_fault(HeadFault fault);

/// What we ask of a broker.
struct UpgradeRequest {
    std::string host;                  ///< as in the Host header: name or address, and port unless it is 80
    std::string path = "/mqtt";        ///< a query may follow
    std::string subprotocol = "mqtt";  ///< or "mqttv3.1"
    std::string key;                   ///< of make_key
    std::vector<std::pair<std::string, std::string>> headers;  ///< more of them, such as Origin
};

/// Sec-WebSocket-Key from sixteen random bytes, new for every connection (4.1). The caller draws them.
[[nodiscard]] std::string make_key(const std::array<std::uint8_t, 16>& random);
/// Sec-WebSocket-Accept, the answer to a key (4.2.2).
[[nodiscard]] std::string accept_of(std::string_view key);

/// All bytes of a request. Fails where a value would break out of its line.
[[nodiscard]] Result<std::string> write_request(const UpgradeRequest& request);

/// What is wrong with a broker's answer (4.1, 4.2.2).
enum class ResponseFault : std::uint8_t { none, status, upgrade, accept, extensions, subprotocol };
[[nodiscard]] std::string_view fault_sentence(ResponseFault fault);

/// Judges the answer to a request.
[[nodiscard]] ResponseFault judge_response(const ResponseHead& response, const UpgradeRequest& request);

}  // namespace limpet::websocket
