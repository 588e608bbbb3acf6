// SPDX-License-Identifier: Apache-2.0
#include "dataplane/attachment.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>

#include <cstring>

namespace limpet::dataplane {
namespace {

// Where our filters sit among others on the same hook.
constexpr std::uint32_t tc_handle = 0x4c;
constexpr std::uint32_t tc_priority = 76;

bpf_tc_hook hook_on(const Interface& interface, bpf_tc_attach_point point) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = static_cast<int>(interface.index);
    hook.attach_point = point;
    return hook;
}

bpf_tc_opts our_filter() {
    bpf_tc_opts options{};
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

std::uint32_t xdp_program(const Interface& interface) {
    bpf_xdp_query_opts query{};
    query.sz = sizeof query;
    return bpf_xdp_query(static_cast<int>(interface.index), XDP_FLAGS_DRV_MODE, &query) == 0
               ? query.drv_prog_id
               : 0;
}

/// 0, or a negative errno. Replaces a program of ours, never somebody else's.
int attach_xdp(const Interface& interface, int program) {
    const auto current = xdp_program(interface);
    bpf_xdp_attach_opts options{};
    options.sz = sizeof options;
    const auto index = static_cast<int>(interface.index);
    if (current == 0)
        return bpf_xdp_attach(index, program, XDP_FLAGS_DRV_MODE | XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr);
    if (program_name(current) != "limpet_xdp") return -EBUSY;
    const Fd old(bpf_prog_get_fd_by_id(current));
    options.old_prog_fd = old.get();
    return bpf_xdp_attach(index, program, XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options);
}

void detach_xdp(const Interface& interface) {
    const auto current = xdp_program(interface);
    if (current == 0 || program_name(current) != "limpet_xdp") return;
    const Fd old(bpf_prog_get_fd_by_id(current));
    bpf_xdp_attach_opts options{};
    options.sz = sizeof options;
    options.old_prog_fd = old.get();
    bpf_xdp_detach(static_cast<int>(interface.index), XDP_FLAGS_DRV_MODE | XDP_FLAGS_REPLACE, &options);
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
    error = attach_xdp(interface, object.program("limpet_xdp"));
    if (error == 0) {
        view.mode = Mode::xdp;
        if (!interface.forwarding)
            view.note = "IP forwarding is off: XDP leaves its packets to TC (sysctl net.ipv4.conf." +
                        interface.name + ".forwarding=1 and the IPv6 one let XDP do it)";
    } else if (error == -EBUSY || error == -EEXIST) {
        view.note = "another XDP program is attached: TC does all the work";
    } else {
        view.note = std::string("no native XDP (") + std::strerror(-error) + "): TC does all the work";
    }
    return view;
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
