// SPDX-License-Identifier: Apache-2.0
#include "dataplane/attachment.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>

#include <cstring>

#include "dataplane/device_features.h"
#include "dataplane/xdp_dispatcher.h"

namespace limpet::dataplane {
namespace {

// Where our filters sit among others on the same hook.
constexpr std::uint32_t tc_handle = 0x4c;
constexpr std::uint32_t tc_priority = 76;

bpf_tc_hook hook_on(const Interface& interface, bpf_tc_attach_point point) {
    auto hook = bpf_tc_hook();  // not {}: libbpf refuses padding that is not zero
    hook.sz = sizeof hook;
    hook.ifindex = static_cast<int>(interface.index);
    hook.attach_point = point;
    return hook;
}

bpf_tc_opts our_filter() {
    auto options = bpf_tc_opts();
    options.sz = sizeof options;
    options.handle = tc_handle;
    options.priority = tc_priority;
    return options;
}

int attach_tc(const Interface& interface, bpf_tc_attach_point point, int program) {
    auto both = hook_on(interface, static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    if (const int error = bpf_tc_hook_create(&both); error != 0 && error != -EEXIST) return error;
    const auto hook = hook_on(interface, point);
    auto options = our_filter();
    options.prog_fd = program;
    options.flags = BPF_TC_F_REPLACE;
    return bpf_tc_attach(&hook, &options);
}

/// 0, or a negative errno. Replaces a program of ours atomically, never somebody else's.
int attach_directly(const Interface& interface, const XdpState& current, int program) {
    auto options = bpf_xdp_attach_opts();
    options.sz = sizeof options;
    const auto index = static_cast<int>(interface.index);
    if (current.holder == XdpHolder::nobody)
        return bpf_xdp_attach(index, program, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr);
    if (current.holder != XdpHolder::ours) return -EBUSY;
    const Fd old(bpf_prog_get_fd_by_id(current.program));
    options.old_prog_fd = old.get();
    return bpf_xdp_attach(index, program, XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options);
}

void detach_directly(const Interface& interface, std::uint32_t program) {
    const Fd old(bpf_prog_get_fd_by_id(program));
    auto options = bpf_xdp_attach_opts();
    options.sz = sizeof options;
    options.old_prog_fd = old.get();
    bpf_xdp_detach(static_cast<int>(interface.index), XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options);
}

void detach_xdp(const Interface& interface) {
    const auto state = xdp_state(interface);
    if (state.holder == XdpHolder::ours) detach_directly(interface, state.program);
    if (state.holder == XdpHolder::dispatcher && state.has_ours) leave_dispatcher(interface);
}

std::string forwarding_note(const Interface& interface) {
    if (interface.forwarding) return {};
    return "IP forwarding is off: XDP leaves its packets to TC (sysctl net.ipv4.conf." + interface.name +
           ".forwarding=1 and the IPv6 one let XDP do it)";
}

/// Through the dispatcher where there can be one. A program of ours that an earlier daemon attached directly
/// is replaced directly: there is no atomic way from it to a dispatcher, and a hook that is empty for a
/// moment makes some devices reset their queues. (Nothing would be lost but speed: TC is always attached
/// behind XDP and does everything that XDP does, so no packet of a flow reaches the host's TCP in between.)
void attach_xdp(const Interface& interface, const BpfObject& object, InterfaceView& view) {
    const auto current = xdp_state(interface);
    const bool joinable = current.holder == XdpHolder::nobody || current.holder == XdpHolder::dispatcher;
    std::string refused;
    if (joinable && dispatcher_usable()) {
        if (const auto joined = join_dispatcher(interface, object); !joined) refused = joined.error().line();
        const auto now = xdp_state(interface);  // libxdp may have attached it alone
        view.dispatcher = now.holder == XdpHolder::dispatcher && now.has_ours;
        if (now.has_ours) {
            view.mode = Mode::xdp;
            view.note = refused.empty() ? forwarding_note(interface) : refused;
            return;
        }
    }
    const int error = attach_directly(interface, xdp_state(interface), object.program("limpet_xdp"));
    if (error == 0) {
        view.mode = Mode::xdp;
        view.note = forwarding_note(interface);
    } else if (!refused.empty()) {
        view.note = refused + ": TC does all the work";
    } else if (error == -EBUSY || error == -EEXIST) {
        view.note = "another XDP program is attached: TC does all the work";
    } else {
        view.note = std::string("no native XDP (") + std::strerror(-error) + "): TC does all the work";
    }
}

}  // namespace

InterfaceView attach(const Interface& interface, Mode mode, const BpfObject& object) {
    InterfaceView view;
    view.name = interface.name;
    view.index = interface.index;
    if (!interface.ethernet) {
        view.note = "not an Ethernet device: its connections are relayed";
        return view;
    }
    int error = attach_tc(interface, BPF_TC_INGRESS, object.program("limpet_ingress"));
    if (error == 0) error = attach_tc(interface, BPF_TC_EGRESS, object.program("limpet_egress"));
    if (error != 0) {
        view.note = std::string("attaching TC programs: ") + std::strerror(-error);
        return view;
    }
    view.mode = Mode::tc;
    const bool wanted =
        mode == Mode::xdp || (mode == Mode::automatic && automatic_mode(interface.name).first == Mode::xdp);
    if (!wanted) {
        detach_xdp(interface);
        return view;
    }
    attach_xdp(interface, object, view);
    return view;
}

bool follow_redirect(const InterfaceView& view, const BpfObject& object) {
    const int map = object.map("limpet_devices");
    const std::uint32_t index = view.index;
    bool takes = view.mode == Mode::xdp;
    if (takes)
        if (const auto device = device_xdp(index)) takes = device->transmit;
    if (!takes) {
        bpf_map_delete_elem(map, &index);
        return false;
    }
    return bpf_map_update_elem(map, &index, &index, BPF_ANY) == 0;
}

void detach(const Interface& interface) {
    detach_xdp(interface);
    for (const auto point : {BPF_TC_INGRESS, BPF_TC_EGRESS}) {
        const auto hook = hook_on(interface, point);
        auto options = our_filter();
        if (bpf_tc_query(&hook, &options) != 0) continue;
        if (!program_name(options.prog_id).starts_with("limpet_")) continue;
        options = our_filter();
        bpf_tc_detach(&hook, &options);
    }
}

std::uint32_t attached_program(const Interface& interface) {
    const auto hook = hook_on(interface, BPF_TC_INGRESS);
    auto options = our_filter();
    if (bpf_tc_query(&hook, &options) != 0) return 0;
    return program_name(options.prog_id) == "limpet_ingress" ? options.prog_id : 0;
}

}  // namespace limpet::dataplane
