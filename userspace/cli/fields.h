// SPDX-License-Identifier: Apache-2.0
// The daemon's answers, field by field, for people. An older or newer daemon may know less or more: a field
// that is missing is shown as "-".
#pragma once

#include <string>

#include "admin/verbs.h"

namespace limpet::cli {

using admin::Json;

/// A field of an object, or null.
[[nodiscard]] const Json& at(const Json& object, const char* name);
/// A number; 0 where there is none.
[[nodiscard]] double number(const Json& object, const char* name);
/// A value as it is shown to people; control characters of strangers are made visible.
[[nodiscard]] std::string text(const Json& value);
[[nodiscard]] std::string text(const Json& object, const char* name);

}  // namespace limpet::cli
