// SPDX-License-Identifier: Apache-2.0
#include "admin/dispatch.h"

#include <array>
#include <charconv>
#include <exception>
#include <functional>
#include <initializer_list>
#include <set>

namespace limpet::admin {
namespace {

std::string quote(std::string_view text) {
    return json_text(Json(std::string(text.substr(0, 80))));
}

// The arguments of one call: each is asked for by name, and what nobody asked for is an error.
class Arguments {
  public:
    explicit Arguments(const Json& args) : args_(args) {}

    std::optional<std::string> text(const char* name) {
        known_.insert(name);
        const auto* value = find(name);
        if (!value) return std::nullopt;
        if (value->is_string()) return value->get<std::string>();
        complain(std::string("\"") + name + "\" must be a string");
        return std::nullopt;
    }

    std::size_t count(const char* name) {
        known_.insert(name);
        const auto* value = find(name);
        if (!value) return 0;
        if (value->is_number_unsigned()) return value->get<std::size_t>();
        complain(std::string("\"") + name + "\" must be a whole number, 0 or more");
        return 0;
    }

    bool flag(const char* name) {
        known_.insert(name);
        const auto* value = find(name);
        if (!value) return false;
        if (value->is_boolean()) return value->get<bool>();
        complain(std::string("\"") + name + "\" must be true or false");
        return false;
    }

    FlowQuery flows() {
        FlowQuery query;
        query.client_id = text("client_id");
        query.broker = text("broker");
        query.limit = count("limit");
        return query;
    }

    // After everything was asked for.
    [[nodiscard]] Result<void> finish() {
        if (!args_.is_object() && !args_.is_null()) complain("\"args\" must be an object");
        if (args_.is_object())
            for (const auto& [name, value] : args_.items())
                if (!known_.contains(name)) complain("unknown argument " + quote(name));
        if (!problem_.empty()) return fail(problem_, "see docs/CLI.md for what each verb takes");
        return {};
    }

  private:
    [[nodiscard]] const Json* find(const char* name) const {
        if (!args_.is_object()) return nullptr;
        const auto found = args_.find(name);
        return found == args_.end() || found->is_null() ? nullptr : &*found;
    }
    void complain(std::string message) {
        if (problem_.empty()) problem_ = std::move(message);
    }

    const Json& args_;
    std::set<std::string, std::less<>> known_;
    std::string problem_;
};

using Run = Result<Json> (*)(Verbs&, Arguments&);

// A verb without arguments.
template <Result<Json> (Verbs::*method)()>
Result<Json> plain(Verbs& verbs, Arguments& args) {
    if (auto good = args.finish(); !good) return std::unexpected(good.error());
    return (verbs.*method)();
}

// A verb with the filters of `limpet flows`.
template <Result<Json> (Verbs::*method)(const FlowQuery&)>
Result<Json> filtered(Verbs& verbs, Arguments& args) {
    const auto query = args.flows();
    if (auto good = args.finish(); !good) return std::unexpected(good.error());
    return (verbs.*method)(query);
}

Result<Json> ready(Verbs& verbs, Arguments& args) {
    if (auto good = args.finish(); !good) return std::unexpected(good.error());
    return Json{{"ready", verbs.ready()}};
}

Result<Json> kill(Verbs& verbs, Arguments& args) {
    const auto query = args.flows();
    const bool all = args.flag("all");
    if (auto good = args.finish(); !good) return std::unexpected(good.error());
    if (!all && !query.client_id && !query.broker)
        return fail("nothing says which flows to end", "name a client id or a broker, or say all");
    return verbs.flows_kill(query);
}

Result<Json> lookup(Verbs& verbs, Arguments& args) {
    const auto client_id = args.text("client_id");
    const auto pool = args.text("pool");
    if (auto good = args.finish(); !good) return std::unexpected(good.error());
    if (!client_id) return fail("lookup needs a client_id", "name the client");
    return verbs.lookup(*client_id, pool);
}

Result<Json> trace(Verbs& verbs, Arguments& args) {
    TraceQuery query;
    query.client_id = args.text("client_id");
    query.source = args.text("source");
    query.from = args.count("from");
    if (auto good = args.finish(); !good) return std::unexpected(good.error());
    return verbs.trace(query);
}

struct Verb {
    std::string_view name;
    Run run;
};
constexpr std::array table{Verb{"status", plain<&Verbs::status>},
                           Verb{"brokers", plain<&Verbs::brokers>},
                           Verb{"flows", filtered<&Verbs::flows>},
                           Verb{"flows_count", filtered<&Verbs::flows_count>},
                           Verb{"flows_kill", kill},
                           Verb{"lookup", lookup},
                           Verb{"reload", plain<&Verbs::reload>},
                           Verb{"trace", trace},
                           Verb{"ready", ready}};

// What HTTP may ask for: reading only.
struct Page {
    std::string_view path;
    std::string_view verb;
};
constexpr std::array pages{Page{"/api/v1/status", "status"}, Page{"/api/v1/brokers", "brokers"},
                           Page{"/api/v1/flows", "flows"}, Page{"/api/v1/flows/count", "flows_count"},
                           Page{"/api/v1/lookup", "lookup"}};

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

// The query of a URL as the arguments of a verb. "client-id" is "client_id", as on the command line.
Result<Json> read_query(std::string_view query) {
    Json args = Json::object();
    while (!query.empty()) {
        const auto end = query.find('&');
        const auto part = query.substr(0, end);
        query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
        if (part.empty()) continue;
        const auto equals = part.find('=');
        auto name = decode_component(part.substr(0, equals));
        auto value = decode_component(equals == std::string_view::npos ? "" : part.substr(equals + 1));
        if (!name || !value)
            return fail("the query has a % without two hexadecimal digits", "write % as %25");
        if (*name == "client-id") *name = "client_id";
        if (args.contains(*name)) return fail(quote(*name) + " is there twice", "say it once");
        if (*name != "limit") {
            args[*name] = *value;
            continue;
        }
        std::uint64_t limit = 0;
        const auto [last, code] = std::from_chars(value->data(), value->data() + value->size(), limit);
        if (code != std::errc{} || last != value->data() + value->size())
            return fail("limit is " + quote(*value), "write a whole number, 0 for all");
        args[*name] = limit;
    }
    return args;
}

HttpAnswer read_page(Verbs& verbs, const Page& page, std::string_view query) {
    const auto args = read_query(query);
    if (!args) return http_refusal(400, args.error());
    for (const auto& [name, value] : args->items()) {
        const bool filter =
            page.verb.starts_with("flows") && (name == "client_id" || name == "broker" || name == "limit");
        const bool client = page.verb == "lookup" && (name == "client_id" || name == "pool");
        if (!filter && !client)
            return http_refusal(400, Error{"unknown parameter " + quote(name), "see docs/CLI.md", 0});
    }
    if (page.verb == "lookup" && !args->contains("client_id"))
        return http_refusal(400, Error{"lookup needs a client_id", "add ?client_id=…", 0});
    const auto data = run_verb(verbs, page.verb, *args);
    // All that a lookup can lack is a pool, a broker or a client of that name.
    if (!data) return http_refusal(page.verb == "lookup" ? 404 : 500, data.error());
    return {200, "application/json", json_text(*data) + "\n", false};
}

}  // namespace

std::string json_text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Json> run_verb(Verbs& verbs, std::string_view verb, const Json& args) {
    for (const auto& candidate : table) {
        if (candidate.name != verb) continue;
        Arguments arguments(args);
        try {
            return candidate.run(verbs, arguments);
        } catch (const std::exception& error) {
            return fail(std::string("the daemon could not answer: ") + error.what(), "its log may say more");
        }
    }
    std::string names;
    for (const auto& candidate : table) names += (names.empty() ? "" : ", ") + std::string(candidate.name);
    return fail("unknown verb " + quote(verb), "this daemon knows " + names);
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
            json_text(Json{{"error", error.what}, {"advice", error.advice}}) + "\n", false};
}

HttpAnswer answer_http(Verbs& verbs, std::string_view method, std::string_view target) {
    const auto question = target.find('?');
    const auto path = target.substr(0, question);
    const auto query = question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
    const Page* page = nullptr;
    for (const auto& candidate : pages)
        if (candidate.path == path) page = &candidate;
    if (!page && path != "/healthz" && path != "/readyz" && path != "/metrics")
        return http_refusal(404, {"there is no " + quote(path),
                                  "there are /healthz, /readyz, /metrics and /api/v1/status, brokers, flows, "
                                  "flows/count, lookup",
                                  0});
    if (method != "GET" && method != "HEAD") {
        auto answer = http_refusal(
            405, {"this address only reads", "use GET, or the command line to change things", 0});
        answer.allow_header = true;
        return answer;
    }
    if (page) return read_page(verbs, *page, query);
    try {
        if (path == "/healthz") return {200, "text/plain; charset=utf-8", "alive\n", false};
        if (path == "/metrics")
            return {200, "text/plain; version=0.0.4; charset=utf-8", verbs.metrics(), false};
        const bool is_ready = verbs.ready();
        return {is_ready ? 200U : 503U, "text/plain; charset=utf-8", is_ready ? "ready\n" : "not ready\n",
                false};
    } catch (const std::exception& error) {
        return http_refusal(500, {std::string("the daemon could not answer: ") + error.what(), "", 0});
    }
}

}  // namespace limpet::admin
