// SPDX-License-Identifier: Apache-2.0
#include "daemon/exposition.h"

#include <fmt/format.h>

namespace limpet::daemon {
namespace {

std::string escaped(std::string_view value) {
    std::string result;
    for (const char c : value) {
        if (c == '\\' || c == '"') result += '\\';
        if (c == '\n')
            result += "\\n";
        else
            result += c;
    }
    return result;
}

}  // namespace

void Exposition::family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void Exposition::sample(Labels labels, double value) {
    text_ += name_;
    char separator = '{';
    for (const auto& [label, content] : labels) {
        text_ += fmt::format("{}{}=\"{}\"", separator, label, escaped(content));
        separator = ',';
    }
    text_ += fmt::format("{} {}\n", labels.size() == 0 ? "" : "}", value);
}

}  // namespace limpet::daemon
