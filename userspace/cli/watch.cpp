// SPDX-License-Identifier: Apache-2.0
// The commands that go on until they are stopped: `limpet top` and `limpet trace`.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>

#include "admin/client.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/top.h"

namespace limpet::cli {
namespace {

// Flows that are looked at for the busiest: enough for a picture, and no load for a daemon with a million.
constexpr std::size_t most_flows = 2000;

volatile std::sig_atomic_t stopped = 0;

/// SIGINT and SIGTERM end the watching and not the process, so that the terminal is left as it was.
class StopSignals {
  public:
    StopSignals() {
        stopped = 0;
        struct sigaction action{};
        action.sa_handler = [](int) { stopped = 1; };
        ::sigaction(SIGINT, &action, &interrupt_);
        ::sigaction(SIGTERM, &action, &terminate_);
    }
    ~StopSignals() {
        ::sigaction(SIGINT, &interrupt_, nullptr);
        ::sigaction(SIGTERM, &terminate_, nullptr);
    }
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

  private:
    struct sigaction interrupt_{};
    struct sigaction terminate_{};
};

/// The terminal's other screen, without echo; what was there comes back at the end.
class Screen {
  public:
    explicit Screen(std::ostream& out) : out_(out) {
        keys_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
        if (keys_) {
            auto raw = before_;
            raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
            ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        }
        out_ << "\x1b[?1049h\x1b[?25l" << std::flush;
    }
    ~Screen() {
        out_ << "\x1b[?25h\x1b[?1049l" << std::flush;
        if (keys_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;

    void draw(const std::string& text) { out_ << "\x1b[H\x1b[2J" << text << std::flush; }
    [[nodiscard]] static ScreenSize size() {
        winsize window{};
        if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0) return {};
        return {window.ws_col, window.ws_row};
    }
    /// Whether `q` was pressed within the time.
    [[nodiscard]] bool wait(std::chrono::milliseconds time) const {
        pollfd asked{keys_ ? STDIN_FILENO : -1, POLLIN, 0};
        if (::poll(&asked, 1, static_cast<int>(time.count())) <= 0) return false;
        char key = 0;
        return ::read(STDIN_FILENO, &key, 1) <= 0 || key == 'q';
    }

  private:
    std::ostream& out_;
    termios before_{};
    bool keys_ = false;
};

Result<Look> look(const std::string& socket) {
    auto status = admin::request(socket, "status", Json::object());
    if (!status) return std::unexpected(status.error());
    auto flows = admin::request(socket, "flows", Json{{"limit", most_flows}});
    if (!flows) return std::unexpected(flows.error());
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return Look{std::move(*status), std::move(*flows), std::chrono::duration<double>(now).count()};
}

int watch_on_screen(const Options& options, Look before, std::ostream& out) {
    Screen screen(out);
    Json changes;
    for (std::uint64_t drawn = 0; stopped == 0; ++drawn) {
        if (options.count > 0 && drawn == options.count) break;
        screen.draw(top_text(before, changes, Screen::size()));
        if (screen.wait(options.interval) || stopped != 0) break;
        auto now = look(socket_of(options));
        if (!now) {
            // It may come back: daemons are restarted while somebody looks.
            before.status["mode"] = now.error().what;
            changes = Json();
            continue;
        }
        changes = changes_between(before, *now);
        before = std::move(*now);
    }
    return status_ok;
}

int watch_in_lines(const Options& options, Look before, std::ostream& out, std::ostream& err) {
    const std::uint64_t count = options.count > 0 ? options.count : 1;
    for (std::uint64_t shown = 0; shown < count && stopped == 0; ++shown) {
        ::poll(nullptr, 0, static_cast<int>(options.interval.count()));
        auto now = look(socket_of(options));
        if (!now) return complain(err, now.error());
        const auto changes = changes_between(before, *now);
        before = std::move(*now);
        if (options.json)
            out << Json{{"status", before.status}, {"changes", changes}}.dump(-1, ' ', false,
                                                                              Json::error_handler_t::replace)
                << "\n";
        else
            out << (shown > 0 ? "\n" : "") << top_text(before, changes, {~std::size_t{0}, ~std::size_t{0}});
        out.flush();
    }
    return status_ok;
}

std::string event_text(const Json& event) {
    auto line = text(event, "time") + "  " + text(event, "client") + "  " + text(event, "client_id") + "  " +
                text(event, "event");
    for (const auto* name : {"broker", "detail"})
        if (const auto value = text(event, name); !value.empty() && value != "-") line += "  " + value;
    return line;
}

}  // namespace

int run_trace(const Options& options, std::ostream& out, std::ostream& err) {
    // Several times within the time for which a daemon keeps events of somebody who does not ask.
    constexpr int pause_milliseconds = 200;
    const StopSignals signals;
    Json args = Json::object();
    if (options.client_id) args["client_id"] = *options.client_id;
    if (options.source) args["source"] = *options.source;
    for (std::uint64_t shown = 0; stopped == 0;) {
        const auto answer = admin::request(socket_of(options), "trace", args);
        if (!answer) return stopped != 0 ? status_ok : complain(err, answer.error());
        if (const auto& lost = at(*answer, "lost");
            lost.is_number_unsigned() && lost.get<std::uint64_t>() > 0)
            complain(err, {lost.dump() + " events came too fast and are lost", "choose fewer clients", 0});
        for (const auto& event : at(*answer, "events")) {
            out << (options.json ? event.dump(-1, ' ', false, Json::error_handler_t::replace)
                                 : event_text(event))
                << "\n"
                << std::flush;
            if (!out) return status_failed;
            if (++shown == options.count) return status_ok;
        }
        args["from"] = at(*answer, "next");
        ::poll(nullptr, 0, pause_milliseconds);
    }
    return status_ok;
}

int run_top(const Options& options, std::ostream& out, std::ostream& err) {
    auto first = look(socket_of(options));
    if (!first) return complain(err, first.error());
    const StopSignals signals;
    const bool on_screen = !options.json && &out == &std::cout && ::isatty(STDOUT_FILENO) == 1;
    return on_screen ? watch_on_screen(options, std::move(*first), out)
                     : watch_in_lines(options, std::move(*first), out, err);
}

}  // namespace limpet::cli
