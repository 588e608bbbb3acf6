// SPDX-License-Identifier: Apache-2.0
// The description of the HTTP API, made of the list of verbs (OpenAPI 3.0.3).
#include "admin/verb_table.h"

namespace limpet::admin {
namespace {

Json schema_of(Kind kind) {
    switch (kind) {
        case Kind::text:
            return {{"type", "string"}};
        case Kind::count:
            return {{"type", "integer"}, {"minimum", 0}};
        case Kind::number:
            return {{"type", "number"}, {"minimum", 0}};
        case Kind::flag:
            break;
    }
    return {{"type", "boolean"}};
}

Json query_parameters(const Verb& verb) {
    auto list = Json::array();
    for (const auto& parameter : verb.parameters)
        list.push_back({{"name", parameter.name},
                        {"in", "query"},
                        {"required", parameter.required},
                        {"description", parameter.what},
                        {"schema", schema_of(parameter.kind)}});
    return list;
}

Json request_body(const Verb& verb) {
    auto properties = Json::object();
    auto required = Json::array();
    for (const auto& parameter : verb.parameters) {
        auto schema = schema_of(parameter.kind);
        schema["description"] = parameter.what;
        properties[std::string(parameter.name)] = std::move(schema);
        if (parameter.required) required.push_back(parameter.name);
    }
    Json schema{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
    const bool needed = !required.empty();
    if (needed) schema["required"] = std::move(required);
    return {{"required", needed}, {"content", {{"application/json", {{"schema", std::move(schema)}}}}}};
}

Json answer(std::string_view what, const Json& schema) {
    return {{"description", what}, {"content", {{"application/json", {{"schema", schema}}}}}};
}

Json responses_of(const Verb& verb) {
    const Json error{{"$ref", "#/components/schemas/Error"}};
    Json responses{{"200", answer("done; as the command prints it with --json", Json::object())},
                   {"400", answer("an argument is unknown, missing or wrong", error)},
                   {"404", answer("there is no such broker, pool or client", error)},
                   {"500", answer("the daemon could not answer", error)}};
    if (verb.method == "GET") return responses;
    responses["409"] = answer("it is in the way of what is there already; nothing was changed", error);
    responses["415"] = answer("the body is not application/json", error);
    responses["422"] = answer("refused; nothing was changed", error);
    return responses;
}

Json make() {
    auto paths = Json::object();
    for (const auto& verb : verb_table()) {
        if (verb.path.empty()) continue;
        const bool reads = verb.method == "GET";
        Json operation{{"operationId", verb.name}, {"summary", verb.what}, {"responses", responses_of(verb)}};
        if (reads)
            operation["parameters"] = query_parameters(verb);
        else
            operation["requestBody"] = request_body(verb);
        paths["/" + std::string(verb.path)][reads ? "get" : "post"] = std::move(operation);
    }
    const Json error{{"type", "object"},
                     {"required", {"error", "advice"}},
                     {"properties", {{"error", schema_of(Kind::text)}, {"advice", schema_of(Kind::text)}}}};
    return {{"openapi", "3.0.3"},
            {"info",
             {{"title", "Limpet"},
              {"version", LIMPET_VERSION},
              {"description",
               "Reads and changes a running Limpet. GET takes its arguments from the query, POST from a JSON "
               "object with Content-Type application/json."},
              {"license", {{"name", "Apache-2.0"}}}}},
            {"servers", {{{"url", "/api/v1"}}}},
            {"paths", std::move(paths)},
            {"components", {{"schemas", {{"Error", error}}}}}};
}

}  // namespace

const Json& openapi() {
    static const Json document = make();
    return document;
}

}  // namespace limpet::admin
