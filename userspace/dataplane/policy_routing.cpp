// SPDX-License-Identifier: Apache-2.0
#include "dataplane/policy_routing.h"

#include <limpet/flow_abi.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include "base/fd.h"

namespace limpet::dataplane {
namespace {

constexpr std::size_t aligned(std::size_t length) {
    return (length + 3) & ~std::size_t{3};  // messages and attributes begin at multiples of four
}

/// One request to the routing tables: a header, a body, attributes, and the kernel's word on it.
class Request {
  public:
    template <class Body>
    Request(std::uint16_t type, std::uint16_t flags, const Body& body) {
        nlmsghdr header{};
        header.nlmsg_type = type;
        header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
        append(&header, sizeof header);
        append(&body, sizeof body);
    }
    Request& attribute(std::uint16_t type, std::uint32_t value) {
        const nlattr head{static_cast<std::uint16_t>(sizeof(nlattr) + sizeof value), type};
        append(&head, sizeof head);
        append(&value, sizeof value);
        return *this;
    }
    /// Sends it on a new socket, which is invalid where that fails (errno is set).
    [[nodiscard]] Fd send() {
        const auto size = static_cast<std::uint32_t>(length_);
        std::memcpy(bytes_.data(), &size, sizeof size);  // nlmsg_len is the header's first field
        Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
        if (!socket || ::send(socket.get(), bytes_.data(), length_, 0) < 0) return Fd{};
        return socket;
    }
    /// 0, or an errno.
    [[nodiscard]] int run() {
        const auto socket = send();
        if (!socket) return errno;
        std::array<std::uint8_t, 1024> answer{};
        const auto count = ::recv(socket.get(), answer.data(), answer.size(), 0);
        if (count < 0) return errno;
        nlmsgerr said{};
        if (static_cast<std::size_t>(count) < sizeof(nlmsghdr) + sizeof said) return EPROTO;
        std::memcpy(&said, answer.data() + sizeof(nlmsghdr), sizeof said);
        return -said.error;
    }

  private:
    void append(const void* from, std::size_t size) {
        std::memcpy(bytes_.data() + length_, from, size);
        length_ = aligned(length_ + size);
    }
    std::array<std::uint8_t, 256> bytes_{};
    std::size_t length_ = 0;
};

std::uint8_t address_family(std::uint8_t family) {
    return family == 4 ? AF_INET : AF_INET6;
}

Request rule_request(std::uint8_t family, std::uint16_t type, std::uint16_t flags) {
    fib_rule_hdr body{};
    body.family = address_family(family);
    body.action = FR_ACT_TO_TBL;
    Request request(type, static_cast<std::uint16_t>(NLM_F_ACK | flags), body);
    request.attribute(FRA_PRIORITY, policy_priority)
        .attribute(FRA_FWMARK, LIMPET_MARK_TRANSPARENT)
        .attribute(FRA_FWMASK, 0xffffffff)
        .attribute(FRA_TABLE, policy_table);
    return request;
}

Request route_request(std::uint8_t family, std::uint16_t type, std::uint16_t flags) {
    rtmsg body{};
    body.rtm_family = address_family(family);
    body.rtm_protocol = RTPROT_STATIC;
    body.rtm_scope = RT_SCOPE_HOST;
    body.rtm_type = RTN_LOCAL;
    Request request(type, static_cast<std::uint16_t>(NLM_F_ACK | flags), body);
    request.attribute(RTA_TABLE, policy_table).attribute(RTA_OIF, if_nametoindex("lo"));
    return request;
}

std::string advice_for(int number, std::uint8_t family) {
    switch (number) {
        case EPERM:
        case EACCES:
            return "run as root, or give CAP_NET_ADMIN";
        case ENETDOWN:
            return "the loopback device is down: ip link set lo up";
        case EAFNOSUPPORT:
        case EOPNOTSUPP:
        case ENODEV:
            return family == 6 ? "is IPv6 switched off on this host?" : "this kernel has no policy routing";
        default:
            return {};
    }
}

Result<bool> add(std::uint8_t family) {
    constexpr std::uint16_t fresh = NLM_F_CREATE | NLM_F_EXCL;
    const std::string version = family == 4 ? "IPv4" : "IPv6";
    // The route first: a rule without it would send marked packets on to the next rule.
    const int route = route_request(family, RTM_NEWROUTE, fresh).run();
    if (route != 0 && route != EEXIST)
        return fail_errno("adding the " + version + " route of transparent pools", route,
                          advice_for(route, family));
    const int rule = rule_request(family, RTM_NEWRULE, fresh).run();
    if (rule != 0 && rule != EEXIST)
        return fail_errno("adding the " + version + " rule of transparent pools", rule,
                          advice_for(rule, family));
    return route == 0 || rule == 0;
}

/// Whether a message of a dump of rules tells of ours.
bool is_our_rule(const std::uint8_t* message, std::size_t length) {
    bool mark = false;
    bool priority = false;
    std::size_t at = sizeof(nlmsghdr) + sizeof(fib_rule_hdr);
    while (at + sizeof(nlattr) <= length) {
        nlattr head;
        std::memcpy(&head, message + at, sizeof head);
        if (head.nla_len < sizeof head || at + head.nla_len > length) break;
        std::uint32_t value = 0;
        if (head.nla_len == sizeof head + sizeof value) {
            std::memcpy(&value, message + at + sizeof head, sizeof value);
            mark = mark || (head.nla_type == FRA_FWMARK && value == LIMPET_MARK_TRANSPARENT);
            priority = priority || (head.nla_type == FRA_PRIORITY && value == policy_priority);
        }
        at += aligned(head.nla_len);
    }
    return mark && priority;
}

Result<bool> has_rule(std::uint8_t family) {
    fib_rule_hdr body{};
    body.family = address_family(family);
    const auto socket = Request(RTM_GETRULE, NLM_F_DUMP, body).send();
    std::array<std::uint8_t, 32768> answer{};
    bool found = false;
    for (;;) {
        const auto count = socket ? ::recv(socket.get(), answer.data(), answer.size(), 0) : -1;
        if (count < 0) return fail_errno("asking for the policy rules", errno);
        const auto size = static_cast<std::size_t>(count);
        for (std::size_t at = 0; at + sizeof(nlmsghdr) <= size;) {
            nlmsghdr header;
            std::memcpy(&header, answer.data() + at, sizeof header);
            if (header.nlmsg_type == NLMSG_DONE) return found;
            if (header.nlmsg_type == NLMSG_ERROR) return fail("this kernel has no policy rules");
            if (header.nlmsg_len < sizeof header || at + header.nlmsg_len > size) return found;
            found = found || is_our_rule(answer.data() + at, header.nlmsg_len);
            at += aligned(header.nlmsg_len);
        }
    }
}

/// The larger of the settings for all interfaces and for this one: that is how the kernel takes both.
int ipv4_setting(const std::string& interface, const std::string& name) {
    int most = 0;
    for (const auto& scope : {std::string("all"), interface}) {
        std::ifstream file("/proc/sys/net/ipv4/conf/" + scope + "/" + name);
        int value = 0;
        if (file >> value) most = std::max(most, value);
    }
    return most;
}

}  // namespace

Result<bool> add_policy(Families families) {
    bool added = false;
    for (const std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}}) {
        if (!(family == 4 ? families.v4 : families.v6)) continue;
        const auto done = add(family);
        if (!done) return done;
        added = added || *done;
    }
    return added;
}

Result<bool> policy_rules() {
    const auto v4 = has_rule(4);
    if (!v4 || *v4) return v4;
    const auto v6 = has_rule(6);  // a host without IPv6 has none
    return v6 && *v6;
}

void remove_policy() {
    for (const std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}}) {
        // Somebody may have added the rule a second time; ENOENT ends this, or what else is wrong.
        while (rule_request(family, RTM_DELRULE, 0).run() == 0) {
        }
        static_cast<void>(route_request(family, RTM_DELROUTE, 0).run());
    }
}

std::string policy_obstacle(const std::string& interface) {
    // The kernel would look the way back to the broker up with the mark on, and find it to be this host.
    if (ipv4_setting(interface, "src_valid_mark") != 0)
        return "net.ipv4.conf." + interface +
               ".src_valid_mark (or that of all) is 1: packets of transparent pools are dropped as martians";
    return {};
}

std::string policy_condition(const std::string& interface) {
    if (ipv4_setting(interface, "rp_filter") == 1)
        return "rp_filter is strict: hosts must answer through the interface that leads to them";
    return {};
}

}  // namespace limpet::dataplane
