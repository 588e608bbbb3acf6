// SPDX-License-Identifier: Apache-2.0
#include "base/text_template.h"

#include <algorithm>

namespace limpet {

Result<TextTemplate> TextTemplate::parse(std::string_view text, std::span<const std::string_view> known) {
    TextTemplate result;
    result.text_ = text;
    const auto bad = [&](const std::string& why) {
        std::string all;
        for (const auto name : known) all += (all.empty() ? "{" : ", {") + std::string(name) + "}";
        return fail("\"" + std::string(text) + "\" " + why,
                    "write text, with any of " + all + " in it, and {{ or }} for a brace");
    };
    std::string plain;
    const auto end_plain = [&] {
        if (!plain.empty()) result.pieces_.push_back({false, std::exchange(plain, {})});
    };
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char letter = text[at];
        const bool twice = at + 1 < text.size() && text[at + 1] == letter;
        if (letter != '{' && letter != '}') {
            plain += letter;
        } else if (twice) {
            plain += letter;
            ++at;
        } else if (letter == '}') {
            return bad("has a } without its {");
        } else {
            const auto close = text.find('}', at);
            if (close == std::string_view::npos) return bad("has a { without its }");
            const auto name = text.substr(at + 1, close - at - 1);
            if (std::ranges::find(known, name) == known.end())
                return bad("has {" + std::string(name) + "}, which stands for nothing");
            end_plain();
            result.pieces_.push_back({true, std::string(name)});
            at = close;
        }
    }
    end_plain();
    return result;
}

std::expected<std::string, std::string> TextTemplate::render(const Lookup& lookup) const {
    std::string rendered;
    for (const auto& piece : pieces_) {
        const auto text = piece.is_name ? lookup(piece.text) : piece.text;
        if (!text) return std::unexpected(piece.text);
        rendered += *text;
    }
    return rendered;
}

bool TextTemplate::names(std::string_view name) const {
    return std::ranges::any_of(pieces_,
                               [&](const Piece& piece) { return piece.is_name && piece.text == name; });
}

}  // namespace limpet
