// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace limpet::cli {
namespace {

constexpr std::string_view gap = "  ";

// Characters, not bytes: UTF-8 goes on with 10xxxxxx.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
        return (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
    }));
}

void append_row(std::string& out, const std::vector<std::string>& cells,
                const std::vector<Table::Column>& columns, const std::vector<std::size_t>& widths) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string padding(widths[i] - width(cells[i]), ' ');
        if (i > 0) line += gap;
        line += columns[i].align == Align::right ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
}

}  // namespace

std::string Table::text() const {
    std::vector<std::string> titles;
    std::vector<std::size_t> widths;
    for (const auto& column : columns_) {
        titles.push_back(column.title);
        widths.push_back(width(column.title));
    }
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
    std::string out;
    append_row(out, titles, columns_, widths);
    for (const auto& row : rows_) append_row(out, row, columns_, widths);
    return out;
}

std::string Lines::text() const {
    std::size_t widest = 0;
    for (const auto& [name, value] : rows_) widest = std::max(widest, width(name));
    std::string out;
    for (const auto& [name, value] : rows_)
        out += name + std::string(widest - width(name), ' ') + std::string(gap) + value + "\n";
    return out;
}

std::string visible(std::string_view text) {
    std::string shown;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        // C1 controls are U+0080 to U+009F, C2 80 to C2 9F in UTF-8: terminals obey them too.
        const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
        if (byte >= 0x20 && byte != 0x7f && !c1) {
            shown += text[i];
            continue;
        }
        char escaped[8];
        std::snprintf(
            escaped, sizeof escaped, "\\x%02x",
            c1 ? static_cast<unsigned>(static_cast<unsigned char>(text[++i])) : static_cast<unsigned>(byte));
        shown += escaped;
    }
    return shown;
}

std::string age_text(double seconds) {
    const auto whole = static_cast<std::uint64_t>(std::max(0.0, seconds));
    const auto number = [](std::uint64_t value, const char* unit) { return std::to_string(value) + unit; };
    if (whole < 60) return number(whole, "s");
    if (whole < 3600) return number(whole / 60, "m ") + number(whole % 60, "s");
    if (whole < 86400) return number(whole / 3600, "h ") + number(whole % 3600 / 60, "m");
    return number(whole / 86400, "d ") + number(whole % 86400 / 3600, "h");
}

std::string bytes_text(double bytes) {
    constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    std::size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < units.size()) {
        bytes /= 1024;
        ++unit;
    }
    char text[40];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return text;
}

}  // namespace limpet::cli
