// SPDX-License-Identifier: Apache-2.0
// From a request's text to a verb and back, without any socket: what both doors share.
#pragma once

#include <string>
#include <string_view>

#include "admin/verbs.h"
#include "base/result.h"

namespace limpet::admin {

/// Compact, on one line, with what is not UTF-8 replaced (a client id may be cut in the middle of a
/// character), so that it never throws.
[[nodiscard]] std::string json_text(const Json& json);

/// Runs one verb by its name on the wire. Arguments that the verb does not know, or of a wrong type, are
/// errors. Nothing that `verbs` throws comes through.
[[nodiscard]] Result<Json> run_verb(Verbs& verbs, std::string_view verb, const Json& args);

/// {"verb":…,"args":{…}} to {"ok":true,"data":…} or {"ok":false,"error":…,"advice":…}, without the newline.
[[nodiscard]] std::string answer_line(Verbs& verbs, std::string_view line);
/// The answer that says why there is none.
[[nodiscard]] std::string refusal_line(const Error& error);

struct HttpQuestion {
    std::string_view method = "GET";
    std::string_view target;  ///< as it stands in the request line: path and query
    std::string_view content_type{};
    std::string_view body{};
};
struct HttpAnswer {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;
    std::string allow{};  ///< 405: the methods that there are
};
[[nodiscard]] HttpAnswer answer_http(Verbs& verbs, const HttpQuestion& question);
[[nodiscard]] HttpAnswer http_refusal(unsigned status, const Error& error);

}  // namespace limpet::admin
