// SPDX-License-Identifier: Apache-2.0
// A bare blocking client, which sends what no well-bred one would.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "base/endpoint.h"
#include "base/fd.h"

namespace limpet::admin::test {

class BareClient {
  public:
    explicit BareClient(const Endpoint& endpoint) {
        sockaddr_storage storage{};
        const auto length = endpoint.to_sockaddr(storage);
        open(AF_INET, reinterpret_cast<const sockaddr*>(&storage), length);
    }
    explicit BareClient(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        open(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }

    void send(std::string_view text) {
        while (!text.empty()) {
            const auto count = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
            if (count <= 0) return;  // the other end closed: what it said before is what counts
            text.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    // One line without its newline; what there is when the other end closes.
    std::string line() {
        std::string text;
        char byte = 0;
        while (receive(&byte, 1) == 1 && byte != '\n') text += byte;
        return text;
    }
    // Everything until the other end closes.
    std::string rest() {
        std::string text;
        char buffer[4096];
        for (;;) {
            const auto count = receive(buffer, sizeof buffer);
            if (count <= 0) return text;
            text.append(buffer, static_cast<std::size_t>(count));
        }
    }
    // One HTTP response: its header and as much body as Content-Length says.
    std::string response(bool head = false) {
        std::string text;
        char byte = 0;
        while (!text.ends_with("\r\n\r\n") && receive(&byte, 1) == 1) text += byte;
        const auto field = text.find("Content-Length: ");
        const auto length = field == std::string::npos || head ? 0UL : std::stoul(text.substr(field + 16));
        for (std::size_t i = 0; i < length && receive(&byte, 1) == 1; ++i) text += byte;
        return text;
    }
    void half_close() { ::shutdown(socket_.get(), SHUT_WR); }
    // Waits until the other end has closed, without taking anything of what it said.
    bool closed_by_peer() {
        pollfd wait{socket_.get(), POLLRDHUP, 0};
        return ::poll(&wait, 1, 10000) == 1;
    }
    [[nodiscard]] bool timed_out() const { return timed_out_; }

  private:
    void open(int family, const sockaddr* address, socklen_t length) {
        socket_.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const timeval patience{10, 0};  // a test that waits this long has failed
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        EXPECT_EQ(::connect(socket_.get(), address, length), 0) << "the server does not listen";
    }
    ssize_t receive(char* buffer, std::size_t size) {
        const auto count = ::recv(socket_.get(), buffer, size, 0);
        if (count < 0 && errno == EAGAIN) timed_out_ = true;
        return count;
    }

    Fd socket_;
    bool timed_out_ = false;
};

}  // namespace limpet::admin::test
