// SPDX-License-Identifier: Apache-2.0
// The few MQTT 3.1.1 packets that the load tools write, and how to cut a byte stream into packets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common.h"

namespace load {

struct Packet {
    std::uint8_t first = 0;
    std::string_view body;
    std::size_t size = 0;  ///< of the whole packet, bytes
};

/// The first packet of `bytes`, if it is there whole.
inline std::optional<Packet> first_packet(std::string_view bytes) {
    std::size_t length = 0;
    for (std::size_t at = 1; at < bytes.size() && at <= 4; ++at) {  // MQTT-3.1.1 2.2.3
        const auto digit = static_cast<std::uint8_t>(bytes[at]);
        length |= static_cast<std::size_t>(digit & 0x7f) << (7 * (at - 1));
        if ((digit & 0x80) != 0) continue;
        if (bytes.size() < at + 1 + length) return std::nullopt;
        return Packet{static_cast<std::uint8_t>(bytes[0]), bytes.substr(at + 1, length), at + 1 + length};
    }
    return std::nullopt;
}

inline std::string packet(char first, std::string_view body) {
    std::string out(1, first);
    for (std::size_t rest = body.size();; rest >>= 7) {
        out += static_cast<char>((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        if (rest <= 0x7f) break;
    }
    return out.append(body);
}

inline std::string with_length(std::string_view text) {
    std::string out;
    out += static_cast<char>(text.size() >> 8);
    out += static_cast<char>(text.size() & 0xff);
    return out.append(text);
}

/// PUBLISH, QoS 0: a broker that echoes it, or has it subscribed by its sender, sends the same bytes back.
inline std::string publish_packet(std::string_view topic, std::size_t payload) {
    return packet('\x30', with_length(topic) + std::string(payload, 'x'));
}

/// SUBSCRIBE, QoS 0, packet identifier 1.
inline std::string subscribe_packet(std::string_view topic) {
    return packet('\x82', std::string("\0\1", 2) + with_length(topic) + std::string(1, '\0'));
}

inline void send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count <= 0) fail("send");
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

inline void receive_all(int fd, std::size_t bytes) {
    static char buffer[65536];
    while (bytes > 0) {
        const ssize_t count = recv(fd, buffer, bytes < sizeof buffer ? bytes : sizeof buffer, 0);
        if (count <= 0) fail(count == 0 ? "the connection ended" : "recv");
        bytes -= static_cast<std::size_t>(count);
    }
}

/// A blocking connection that has its CONNACK and is subscribed to its own topic.
inline Fd open_session(const Address& to, const std::string& client_id, const std::string& topic) {
    Fd fd(socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    const timeval patience{10, 0};
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd.get(), to.get(), to.length) != 0) fail("connect");
    send_all(fd.get(), connect_packet(client_id, 600));
    char answer[4];
    if (recv(fd.get(), answer, sizeof answer, MSG_WAITALL) != 4 || answer[0] != '\x20' || answer[3] != 0)
        fail("CONNACK");
    send_all(fd.get(), subscribe_packet(topic));
    receive_all(fd.get(), 5);  // SUBACK
    return fd;
}

}  // namespace load
