// SPDX-License-Identifier: Apache-2.0
#include "admin/dispatch.h"

#include <cerrno>
#include <charconv>
#include <exception>

#include "admin/verb_table.h"

namespace limpet::admin {
namespace {

std::string quote(std::string_view text) {
    return json_text(Json(std::string(text.substr(0, 80))));
}

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

// application/x-www-form-urlencoded, one name or value (WHATWG URL 5.1).
std::optional<std::string> decode_component(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+') {
            decoded += ' ';
        } else if (text[i] != '%') {
            decoded += text[i];
        } else {
            const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) return std::nullopt;
            decoded += static_cast<char>(high * 16 + low);
            i += 2;
        }
    }
    return decoded;
}

std::unexpected<Error> wrong(std::string what, std::string advice) {
    return std::unexpected(Error{std::move(what), std::move(advice), EINVAL});
}

// A value of a query as the kind that its parameter has; what it is not stays text, and is refused as such.
Json typed(const Verb& verb, const std::string& name, const std::string& value) {
    for (const auto& parameter : verb.parameters) {
        if (parameter.name != name || parameter.kind == Kind::text) continue;
        const auto read = Json::parse(value, nullptr, false);
        if (!read.is_discarded()) return read;
    }
    return value;
}

// The query of a URL as the arguments of a verb. "client-id" is "client_id", as on the command line.
Result<Json> read_query(const Verb& verb, std::string_view query) {
    Json args = Json::object();
    while (!query.empty()) {
        const auto end = query.find('&');
        const auto part = query.substr(0, end);
        query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
        if (part.empty()) continue;
        const auto equals = part.find('=');
        auto name = decode_component(part.substr(0, equals));
        const auto value = decode_component(equals == std::string_view::npos ? "" : part.substr(equals + 1));
        if (!name || !value)
            return wrong("the query has a % without two hexadecimal digits", "write % as %25");
        for (auto& byte : *name)
            if (byte == '-') byte = '_';
        if (args.contains(*name)) return wrong(quote(*name) + " is there twice", "say it once");
        args[*name] = typed(verb, *name, *value);
    }
    return args;
}

// What a browser may send across sites without asking first is not taken (no simple content type of the Fetch
// standard is application/json).
Result<Json> read_body(const HttpQuestion& question) {
    if (question.body.empty()) return Json(Json::object());
    auto args = Json::parse(question.body, nullptr, false);
    if (!args.is_object()) return wrong("the body is no JSON object", "send {} or the arguments by name");
    return args;
}

bool says_json(std::string_view content_type) {
    return content_type.substr(0, content_type.find(';')) == "application/json";
}

unsigned status_of(const Verb& verb, const Error& error) {
    switch (error.number) {
        case EINVAL:
            return 400;
        case ENOENT:
            return 404;
        case EEXIST:
        case EBUSY:
            return 409;
        case EIO:
            return 500;
        default:
            return verb.method == "GET" ? 500 : 422;
    }
}

HttpAnswer serve_verb(Verbs& verbs, const Verb& verb, const HttpQuestion& question, std::string_view query) {
    const bool reads = verb.method == "GET";
    if (!reads && !query.empty())
        return http_refusal(400, {"the address has a query", "send the arguments as a JSON object", 0});
    if (!reads && !says_json(question.content_type))
        return http_refusal(415, {"the request says no Content-Type of application/json",
                                  "send a JSON object, {} where there are no arguments", 0});
    const auto args = reads ? read_query(verb, query) : read_body(question);
    if (!args) return http_refusal(400, args.error());
    const auto data = run_verb(verbs, verb.name, *args);
    if (!data) return http_refusal(status_of(verb, data.error()), data.error());
    return {200, "application/json", json_text(*data) + "\n"};
}

const Verb* verb_at(std::string_view path) {
    if (!path.starts_with(api_prefix)) return nullptr;
    path.remove_prefix(api_prefix.size());
    for (const auto& verb : verb_table())
        if (!verb.path.empty() && verb.path == path) return &verb;
    return nullptr;
}

// A page that is no verb.
HttpAnswer serve_page(Verbs& verbs, std::string_view path) {
    if (path == "/healthz") return {200, "text/plain; charset=utf-8", "alive\n"};
    if (path == "/metrics") return {200, "text/plain; version=0.0.4; charset=utf-8", verbs.metrics()};
    if (path == "/api/v1/openapi.json") return {200, "application/json", json_text(openapi()) + "\n"};
    const bool is_ready = verbs.ready();
    return {is_ready ? 200U : 503U, "text/plain; charset=utf-8", is_ready ? "ready\n" : "not ready\n"};
}

bool is_page(std::string_view path) {
    return path == "/healthz" || path == "/readyz" || path == "/metrics" || path == "/api/v1/openapi.json";
}

}  // namespace

std::string json_text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Json> run_verb(Verbs& verbs, std::string_view verb, const Json& args) {
    const auto arguments = args.is_null() ? Json(Json::object()) : args;
    for (const auto& candidate : verb_table()) {
        if (candidate.name != verb) continue;
        if (auto good = check_arguments(candidate, arguments); !good) return std::unexpected(good.error());
        try {
            return candidate.run(verbs, arguments);
        } catch (const std::exception& error) {
            return std::unexpected(Error{std::string("the daemon could not answer: ") + error.what(),
                                         "its log may say more", EIO});
        }
    }
    std::string names;
    for (const auto& candidate : verb_table())
        names += (names.empty() ? "" : ", ") + std::string(candidate.name);
    return wrong("unknown verb " + quote(verb), "this daemon knows " + names);
}

std::string refusal_line(const Error& error) {
    return json_text(Json{{"ok", false}, {"error", error.what}, {"advice", error.advice}});
}

std::string answer_line(Verbs& verbs, std::string_view line) {
    const auto request = Json::parse(line, nullptr, false);
    if (!request.is_object() || !request.contains("verb") || !request["verb"].is_string())
        return refusal_line({"the request is no JSON object with a verb", "send {\"verb\":\"status\"}", 0});
    const auto args = request.value("args", Json());
    const auto data = run_verb(verbs, request["verb"].get<std::string>(), args);
    if (!data) return refusal_line(data.error());
    return "{\"ok\":true,\"data\":" + json_text(*data) + "}";
}

HttpAnswer http_refusal(unsigned status, const Error& error) {
    return {status, "application/json",
            json_text(Json{{"error", error.what}, {"advice", error.advice}}) + "\n"};
}

HttpAnswer answer_http(Verbs& verbs, const HttpQuestion& question) {
    const auto mark = question.target.find('?');
    const auto path = question.target.substr(0, mark);
    const auto query = mark == std::string_view::npos ? std::string_view() : question.target.substr(mark + 1);
    const auto* verb = verb_at(path);
    if (!verb && !is_page(path))
        return http_refusal(404, {"there is no " + quote(path),
                                  "there are /healthz, /readyz, /metrics and /api/v1/…, which "
                                  "/api/v1/openapi.json describes",
                                  0});
    const bool reads = !verb || verb->method == "GET";
    const bool asks_to_read = question.method == "GET" || question.method == "HEAD";
    if (reads ? !asks_to_read : question.method != "POST") {
        const auto* allowed = reads ? "GET, HEAD" : "POST";
        auto answer = http_refusal(405, {reads ? "this address only reads" : "this address changes things",
                                         std::string("use ") + (reads ? "GET" : "POST"), 0});
        answer.allow = allowed;
        return answer;
    }
    try {
        return verb ? serve_verb(verbs, *verb, question, query) : serve_page(verbs, path);
    } catch (const std::exception& error) {
        return http_refusal(500, {std::string("the daemon could not answer: ") + error.what(), "", 0});
    }
}

}  // namespace limpet::admin
