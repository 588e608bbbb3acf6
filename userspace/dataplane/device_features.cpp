// SPDX-License-Identifier: Apache-2.0
#include "dataplane/device_features.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/fd.h"

namespace limpet::dataplane {
namespace {

// linux/netdev.h came after the headers of Debian 12.
constexpr std::uint8_t netdev_cmd_dev_get = 1;
constexpr std::uint16_t netdev_a_dev_ifindex = 1;
constexpr std::uint16_t netdev_a_dev_xdp_features = 3;
constexpr std::size_t generic_length = sizeof(genlmsghdr);  // the macros of linux/genetlink.h are signed
constexpr std::size_t headers_length = sizeof(nlmsghdr) + generic_length;
constexpr std::size_t attribute_length = sizeof(nlattr);
constexpr std::uint64_t xdp_basic = 1;
constexpr std::uint64_t xdp_redirect = 2;
constexpr std::uint64_t xdp_ndo_xmit = 4;

/// One generic netlink question with one attribute, and its answer.
std::vector<std::uint8_t> ask(int socket, std::uint16_t family, std::uint8_t command, std::uint16_t attribute,
                              std::span<const std::uint8_t> value) {
    std::array<std::uint8_t, 128> question{};
    auto* header = reinterpret_cast<nlmsghdr*>(question.data());
    auto* generic = reinterpret_cast<genlmsghdr*>(question.data() + sizeof(nlmsghdr));
    auto* first = reinterpret_cast<nlattr*>(question.data() + headers_length);
    const auto length = headers_length + attribute_length + value.size();
    header->nlmsg_len = static_cast<std::uint32_t>(length);
    header->nlmsg_type = family;
    header->nlmsg_flags = NLM_F_REQUEST;
    generic->cmd = command;
    generic->version = 1;
    first->nla_type = attribute;
    first->nla_len = static_cast<std::uint16_t>(attribute_length + value.size());
    std::memcpy(question.data() + length - value.size(), value.data(), value.size());
    if (::send(socket, question.data(), length, 0) < 0) return {};
    std::vector<std::uint8_t> answer(4096);
    const auto received = ::recv(socket, answer.data(), answer.size(), 0);
    if (received < static_cast<ssize_t>(headers_length)) return {};
    if (reinterpret_cast<const nlmsghdr*>(answer.data())->nlmsg_type == NLMSG_ERROR) return {};
    answer.resize(static_cast<std::size_t>(received));
    return answer;
}

template <class Value>
std::optional<Value> find(const std::vector<std::uint8_t>& answer, std::uint16_t attribute) {
    std::size_t at = headers_length;
    while (at + attribute_length <= answer.size()) {
        nlattr entry;
        std::memcpy(&entry, answer.data() + at, sizeof entry);
        if (entry.nla_len < attribute_length || at + entry.nla_len > answer.size()) break;
        if ((entry.nla_type & NLA_TYPE_MASK) == attribute &&
            entry.nla_len >= attribute_length + sizeof(Value)) {
            Value value;
            std::memcpy(&value, answer.data() + at + attribute_length, sizeof value);
            return value;
        }
        at += (entry.nla_len + 3U) & ~3U;  // attributes begin at multiples of four
    }
    return std::nullopt;
}

}  // namespace

std::optional<DeviceXdp> device_xdp(unsigned interface_index) {
    const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
    if (!socket) return std::nullopt;
    const std::uint8_t name[] = {'n', 'e', 't', 'd', 'e', 'v', 0};
    const auto family =
        find<std::uint16_t>(ask(socket.get(), GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, name),
                            CTRL_ATTR_FAMILY_ID);
    if (!family) return std::nullopt;
    std::array<std::uint8_t, 4> index{};
    std::memcpy(index.data(), &interface_index, index.size());
    const auto features =
        find<std::uint64_t>(ask(socket.get(), *family, netdev_cmd_dev_get, netdev_a_dev_ifindex, index),
                            netdev_a_dev_xdp_features);
    if (!features) return std::nullopt;
    return DeviceXdp{(*features & xdp_basic) != 0, (*features & xdp_redirect) != 0,
                     (*features & xdp_ndo_xmit) != 0};
}

}  // namespace limpet::dataplane
