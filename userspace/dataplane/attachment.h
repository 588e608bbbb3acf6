// SPDX-License-Identifier: Apache-2.0
// Programs on interfaces: TC by netlink; XDP through libxdp's dispatcher where there can be one, otherwise by
// netlink too. They outlive the daemon and are replaced without a gap.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/bpf_object.h"
#include "dataplane/dataplane.h"
#include "dataplane/interfaces.h"

namespace limpet::dataplane {

/// Attaches TC on both sides, and native XDP where `mode` wants it and the device has it. The view says what
/// came of it; an interface on which TC cannot be attached has the mode relay.
[[nodiscard]] InterfaceView attach(const Interface& interface, Mode mode, const BpfObject& object);
/// Lets XDP send to this interface, or leaves what is for it to TC: where XDP is not attached, and where the
/// driver (or, of a veth, the other end) says that it takes no redirected frames, which would be lost without
/// a word.
bool follow_redirect(const InterfaceView& view, const BpfObject& object);
/// Removes programs of ours; others' stay.
void detach(const Interface& interface);
/// The id of our TC ingress program on this interface; 0: none.
[[nodiscard]] std::uint32_t attached_program(const Interface& interface);

}  // namespace limpet::dataplane
