// SPDX-License-Identifier: Apache-2.0
#include "dataplane/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <fstream>
#include <span>

namespace limpet::dataplane {
namespace {

/// A netlink message that is written from front to back; nested attributes are closed when what is in them is
/// written.
class Message {
  public:
    Message(std::uint16_t type, std::uint8_t family) {
        header_.nlmsg_type = type;
        header_.nlmsg_flags = NLM_F_REQUEST;
        const nfgenmsg generic{family, NFNETLINK_V0, 0};
        size_ = sizeof header_;
        append({reinterpret_cast<const std::uint8_t*>(&generic), sizeof generic});
    }
    void add(std::uint16_t type, std::span<const std::uint8_t> value) {
        const auto begin = open(type);
        append(value);
        close(begin);
        size_ = (size_ + 3U) & ~std::size_t{3};  // attributes begin at multiples of four
    }
    [[nodiscard]] std::size_t open(std::uint16_t type) {
        const auto begin = size_;
        const nlattr attribute{0, type};
        append({reinterpret_cast<const std::uint8_t*>(&attribute), sizeof attribute});
        return begin;
    }
    void close(std::size_t begin) {
        const auto length = static_cast<std::uint16_t>(size_ - begin);
        std::memcpy(buffer_.data() + begin, &length, sizeof length);
    }
    [[nodiscard]] std::span<const std::uint8_t> bytes() {
        header_.nlmsg_len = static_cast<std::uint32_t>(size_);
        std::memcpy(buffer_.data(), &header_, sizeof header_);
        return {buffer_.data(), size_};
    }

  private:
    void append(std::span<const std::uint8_t> value) {
        std::memcpy(buffer_.data() + size_, value.data(), value.size());
        size_ += value.size();
    }

    nlmsghdr header_{};
    std::array<std::uint8_t, 256> buffer_{};
    std::size_t size_ = 0;
};

constexpr std::uint16_t nested(std::uint16_t type) {
    return static_cast<std::uint16_t>(type | NLA_F_NESTED);
}

std::array<std::uint8_t, 2> port_bytes(std::uint16_t port) {
    return {static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port)};
}

}  // namespace

Conntrack::Conntrack()
    : socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER)) {
    look();
}

void Conntrack::look() {
    std::ifstream file("/proc/sys/net/netfilter/nf_conntrack_count");
    long count = 0;
    active_ = socket_ && (file >> count) && count > 0;
}

void Conntrack::forget(const Endpoint& from, const Endpoint& to) {
    if (!active_) return;
    const bool four = from.address.family == 4;
    const std::size_t size = four ? 4 : 16;
    Message message(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, four ? AF_INET : AF_INET6);
    const auto tuple = message.open(nested(CTA_TUPLE_ORIG));
    const auto addresses = message.open(nested(CTA_TUPLE_IP));
    message.add(four ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, {from.address.bytes.data(), size});
    message.add(four ? CTA_IP_V4_DST : CTA_IP_V6_DST, {to.address.bytes.data(), size});
    message.close(addresses);
    const auto protocol = message.open(nested(CTA_TUPLE_PROTO));
    const std::array<std::uint8_t, 1> tcp{IPPROTO_TCP};
    message.add(CTA_PROTO_NUM, tcp);
    message.add(CTA_PROTO_SRC_PORT, port_bytes(from.port));
    message.add(CTA_PROTO_DST_PORT, port_bytes(to.port));
    message.close(protocol);
    message.close(tuple);
    const auto bytes = message.bytes();
    // No answer is asked for; that there is no such entry would come as an error message, which is read away.
    [[maybe_unused]] const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    std::array<std::uint8_t, 1024> ignored;
    while (::recv(socket_.get(), ignored.data(), ignored.size(), MSG_DONTWAIT) > 0) {
    }
}

}  // namespace limpet::dataplane
