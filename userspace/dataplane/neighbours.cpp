// SPDX-License-Identifier: Apache-2.0
#include "dataplane/neighbours.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/fd.h"

namespace limpet::dataplane {
namespace {

struct Stale {
    std::uint8_t family;
    int interface_index;
    std::vector<std::uint8_t> address;
};

struct Question {
    nlmsghdr header{};
    ndmsg message{};
    rtattr attribute{};
    std::uint8_t address[16]{};
};

constexpr auto headers = static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(ndmsg)));

/// The address of an entry, if it is stale and on one of the interfaces.
void take(const nlmsghdr* header, std::span<const unsigned> interfaces, std::vector<Stale>& found) {
    if (header->nlmsg_type != RTM_NEWNEIGH || header->nlmsg_len < headers) return;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(header);
    ndmsg message{};
    std::memcpy(&message, bytes + NLMSG_HDRLEN, sizeof message);
    if ((message.ndm_state & NUD_STALE) == 0 ||
        std::ranges::find(interfaces, static_cast<unsigned>(message.ndm_ifindex)) == interfaces.end())
        return;
    std::size_t at = NLMSG_SPACE(sizeof(ndmsg));
    while (at + sizeof(rtattr) <= header->nlmsg_len) {
        rtattr attribute{};
        std::memcpy(&attribute, bytes + at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || at + attribute.rta_len > header->nlmsg_len) return;
        if (attribute.rta_type == NDA_DST) {
            found.push_back({message.ndm_family,
                             message.ndm_ifindex,
                             {bytes + at + sizeof attribute, bytes + at + attribute.rta_len}});
            return;
        }
        at += (attribute.rta_len + 3U) & ~3U;
    }
}

std::vector<Stale> stale_entries(int socket, std::span<const unsigned> interfaces) {
    std::vector<Stale> found;
    Question question;
    question.header.nlmsg_len = headers;
    question.header.nlmsg_type = RTM_GETNEIGH;
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    if (::send(socket, &question, headers, 0) < 0) return found;
    alignas(nlmsghdr) std::uint8_t answer[32768];
    for (;;) {
        const auto size = ::recv(socket, answer, sizeof answer, 0);
        if (size <= 0) return found;
        std::size_t at = 0;
        while (at + sizeof(nlmsghdr) <= static_cast<std::size_t>(size)) {
            const auto* header = reinterpret_cast<const nlmsghdr*>(answer + at);
            if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR ||
                header->nlmsg_len < sizeof(nlmsghdr) ||
                at + header->nlmsg_len > static_cast<std::size_t>(size))
                return found;
            take(header, interfaces, found);
            at += (header->nlmsg_len + 3U) & ~3U;
        }
    }
}

}  // namespace

void use_stale_neighbours(std::span<const unsigned> interfaces) {
    const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket) return;
    for (const auto& stale : stale_entries(socket.get(), interfaces)) {
        Question question;
        const auto size = std::min<std::size_t>(stale.address.size(), sizeof question.address);
        question.header.nlmsg_len = headers + static_cast<std::uint32_t>(RTA_LENGTH(size));
        question.header.nlmsg_type = RTM_NEWNEIGH;
        question.header.nlmsg_flags = NLM_F_REQUEST;
        question.message.ndm_family = stale.family;
        question.message.ndm_ifindex = stale.interface_index;
        question.message.ndm_flags = NTF_USE;
        question.attribute.rta_type = NDA_DST;
        question.attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));
        std::copy_n(stale.address.begin(), size, question.address);
        [[maybe_unused]] const auto sent = ::send(socket.get(), &question, question.header.nlmsg_len, 0);
    }
}

}  // namespace limpet::dataplane
