// SPDX-License-Identifier: Apache-2.0
// Sockets that go into repair mode and come back. (Needs CAP_NET_ADMIN, as all of these tests do.)
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "handoff/tcp_socket.h"

namespace limpet::handoff {
namespace {

int option(const Fd& socket, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(socket.get(), SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

/// One end of a connection over loopback; the other end and the listener go out of scope.
Fd connected() {
    const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listener.get(), generic, length) != 0 || ::listen(listener.get(), 1) != 0 ||
        getsockname(listener.get(), generic, &length) != 0 || ::connect(client.get(), generic, length) != 0)
        return {};
    return client;
}

/// Otherwise a socket that lingers after a kill keeps its port from the next daemon.
TEST(Freeze, leaves_its_socket_with_an_address_that_may_be_used_again) {
    const auto socket = connected();
    ASSERT_TRUE(socket);
    {
        const Freeze freeze(socket.get());
        ASSERT_TRUE(freeze.frozen());
    }
    EXPECT_EQ(option(socket, SO_REUSEADDR), 1);
}

}  // namespace
}  // namespace limpet::handoff
