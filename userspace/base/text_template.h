// SPDX-License-Identifier: Apache-2.0
// Text with names in braces that stand for something else: "device-{cn}".
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace limpet {

class TextTemplate {
  public:
    TextTemplate() = default;
    /// Reads a text whose names are among `known`. "{{" and "}}" are braces.
    [[nodiscard]] static Result<TextTemplate> parse(std::string_view text,
                                                    std::span<const std::string_view> known);

    /// What a name stands for; nothing where that is not known.
    using Lookup = std::function<std::optional<std::string>(std::string_view name)>;
    /// The text, or the first name that stands for nothing.
    [[nodiscard]] std::expected<std::string, std::string> render(const Lookup& lookup) const;

    [[nodiscard]] bool names(std::string_view name) const;
    /// As it was written.
    [[nodiscard]] const std::string& text() const { return text_; }

    bool operator==(const TextTemplate& other) const { return text_ == other.text_; }

  private:
    struct Piece {
        bool is_name = false;
        std::string text;
    };
    std::string text_;
    std::vector<Piece> pieces_;
};

}  // namespace limpet
