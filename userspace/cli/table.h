// SPDX-License-Identifier: Apache-2.0
// Aligned columns for people.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace limpet::cli {

enum class Align { left, right };

class Table {
  public:
    struct Column {
        std::string title;
        Align align = Align::left;
    };
    explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    /// Title line and rows, without trailing blanks.
    [[nodiscard]] std::string text() const;

  private:
    std::vector<Column> columns_;
    std::vector<std::vector<std::string>> rows_;
};

/// "name   value" lines.
class Lines {
  public:
    void add(std::string name, std::string value) { rows_.emplace_back(std::move(name), std::move(value)); }
    [[nodiscard]] std::string text() const;

  private:
    std::vector<std::pair<std::string, std::string>> rows_;
};

/// Client ids come from strangers: what a terminal would obey is shown as \xNN.
[[nodiscard]] std::string visible(std::string_view text);
/// "45s", "3m 12s", "5h 2m", "12d 3h".
[[nodiscard]] std::string age_text(double seconds);
/// "512 B", "1.5 KiB", "20.0 MiB".
[[nodiscard]] std::string bytes_text(double bytes);

}  // namespace limpet::cli
