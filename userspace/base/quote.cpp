// SPDX-License-Identifier: Apache-2.0
#include "base/quote.h"

#include <algorithm>
#include <cstdio>

namespace limpet {

std::string quote(std::string_view text) {
    constexpr std::size_t longest = 80;
    auto cut = std::min(text.size(), longest);
    if (cut < text.size())  // not in the middle of a character: UTF-8 goes on with 10xxxxxx
        while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;
    std::string shown = "\"";
    for (const char byte : text.substr(0, cut)) {
        if (byte == '"' || byte == '\\') shown += '\\';
        if (static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
            shown += escaped;
        } else {
            shown += byte;
        }
    }
    return shown + (cut < text.size() ? "…\"" : "\"");
}

}  // namespace limpet
