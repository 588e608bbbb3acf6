// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "cli/fields.h"
#include "cli/table.h"

namespace limpet::cli {
namespace {

constexpr std::chrono::seconds line_interval{2};

std::string word(const admin::Json& move, const char* name) {
    const auto found = move.find(name);
    return found != move.end() && found->is_string() ? visible(found->get<std::string>()) : std::string();
}

std::string whole(double value) {
    return std::to_string(std::llround(value));
}

// "100/s, 1s left", or how it ended.
std::string pace_text(const admin::Json& move) {
    const auto state = word(move, "state");
    if (state != "running") return state + " after " + age_text(number(move, "elapsed_seconds"));
    const auto pace = number(move, "per_second");
    std::string text = pace <= 0 ? "at once" : pace >= 10 ? whole(pace) + "/s" : "slowly";
    if (pace > 0 && pace < 10) text = whole(pace * 60) + "/m";
    if (move.contains("eta_seconds") && move["eta_seconds"].is_number())
        text += ", " + age_text(std::ceil(number(move, "eta_seconds"))) + " left";
    return text;
}

double part_of(const admin::Json& move) {
    const auto total = number(move, "total");
    if (word(move, "state") == "done" || total <= 0) return 1;
    return std::clamp(number(move, "ended") / total, 0.0, 1.0);
}

std::size_t terminal_width() {
    winsize size{};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

std::string progress_bar(const admin::Json& move, std::size_t width) {
    const auto broker = word(move, "broker");
    const auto name = word(move, "kind") + " " + (broker.empty() ? word(move, "pool") : broker);
    const auto part = part_of(move);
    const auto counts = whole(std::floor(part * 100)) + " %  " + whole(number(move, "ended")) + " of " +
                        whole(number(move, "total")) + ", " + pace_text(move);
    const auto around = name.size() + counts.size() + 6;  // two blanks, a bracket and the same again
    constexpr std::size_t shortest = 10;
    if (width < around + shortest) return (name + "  " + counts).substr(0, width);
    const auto length = std::min<std::size_t>(width - around, 40);
    const auto filled = static_cast<std::size_t>(part * static_cast<double>(length));
    return name + "  [" + std::string(filled, '#') + std::string(length - filled, '.') + "]  " + counts;
}

std::string progress_line(const admin::Json& move) {
    const auto broker = word(move, "broker");
    return word(move, "kind") + " of " + word(move, "pool") + (broker.empty() ? "" : "/" + broker) + ": " +
           whole(number(move, "ended")) + " of " + whole(number(move, "total")) + " ended, " +
           pace_text(move);
}

ProgressView::ProgressView(std::ostream& out)
    : out_(out), terminal_(&out == &std::cout && isatty(STDOUT_FILENO) == 1) {}

bool ProgressView::over(const admin::Json& moves) {
    return std::none_of(moves.begin(), moves.end(),
                        [](const admin::Json& move) { return word(move, "state") == "running"; });
}

void ProgressView::show(const admin::Json& moves) {
    if (terminal_) {
        for (; drawn_ > 0; --drawn_) out_ << "\x1b[1A\x1b[2K";
        const auto width = terminal_width() - 1;
        for (const auto& move : moves) {
            out_ << progress_bar(move, width) << "\n";
            ++drawn_;
        }
    } else {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_ && !over(moves)) return;
        next_ = now + line_interval;
        for (const auto& move : moves) out_ << progress_line(move) << "\n";
    }
    out_.flush();
}

}  // namespace limpet::cli
