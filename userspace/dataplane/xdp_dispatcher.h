// SPDX-License-Identifier: Apache-2.0
// libxdp's dispatcher: a small XDP program that calls up to ten others, so that several tools can share a
// device. Ours joins it where the kernel has programs of type EXT and a lasting BPF file system holds
// libxdp's pins; elsewhere the program is attached directly (attachment.cpp).
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "dataplane/bpf_object.h"
#include "dataplane/interfaces.h"

namespace limpet::dataplane {

/// Whether a dispatcher can be used by this process, found by trying; the error says what is missing.
[[nodiscard]] Result<void> dispatcher_usable();

/// What holds an interface's native XDP hook.
enum class XdpHolder {
    nobody,
    ours,        ///< limpet_xdp, attached directly
    dispatcher,  ///< libxdp's, with its pins where this process can see them: it can be joined and left
    other,
};
struct XdpState {
    XdpHolder holder = XdpHolder::nobody;
    std::uint32_t program = 0;  ///< id of the program on the hook
    bool has_ours = false;      ///< directly or inside the dispatcher
};
[[nodiscard]] XdpState xdp_state(const Interface& interface);

/// Puts our program into the interface's dispatcher, which is made where there is none; other programs in it
/// stay. An earlier daemon's program in it is taken out afterwards.
[[nodiscard]] Result<void> join_dispatcher(const Interface& interface, const BpfObject& object);
/// Takes our programs out of the interface's dispatcher; the last one takes the dispatcher with it.
void leave_dispatcher(const Interface& interface);

}  // namespace limpet::dataplane
