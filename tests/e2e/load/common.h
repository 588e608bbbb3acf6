// SPDX-License-Identifier: Apache-2.0
// What the load generators share: addresses, arguments, a clock and the one MQTT packet that both write.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace load {

[[noreturn]] inline void fail(const std::string& what) {
    std::fprintf(stderr, "load: %s%s%s\n", what.c_str(), errno != 0 ? ": " : "",
                 errno != 0 ? std::strerror(errno) : "");
    std::exit(2);
}

/// Microseconds of a clock that never goes back.
inline std::int64_t now() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

class Fd {
  public:
    Fd() = default;
    explicit Fd(int value) : value_(value) {}
    Fd(Fd&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(value_, other.value_);
        return *this;
    }
    ~Fd() { close(); }
    [[nodiscard]] int get() const { return value_; }
    [[nodiscard]] bool open() const { return value_ >= 0; }
    void close() {
        if (value_ >= 0) ::close(std::exchange(value_, -1));
    }

  private:
    int value_ = -1;
};

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] int family() const { return storage.ss_family; }
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

template <class Number>
Number number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) fail("not a number: " + std::string(text));
    return value;
}

/// "10.0.0.1:1883", "[fd00::1]:1883", or an address alone, with port 0.
inline Address parse_address(std::string text) {
    Address out;
    std::uint16_t port = 0;
    const bool bracket = text.starts_with('[');
    const auto colon = text.rfind(':');
    if (bracket || text.find(':') == colon) {
        const auto end = bracket ? text.find(']') : colon;
        if (end != std::string::npos && colon > end - 1 && colon != std::string::npos)
            port = number<std::uint16_t>(std::string_view(text).substr(colon + 1));
        text = text.substr(bracket ? 1 : 0, end == std::string::npos ? end : end - (bracket ? 1 : 0));
    }
    auto* four = reinterpret_cast<sockaddr_in*>(&out.storage);
    auto* six = reinterpret_cast<sockaddr_in6*>(&out.storage);
    if (inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        out.length = sizeof(sockaddr_in);
    } else if (inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        out.length = sizeof(sockaddr_in6);
    } else {
        errno = 0;
        fail("not an address: " + text);
    }
    return out;
}

/// As parse_address reads it, and as `limpet flows list` writes it.
inline std::string text_of(const Address& address) {
    const bool four = address.family() == AF_INET;
    const auto* in4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    char host[INET6_ADDRSTRLEN] = "";
    inet_ntop(address.family(), four ? static_cast<const void*>(&in4->sin_addr) : &in6->sin6_addr, host,
              sizeof host);
    const std::string port = std::to_string(ntohs(four ? in4->sin_port : in6->sin6_port));
    return four ? std::string(host) + ":" + port : "[" + std::string(host) + "]:" + port;
}

/// Arguments of the form --name value.
class Arguments {
  public:
    Arguments(int count, char** values, int first) {
        errno = 0;
        for (int i = first; i + 1 < count; i += 2) {
            const std::string_view name = values[i];
            if (!name.starts_with("--")) fail("expected --name value, not " + std::string(name));
            values_[std::string(name.substr(2))] = values[i + 1];
        }
        if ((count - first) % 2 != 0) fail("an argument without a value");
    }
    [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise = {}) const {
        const auto found = values_.find(name);
        return found == values_.end() ? otherwise : found->second;
    }
    [[nodiscard]] std::uint64_t count(const std::string& name, std::uint64_t otherwise) const {
        const auto found = values_.find(name);
        return found == values_.end() ? otherwise : number<std::uint64_t>(found->second);
    }
    /// A list, separated by commas; empty when it is not given.
    [[nodiscard]] std::vector<Address> addresses(const std::string& name) const {
        std::vector<Address> out;
        std::string rest = text(name);
        while (!rest.empty()) {
            const auto comma = rest.find(',');
            out.push_back(parse_address(rest.substr(0, comma)));
            rest = comma == std::string::npos ? std::string{} : rest.substr(comma + 1);
        }
        return out;
    }

  private:
    std::map<std::string, std::string> values_;
};

/// A non-blocking socket on its way to `to`, from `from` where that has a length; not open when it failed.
inline Fd start_connect(const Address& to, const Address& from) {
    Fd fd(socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd.open()) return fd;
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // The port is chosen at connect, where the whole tuple is known, and not at bind.
    setsockopt(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (from.length != 0 && bind(fd.get(), from.get(), from.length) != 0) return Fd();
    if (connect(fd.get(), to.get(), to.length) != 0 && errno != EINPROGRESS) return Fd();
    return fd;
}

/// CONNECT of MQTT 3.1.1 with clean session.
inline std::string connect_packet(std::string_view client_id, unsigned keep_alive) {
    std::string body("\0\4MQTT\4\2", 8);
    body += static_cast<char>(keep_alive >> 8);
    body += static_cast<char>(keep_alive & 0xff);
    body += static_cast<char>(client_id.size() >> 8);
    body += static_cast<char>(client_id.size() & 0xff);
    body += client_id;
    std::string out(1, '\x10');
    for (std::size_t rest = body.size();; rest >>= 7) {  // MQTT-3.1.1 2.2.3
        out += static_cast<char>((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
        if (rest <= 0x7f) break;
    }
    return out + body;
}

}  // namespace load
