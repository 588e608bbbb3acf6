// SPDX-License-Identifier: Apache-2.0
// The server's side of the handshake.
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "websocket/fields.h"
#include "websocket/handshake.h"

namespace limpet::websocket {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t key_size = 24;  // sixteen bytes in base64 (4.2.1)

/// Everything in front of '?' of an origin-form or absolute-form target (RFC 9112 3.2); of others nothing.
std::string_view path_of(std::string_view target) {
    for (const std::string_view scheme : {"http://"sv, "https://"sv, "ws://"sv, "wss://"sv}) {
        if (!equal_in_any_case(target.substr(0, scheme.size()), scheme)) continue;
        target.remove_prefix(scheme.size());
        const std::size_t end = target.find_first_of("/?"sv);
        if (end == std::string_view::npos || target[end] == '?') return "/"sv;
        target.remove_prefix(end);
        break;
    }
    if (!target.starts_with('/')) return {};
    return target.substr(0, target.find('?'));
}

bool is_base64(char character) {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '+' || character == '/';
}

bool is_key(std::string_view key) {
    return key.size() == key_size && key.ends_with("=="sv) &&
           std::ranges::all_of(key.substr(0, key_size - 2), is_base64);
}

class Judge {
  public:
    Judge(const RequestHead& request, const Rules& rules) : request_(request), rules_(rules) {}

    /// What is there comes first (404, 405), then whether it is an upgrade (426), whether it is a right one
    /// (400), and last whether this one may (403).
    Refusal judge() {
        path_ = path_of(to_std(request_.target()));
        if (!path_allowed()) return Refusal::path;
        if (request_.method() != http::verb::get) return Refusal::method;
        if (!is_upgrade()) return Refusal::not_upgrade;
        if (only(http::field::sec_websocket_version) != websocket_version) return Refusal::version;
        if (only(http::field::host).empty()) return Refusal::host;
        if (has_body()) return Refusal::body;
        if (!is_key(key())) return Refusal::key;
        if (!origin_allowed()) return Refusal::origin;
        if (!std::ranges::all_of(rules_.headers, [&](const HeaderRule& rule) { return has_header(rule); }))
            return Refusal::header;
        for (const std::string_view offered : tokens(request_, http::field::sec_websocket_protocol)) {
            if (std::ranges::find(subprotocols, offered) == subprotocols.end()) continue;
            subprotocol_ = offered;
            return Refusal::none;
        }
        return Refusal::subprotocol;
    }

    [[nodiscard]] std::string_view path() const { return path_; }
    [[nodiscard]] std::string_view key() const { return only(http::field::sec_websocket_key); }
    [[nodiscard]] std::string_view subprotocol() const { return subprotocol_; }

  private:
    [[nodiscard]] bool path_allowed() const {
        if (path_.empty() || rules_.paths.empty()) return !path_.empty();
        return std::ranges::find(rules_.paths, path_) != rules_.paths.end();
    }

    /// HTTP/1.0 has no Upgrade; whatever it says there is to be ignored (RFC 9110 7.8).
    [[nodiscard]] bool is_upgrade() const {
        return request_.version() >= 11 && has_token(request_, http::field::connection, "upgrade"sv) &&
               has_token(request_, http::field::upgrade, "websocket"sv);
    }

    /// The value of a field that must come exactly once; else nothing.
    [[nodiscard]] std::string_view only(http::field name) const {
        const auto found = values(request_, name);
        return found.size() == 1 ? found.front() : std::string_view{};
    }

    /// A body would be read as frames by us and skipped by another.
    [[nodiscard]] bool has_body() const {
        if (request_.count(http::field::transfer_encoding) > 0) return true;
        return std::ranges::any_of(values(request_, http::field::content_length),
                                   [](std::string_view length) { return length != "0"sv; });
    }

    [[nodiscard]] bool origin_allowed() const {
        const auto sent = values(request_, http::field::origin);
        if (rules_.origins.empty() || sent.empty()) return true;
        return sent.size() == 1 && std::ranges::any_of(rules_.origins, [&](const std::string& allowed) {
                   return equal_in_any_case(allowed, sent.front());
               });
    }

    [[nodiscard]] bool has_header(const HeaderRule& rule) const {
        const auto range = request_.equal_range(rule.name);
        return std::any_of(range.first, range.second, [&](const auto& field) {
            return rule.value.empty() || to_std(field.value()) == rule.value;
        });
    }

    const RequestHead& request_;
    const Rules& rules_;
    std::string_view path_;
    std::string_view subprotocol_;
};

http::status status_of(Refusal refusal) {
    switch (refusal) {
        case Refusal::none:
            return http::status::switching_protocols;
        case Refusal::too_large:
            return http::status::request_header_fields_too_large;
        case Refusal::path:
            return http::status::not_found;
        case Refusal::method:
            return http::status::method_not_allowed;
        case Refusal::not_upgrade:
        case Refusal::version:
            return http::status::upgrade_required;
        case Refusal::origin:
        case Refusal::header:
            return http::status::forbidden;
        default:
            return http::status::bad_request;
    }
}

std::string write_refusal(Refusal refusal, bool with_body) {
    http::response<http::string_body> response(status_of(refusal), 11);
    response.set(http::field::server, "limpet/" LIMPET_VERSION);
    response.set(http::field::content_type, "text/plain");
    response.set(http::field::connection, "close");
    if (refusal == Refusal::method) response.set(http::field::allow, "GET");
    if (response.result() == http::status::upgrade_required) {  // RFC 9110 15.5.22, RFC 6455 4.4
        response.set(http::field::upgrade, "websocket");
        response.set(http::field::connection, "upgrade, close");
        response.set(http::field::sec_websocket_version, std::string(websocket_version));
    }
    response.body() = std::string(refusal_sentence(refusal)) + "\n";
    response.prepare_payload();
    if (!with_body) response.body().clear();  // HEAD: the length stays (RFC 9110 9.3.2)
    return to_bytes(response);
}

std::string write_upgrade(std::string_view key, std::string_view subprotocol) {
    http::response<http::empty_body> response(http::status::switching_protocols, 11);
    response.set(http::field::upgrade, "websocket");
    response.set(http::field::connection, "Upgrade");
    response.set(http::field::sec_websocket_accept, accept_of(key));
    response.set(http::field::sec_websocket_protocol, std::string(subprotocol));
    return to_bytes(response);
}

}  // namespace

Answer answer_upgrade(const RequestHead& request, const Rules& rules) {
    Judge judge(request, rules);
    Answer answer;
    answer.refusal = judge.judge();
    answer.status = static_cast<unsigned>(status_of(answer.refusal));
    answer.path = judge.path();
    if (answer.accepted()) {
        answer.subprotocol = judge.subprotocol();
        answer.response = write_upgrade(judge.key(), judge.subprotocol());
    } else {
        answer.response = write_refusal(answer.refusal, request.method() != http::verb::head);
    }
    return answer;
}

Answer answer_fault(HeadFault fault) {
    Answer answer;
    answer.refusal = fault == HeadFault::not_http    ? Refusal::not_http
                     : fault == HeadFault::too_large ? Refusal::too_large
                                                     : Refusal::malformed;
    if (answer.refusal == Refusal::not_http) return answer;
    answer.status = static_cast<unsigned>(status_of(answer.refusal));
    answer.response = write_refusal(answer.refusal, true);
    return answer;
}

std::string_view refusal_sentence(Refusal refusal) {
    switch (refusal) {
        case Refusal::none:
            return "nothing is wrong";
        case Refusal::not_http:
            return "the first bytes are no HTTP request";
        case Refusal::malformed:
            return "the request is malformed";
        case Refusal::too_large:
            return "the header of the request is too large";
        case Refusal::path:
            return "there is no such path here";
        case Refusal::method:
            return "a WebSocket is opened with GET";
        case Refusal::not_upgrade:
            return "only WebSocket is spoken here: the request asks for no upgrade to it";
        case Refusal::version:
            return "the version of WebSocket spoken here is 13";
        case Refusal::host:
            return "the request must have one Host";
        case Refusal::body:
            return "a request for an upgrade has no body";
        case Refusal::key:
            return "Sec-WebSocket-Key must come once and be 16 bytes in base64";
        case Refusal::origin:
            return "this origin may not connect here";
        case Refusal::header:
            return "a header that is required here is missing or different";
        case Refusal::subprotocol:
            return "Sec-WebSocket-Protocol must offer mqtt or mqttv3.1";
    }
    return "unknown";
}

}  // namespace limpet::websocket
