// SPDX-License-Identifier: Apache-2.0
#include "admin/control.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <filesystem>

#include "admin/dispatch.h"
#include "base/fd.h"

namespace limpet::admin {
namespace {

using Unix = asio::local::stream_protocol;
using ControlClient = Door<Unix>::Client;

const std::string other_socket = "stop that daemon, or give this one another socket";

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return fail("the control socket's path " + path + " is " + (path.empty() ? "empty" : "too long"),
                    "name one of at most 107 bytes");
    path.copy(address.sun_path, path.size());
    return address;
}

Result<void> make_folder(const std::string& path) {
    const auto folder = std::filesystem::path(path).parent_path();
    if (folder.empty()) return {};
    std::error_code error;
    const bool made = std::filesystem::create_directories(folder, error);
    if (error)
        return fail_errno("making the folder " + folder.string(), error.value(),
                          "run as root, or name another socket");
    if (made) std::filesystem::permissions(folder, std::filesystem::perms(0755), error);
    return {};
}

// Removes the socket of a daemon that is gone; refuses where one is alive or it is no socket.
Result<void> clear_stale(const std::string& path, const sockaddr_un& address) {
    struct stat about{};
    if (::lstat(path.c_str(), &about) != 0) {
        if (errno == ENOENT) return {};
        return fail_errno("looking at " + path, errno);
    }
    if (!S_ISSOCK(about.st_mode))
        return fail(path + " is there and is no socket", "remove it, or name another socket");
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!probe) return fail_errno("making a socket", errno);
    const int answer = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    // EAGAIN: somebody listens and is busy. Only a refusal proves that nobody does.
    if (answer == 0 || errno == EAGAIN) return fail("a daemon answers at " + path + " already", other_socket);
    if (errno != ECONNREFUSED && errno != ENOENT)
        return fail_errno("asking who listens at " + path, errno, other_socket);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return fail_errno("removing the stale socket " + path, errno);
    return {};
}

Result<Fd> open_control_socket(const std::string& path) {
    auto address = address_of(path);
    if (!address) return std::unexpected(address.error());
    if (auto made = make_folder(path); !made) return std::unexpected(made.error());
    if (auto clear = clear_stale(path, *address); !clear) return std::unexpected(clear.error());
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("making the control socket", errno);
    // Before bind: the file then has this mode from its first moment (unix(7): it takes the socket's own).
    ::fchmod(socket.get(), 0600);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
        return fail_errno("making the control socket " + path, errno,
                          errno == EADDRINUSE ? other_socket : "run as root, or name another socket");
    if (::chmod(path.c_str(), 0600) != 0 || ::listen(socket.get(), 64) != 0) {
        const int number = errno;
        ::unlink(path.c_str());
        return fail_errno("listening on " + path, number);
    }
    return socket;
}

// A client that takes nothing for a whole deadline is closed, however long the answer is.
asio::awaitable<bool> write_all(ControlClient client, const std::string& text, const Limits& limits) {
    std::size_t done = 0;
    while (done < text.size()) {
        client->set_deadline(limits.deadline);
        ErrorCode error;
        const auto piece = asio::buffer(text.data() + done, text.size() - done);
        done +=
            co_await client->socket.async_write_some(piece, asio::redirect_error(asio::use_awaitable, error));
        if (error) co_return false;
    }
    co_return true;
}

asio::awaitable<void> converse_control(ControlClient client, Verbs& verbs, Limits limits) {
    std::string input;
    while (client->socket.is_open()) {
        client->set_deadline(limits.deadline);
        ErrorCode error;
        auto buffer = asio::dynamic_buffer(input, limits.request_size);
        const auto length = co_await asio::async_read_until(client->socket, buffer, '\n',
                                                            asio::redirect_error(asio::use_awaitable, error));
        std::string answer;
        if (error == asio::error::not_found)
            answer =
                refusal_line({"the request is longer than " + std::to_string(limits.request_size) + " bytes",
                              "send one line of JSON", 0});
        // The daemon may have stopped while this was waiting: then nobody may be asked any more.
        else if (error || !client->socket.is_open())
            co_return;
        else
            answer = answer_line(verbs, std::string_view(input).substr(0, length - 1));
        answer += '\n';
        const bool written = co_await write_all(client, answer, limits);
        if (error || !written) co_return;
        input.erase(0, length);
    }
}

}  // namespace

ControlServer::ControlServer(asio::io_context& io, Verbs& verbs, Limits limits)
    : io_(io), verbs_(verbs), limits_(limits) {}

Result<void> ControlServer::listen(const std::string& path) {
    auto socket = open_control_socket(path);
    if (!socket) return std::unexpected(socket.error());
    struct stat about{};
    if (::lstat(path.c_str(), &about) != 0) return fail_errno("looking at " + path, errno);
    path_ = path;
    device_ = about.st_dev;
    inode_ = about.st_ino;
    const auto refusal = refusal_line({"too many clients ask at once", "try again in a moment", 0}) + "\n";
    door_ = std::make_shared<Door<Unix>>(io_, limits_, refusal,
                                         [&verbs = verbs_, limits = limits_](ControlClient client) {
                                             return converse_control(std::move(client), verbs, limits);
                                         });
    ErrorCode error;
    door_->acceptor.assign(Unix(), socket->release(), error);
    if (error) return fail("listening on " + path + ": " + error.message());
    door_->open();
    return {};
}

void ControlServer::stop() {
    if (!door_) return;
    door_->close();
    door_.reset();
    struct stat about{};
    if (::lstat(path_.c_str(), &about) == 0 && about.st_dev == device_ && about.st_ino == inode_)
        ::unlink(path_.c_str());
}

}  // namespace limpet::admin
