// SPDX-License-Identifier: Apache-2.0
#include "session/relay.h"

#include <sys/socket.h>

#include <cerrno>

namespace limpet::session {
namespace {

// Reads of one pass: a fast sender must not keep the worker from its other sessions.
constexpr int reads_per_pass = 8;

bool would_block(int number) {
    return number == EAGAIN || number == EWOULDBLOCK;
}

/// Returns how many bytes the sink took, or -1 when it is broken.
ssize_t write_some(int sink, std::span<const std::uint8_t> bytes) {
    for (;;) {
        const auto count = ::send(sink, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count >= 0) return count;
        if (errno == EINTR) continue;
        return would_block(errno) ? 0 : -1;
    }
}

}  // namespace

Read read_some(int source, std::span<std::uint8_t> into) {
    for (;;) {
        const auto count = ::recv(source, into.data(), into.size(), 0);
        if (count > 0) return {Read::Kind::bytes, static_cast<std::size_t>(count)};
        if (count == 0) return {Read::Kind::end, 0};
        if (errno == EINTR) continue;
        return {would_block(errno) ? Read::Kind::nothing : Read::Kind::broken, 0};
    }
}

bool flush(int sink, std::vector<std::uint8_t>& waiting, std::size_t& taken) {
    while (taken < waiting.size()) {
        const auto count = write_some(sink, std::span(waiting).subspan(taken));
        if (count < 0) return false;
        if (count == 0) return true;
        taken += static_cast<std::size_t>(count);
    }
    std::vector<std::uint8_t>().swap(waiting);
    taken = 0;
    return true;
}

bool pump(int source, int sink, Direction& direction, std::span<std::uint8_t> scratch) {
    if (!direction.waiting.empty() && !flush(sink, direction.waiting, direction.taken)) return false;
    for (int pass = 0; pass < reads_per_pass && direction.wants_source(); ++pass) {
        const auto read = read_some(source, scratch);
        if (read.kind == Read::Kind::broken) return false;
        if (read.kind == Read::Kind::nothing) return true;
        if (read.kind == Read::Kind::end) {
            direction.ended = true;
            break;
        }
        const auto bytes = scratch.first(read.count);
        if (direction.packets) direction.packets->take(bytes);
        const auto count = write_some(sink, bytes);
        if (count < 0) return false;
        const auto rest = bytes.subspan(static_cast<std::size_t>(count));
        direction.waiting.assign(rest.begin(), rest.end());
    }
    if (direction.ended && direction.waiting.empty() && !direction.passed_on) {
        // ENOTCONN: the sink was reset meanwhile; its own direction finds out.
        ::shutdown(sink, SHUT_WR);
        direction.passed_on = true;
    }
    return true;
}

void reset_on_close(int socket) {
    const linger at_once{1, 0};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace limpet::session
