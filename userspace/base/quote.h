// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace limpet {

/// Between double quotes, on one line, with what a terminal would obey escaped, and cut when very long.
[[nodiscard]] std::string quote(std::string_view text);

}  // namespace limpet
