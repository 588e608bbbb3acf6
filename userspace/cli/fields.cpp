// SPDX-License-Identifier: Apache-2.0
#include "cli/fields.h"

#include <cstdio>

#include "cli/table.h"

namespace limpet::cli {

const Json& at(const Json& object, const char* name) {
    static const Json nothing;
    if (!object.is_object()) return nothing;
    const auto found = object.find(name);
    return found == object.end() ? nothing : *found;
}

std::string text(const Json& value) {
    if (value.is_string()) return visible(value.get<std::string>());
    if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
    if (value.is_number_float()) {
        char shown[40];
        std::snprintf(shown, sizeof shown, "%.1f", value.get<double>());
        return shown;
    }
    if (value.is_number()) return value.dump();
    return "-";
}

std::string text(const Json& object, const char* name) {
    return text(at(object, name));
}

double number(const Json& object, const char* name) {
    const auto& value = at(object, name);
    return value.is_number() ? value.get<double>() : 0;
}

}  // namespace limpet::cli
