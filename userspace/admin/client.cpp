// SPDX-License-Identifier: Apache-2.0
#include "admin/client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "admin/dispatch.h"
#include "base/fd.h"

namespace limpet::admin {
namespace {

// No daemon says this much; without a bound a stranger on the socket could fill the memory.
constexpr std::size_t longest_answer = std::size_t{4} << 30;

std::unexpected<Error> silent(const std::string& path, std::chrono::milliseconds patience) {
    return fail(
        "the daemon at " + path + " does not answer within " + std::to_string(patience.count()) + " ms",
        "look at its log, or try again");
}

Result<Fd> connect_to(const std::string& path, std::chrono::milliseconds patience) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return fail("\"" + path + "\" cannot be a socket", "name one of 1 to 107 bytes with --socket");
    path.copy(address.sun_path, path.size());
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("making a socket", errno);
    timeval time{};
    time.tv_sec = static_cast<time_t>(patience.count() / 1000);
    time.tv_usec = static_cast<suseconds_t>(patience.count() % 1000 * 1000);
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);  // of connect too
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return socket;
    switch (errno) {
        case ENOENT:
        case ECONNREFUSED:
        case ENOTDIR:
            return fail("no daemon answers at " + path,
                        "start one with `limpet serve`, or name its socket with --socket");
        case EACCES:
        case EPERM:
            return fail_errno("asking the daemon at " + path, errno, "run this as root");
        case EAGAIN:
            return silent(path, patience);
        default:
            return fail_errno("asking the daemon at " + path, errno, "name its socket with --socket");
    }
}

Result<void> send_all(const Fd& socket, std::string_view text, const std::string& path,
                      std::chrono::milliseconds patience) {
    while (!text.empty()) {
        const auto count = ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return silent(path, patience);
        // The daemon may have answered and closed already (too many clients): read what it said.
        if (count < 0 && (errno == EPIPE || errno == ECONNRESET)) return {};
        if (count < 0) return fail_errno("asking the daemon at " + path, errno);
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

Result<std::string> receive_line(const Fd& socket, const std::string& path,
                                 std::chrono::milliseconds patience) {
    std::string line;
    std::string piece(64 * 1024, '\0');
    while (line.size() < longest_answer) {
        const auto count = ::recv(socket.get(), piece.data(), piece.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return silent(path, patience);
        if (count < 0 && errno != ECONNRESET) return fail_errno("hearing the daemon at " + path, errno);
        if (count <= 0)
            return fail("the daemon at " + path + " went away before it had answered", "look at its log");
        const std::string_view got(piece.data(), static_cast<std::size_t>(count));
        const auto end = got.find('\n');
        line += got.substr(0, end);
        if (end != std::string_view::npos) return line;
    }
    return fail("the answer of the daemon at " + path + " has no end", "ask for less, with --limit");
}

}  // namespace

Result<Json> request(const std::string& socket_path, std::string_view verb, Json args,
                     std::chrono::milliseconds patience) {
    auto socket = connect_to(socket_path, patience);
    if (!socket) return std::unexpected(socket.error());
    const auto question = json_text(Json{{"verb", verb}, {"args", std::move(args)}}) + "\n";
    if (auto sent = send_all(*socket, question, socket_path, patience); !sent)
        return std::unexpected(sent.error());
    const auto line = receive_line(*socket, socket_path, patience);
    if (!line) return std::unexpected(line.error());
    auto answer = Json::parse(*line, nullptr, false);
    const auto text = [&](const char* name) {
        const auto found = answer.find(name);
        return found != answer.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    const auto odd = [&] {
        return fail("what listens at " + socket_path + " does not speak as a limpet daemon",
                    "name the daemon's socket with --socket");
    };
    if (!answer.is_object() || !answer.contains("ok") || !answer["ok"].is_boolean()) return odd();
    if (!answer["ok"].get<bool>()) return fail(text("error"), text("advice"));
    if (!answer.contains("data")) return odd();
    return std::move(answer["data"]);
}

}  // namespace limpet::admin
