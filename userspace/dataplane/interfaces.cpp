// SPDX-License-Identifier: Apache-2.0
#include "dataplane/interfaces.h"

#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>

#include "base/fd.h"

namespace limpet::dataplane {
namespace {

struct FreeAddresses {
    void operator()(ifaddrs* list) const { freeifaddrs(list); }
};
using Addresses = std::unique_ptr<ifaddrs, FreeAddresses>;

Addresses all_addresses() {
    ifaddrs* list = nullptr;
    if (getifaddrs(&list) != 0) list = nullptr;
    return Addresses(list);
}

Interface describe(const std::string& name) {
    Interface result;
    result.name = name;
    result.index = if_nametoindex(name.c_str());
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
    if (ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0) result.up = (request.ifr_flags & IFF_UP) != 0;
    if (ioctl(socket.get(), SIOCGIFHWADDR, &request) == 0)
        result.ethernet = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
    ethtool_drvinfo driver{};
    driver.cmd = ETHTOOL_GDRVINFO;
    request.ifr_data = reinterpret_cast<char*>(&driver);
    if (ioctl(socket.get(), SIOCETHTOOL, &request) == 0) result.driver = driver.driver;
    std::ifstream file("/proc/sys/net/ipv4/conf/" + name + "/forwarding");
    char digit = '0';
    result.forwarding = file.get(digit) && digit == '1';
    return result;
}

}  // namespace

std::vector<Interface> addressed_interfaces() {
    std::vector<Interface> found;
    const auto list = all_addresses();
    for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
        if (entry->ifa_addr->sa_family != AF_INET && entry->ifa_addr->sa_family != AF_INET6) continue;
        const std::string name = entry->ifa_name;
        if (std::any_of(found.begin(), found.end(), [&](const auto& known) { return known.name == name; }))
            continue;
        found.push_back(describe(name));
    }
    return found;
}

Result<Interface> find_interface(const std::string& name) {
    if (if_nametoindex(name.c_str()) == 0)
        return fail("there is no interface \"" + name + "\"", "ip link lists those that there are");
    return describe(name);
}

bool forwards_ipv6() {
    std::ifstream file("/proc/sys/net/ipv6/conf/all/forwarding");
    char digit = '0';
    return !file || (file.get(digit) && digit == '1');
}

std::vector<IpAddress> own_addresses() {
    std::vector<IpAddress> found;
    const auto list = all_addresses();
    for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr) continue;
        sockaddr_storage storage{};
        if (entry->ifa_addr->sa_family == AF_INET)
            std::memcpy(&storage, entry->ifa_addr, sizeof(sockaddr_in));
        else if (entry->ifa_addr->sa_family == AF_INET6)
            std::memcpy(&storage, entry->ifa_addr, sizeof(sockaddr_in6));
        else
            continue;
        if (const auto endpoint = Endpoint::from_sockaddr(storage)) found.push_back(endpoint->address);
    }
    return found;
}

namespace {

/// One RTM_GETROUTE question; the kernel answers with the route it would take.
struct RouteQuestion {
    nlmsghdr header{};
    rtmsg message{};
    rtattr attribute{};
    std::uint8_t address[16]{};
};

}  // namespace

Result<Route> route_to(const IpAddress& destination) {
    thread_local Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    const std::size_t size = destination.family == 4 ? 4 : 16;
    RouteQuestion question;
    question.header.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(rtmsg)) + RTA_LENGTH(size));
    question.header.nlmsg_type = RTM_GETROUTE;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    question.message.rtm_family = destination.family == 4 ? AF_INET : AF_INET6;
    question.message.rtm_dst_len = static_cast<std::uint8_t>(size * 8);
    question.attribute.rta_type = RTA_DST;
    question.attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));
    std::memcpy(question.address, destination.bytes.data(), size);
    alignas(nlmsghdr) char answer[2048];
    if (::send(socket.get(), &question, question.header.nlmsg_len, 0) < 0)
        return fail_errno("asking for the route to " + destination.text(), errno);
    const auto length = ::recv(socket.get(), answer, sizeof answer, 0);
    if (length < 0) return fail_errno("reading the route to " + destination.text(), errno);
    const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
    if (header->nlmsg_type == NLMSG_ERROR) {
        const auto* error = reinterpret_cast<const nlmsgerr*>(answer + NLMSG_HDRLEN);
        return fail_errno("looking up the route to " + destination.text(), -error->error, "add a route");
    }
    Route route;
    route.source.family = destination.family;
    const auto* attribute = reinterpret_cast<const rtattr*>(answer + NLMSG_SPACE(sizeof(rtmsg)));
    auto left = static_cast<int>(length) - static_cast<int>(NLMSG_SPACE(sizeof(rtmsg)));
    while (left >= static_cast<int>(sizeof(rtattr)) && attribute->rta_len >= sizeof(rtattr) &&
           attribute->rta_len <= left) {
        const auto* data = reinterpret_cast<const char*>(attribute) + RTA_LENGTH(0);
        if (attribute->rta_type == RTA_OIF)
            std::memcpy(&route.interface_index, data, sizeof route.interface_index);
        if (attribute->rta_type == RTA_PREFSRC) std::memcpy(route.source.bytes.data(), data, size);
        const auto step = static_cast<int>(RTA_ALIGN(attribute->rta_len));
        attribute = reinterpret_cast<const rtattr*>(reinterpret_cast<const char*>(attribute) + step);
        left -= step;
    }
    return route;
}

}  // namespace limpet::dataplane
