// SPDX-License-Identifier: Apache-2.0
// The verbs as both doors carry them: what each is called, what it takes, and where it stands in the HTTP
// API. Requests are checked against this list, and the API's description is made of it, so that neither can
// lag behind.
#pragma once

#include <span>
#include <string_view>

#include "admin/verbs.h"

namespace limpet::admin {

enum class Kind {
    text,
    count,   ///< a whole number, 0 or more
    number,  ///< 0 or more
    flag,
};
[[nodiscard]] std::string_view kind_sentence(Kind kind);

struct Parameter {
    std::string_view name;
    Kind kind = Kind::text;
    std::string_view what;
    bool required = false;
};

struct Verb {
    std::string_view name;    ///< on the control socket
    std::string_view method;  ///< GET: reads; POST: changes something
    std::string_view path;    ///< behind /api/v1/; empty: not in the HTTP API
    std::string_view what;
    std::span<const Parameter> parameters;
    /// `args` has passed check_arguments().
    Result<Json> (*run)(Verbs& verbs, const Json& args);
};

inline constexpr std::string_view api_prefix = "/api/v1/";

[[nodiscard]] std::span<const Verb> verb_table();
/// Nothing unknown, nothing of a wrong type, nothing missing.
[[nodiscard]] Result<void> check_arguments(const Verb& verb, const Json& args);
/// The OpenAPI 3 description of the HTTP API.
[[nodiscard]] const Json& openapi();

}  // namespace limpet::admin
