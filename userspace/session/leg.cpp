// SPDX-License-Identifier: Apache-2.0
#include "session/leg.h"

#include <sys/socket.h>

#include <cerrno>

namespace limpet::session {
namespace {

bool would_block(int number) {
    return number == EAGAIN || number == EWOULDBLOCK;
}

Descriptor::wait_type wait_for(Channel::Wait wait) {
    return wait == Channel::Wait::readable ? Descriptor::wait_read : Descriptor::wait_write;
}

}  // namespace

Read read_some(int socket, std::span<std::uint8_t> into) {
    for (;;) {
        const auto count = ::recv(socket, into.data(), into.size(), 0);
        if (count > 0) return {Read::Kind::bytes, static_cast<std::size_t>(count)};
        if (count == 0) return {Read::Kind::end, 0};
        if (errno == EINTR) continue;
        return {would_block(errno) ? Read::Kind::nothing : Read::Kind::broken, 0};
    }
}

std::ptrdiff_t write_some(int socket, std::span<const std::uint8_t> bytes) {
    for (;;) {
        const auto count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count >= 0) return count;
        if (errno == EINTR) continue;
        return would_block(errno) ? 0 : -1;
    }
}

bool Leg::take(Fd socket) {
    boost::system::error_code failed;
    descriptor_.assign(socket.get(), failed);
    if (failed) return false;
    static_cast<void>(socket.release());
    return true;
}

Read Leg::read(std::span<std::uint8_t> into) {
    return channel_ ? channel_->read(into) : read_some(socket(), into);
}

std::ptrdiff_t Leg::write(std::span<const std::uint8_t> bytes) {
    return channel_ ? channel_->write(bytes) : write_some(socket(), bytes);
}

bool Leg::end() {
    if (channel_ && !channel_->end()) return false;
    // ENOTCONN: the socket was reset meanwhile; whoever reads it finds out.
    ::shutdown(socket(), SHUT_WR);
    return true;
}

Descriptor::wait_type Leg::to_read() const {
    return channel_ ? wait_for(channel_->to_read()) : Descriptor::wait_read;
}

Descriptor::wait_type Leg::to_write() const {
    return channel_ ? wait_for(channel_->to_write()) : Descriptor::wait_write;
}

bool Leg::broken() {
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(socket(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0;
}

void Leg::reset_on_close() {
    channel_.reset();
    const linger at_once{1, 0};
    setsockopt(socket(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void Leg::close() {
    if (channel_) static_cast<void>(channel_->end());
    channel_.reset();
    boost::system::error_code ignored;
    descriptor_.close(ignored);
}

Fd Leg::release() {
    channel_.reset();
    return Fd(descriptor_.is_open() ? descriptor_.release() : -1);
}

}  // namespace limpet::session
