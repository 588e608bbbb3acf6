// SPDX-License-Identifier: Apache-2.0
// What this kernel and its devices can do, found by trying, not by version.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cstring>

#include "dataplane/bpf_object.h"
#include "dataplane/dataplane.h"
#include "dataplane/device_features.h"
#include "dataplane/interfaces.h"
#include "dataplane/policy_routing.h"
#include "dataplane/xdp_dispatcher.h"

namespace limpet::dataplane {
namespace {

Feature from_probe(std::string name, int result, std::string detail) {
    Feature feature{std::move(name), result == 1, std::move(detail)};
    if (result < 0) feature.detail = std::strerror(-result);
    return feature;
}

Feature repair_feature() {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    Feature feature{"repair", false, "sockets hand their connections over (TCP_REPAIR)"};
    feature.available = setsockopt(socket.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) == 0;
    if (!feature.available) feature.detail = std::string(std::strerror(errno)) + ": give CAP_NET_ADMIN";
    return feature;
}

Feature tls_feature() {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Feature feature{"ktls", false, "TLS records in the kernel"};
    // An unconnected socket is refused with ENOTCONN where the protocol is known, with ENOENT where it is
    // not.
    feature.available = setsockopt(socket.get(), IPPROTO_TCP, TCP_ULP, "tls", 4) == 0 || errno == ENOTCONN;
    if (!feature.available) feature.detail = "not in this kernel: TLS is done in userspace";
    return feature;
}

/// Brokers see the client's address: that of another host on a socket of ours.
Feature transparent_feature() {
    Feature feature{"transparent", false, "pools whose brokers see the client's own address"};
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    feature.available = setsockopt(socket.get(), SOL_IP, IP_TRANSPARENT, &on, sizeof on) == 0;
    if (!feature.available)
        feature.detail = std::string("IP_TRANSPARENT: ") + std::strerror(errno) + ": give CAP_NET_ADMIN";
    else if (const auto rules = policy_rules(); !rules)
        feature = {feature.name, false, rules.error().line()};
    return feature;
}

/// libxdp's dispatcher lets several XDP programs share a device.
Feature dispatcher_feature() {
    Feature feature{"dispatcher", true, "several XDP programs on one device (libxdp)"};
    if (const auto usable = dispatcher_usable(); !usable) {
        feature.available = false;
        feature.detail = usable.error().line() + ": one XDP program a device";
    }
    return feature;
}

Feature xdp_feature(const Interface& interface) {
    Feature feature{"xdp-native " + interface.name, false, "driver " + interface.driver};
    if (const auto device = device_xdp(interface.index)) {
        feature.available = device->native && device->redirect;
        if (!feature.available) feature.detail += " has none";
        return feature;
    }
    // Older kernels do not tell; to attach something only to find out would disturb the device.
    feature.available = true;
    feature.detail += ": this kernel does not tell, serve finds out";
    return feature;
}

}  // namespace

std::pair<Mode, std::string> automatic_mode(const std::string& name) {
    const auto interface = find_interface(name);
    if (!interface) return {Mode::relay, interface.error().what};
    if (!interface->ethernet) return {Mode::relay, "not an Ethernet device"};
    if (interface->driver == "veth" || interface->driver == "bridge")
        return {Mode::tc, "on a " + interface->driver + " device TC keeps large segments whole, XDP cannot"};
    if (const auto device = device_xdp(interface->index); device && !(device->native && device->redirect))
        return {Mode::tc, "the driver " + interface->driver + " has no native XDP"};
    if (!interface->forwarding)
        return {Mode::tc, "IP forwarding is off, without which XDP cannot look up routes"};
    return {Mode::xdp, "native XDP where the driver has it, TC otherwise"};
}

std::vector<Feature> probe_features(const std::vector<std::string>& names) {
    quiet_libbpf();
    std::vector<Feature> features;
    features.push_back({"root", geteuid() == 0, geteuid() == 0 ? "" : "run as root"});
    features.push_back(
        {"btf", access("/sys/kernel/btf/vmlinux", R_OK) == 0, "the kernel describes its types"});
    features.push_back(from_probe("tc", libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SCHED_CLS, nullptr),
                                  "programs on the traffic control hooks: the whole data path"));
    features.push_back(from_probe("xdp", libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_XDP, nullptr),
                                  "programs in the driver: the data path's accelerator"));
    features.push_back(from_probe("ringbuf", libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr),
                                  "ring buffers, for packets that are parked"));
    features.push_back(repair_feature());
    features.push_back(transparent_feature());
    features.push_back(tls_feature());
    features.push_back(dispatcher_feature());
    std::vector<Interface> interfaces;
    if (names.empty()) interfaces = addressed_interfaces();
    for (const auto& name : names) {
        if (const auto interface = find_interface(name)) interfaces.push_back(*interface);
    }
    for (const auto& interface : interfaces) {
        features.push_back(xdp_feature(interface));
        features.push_back({"xdp-generic " + interface.name, interface.ethernet,
                            "never used: it comes after the kernel has merged packets; TC does its work"});
        features.push_back({"forwarding " + interface.name, interface.forwarding,
                            interface.forwarding ? "" : "off: XDP would leave everything to TC"});
        const auto obstacle = policy_obstacle(interface.name);
        features.push_back({"transparent " + interface.name, obstacle.empty(),
                            obstacle.empty() ? policy_condition(interface.name) : obstacle});
        const auto [mode, why] = automatic_mode(interface.name);
        features.push_back(
            {"auto " + interface.name, mode != Mode::relay, std::string(mode_name(mode)) + ": " + why});
    }
    return features;
}

}  // namespace limpet::dataplane
