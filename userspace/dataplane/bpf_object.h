// SPDX-License-Identifier: Apache-2.0
// The embedded BPF object: opened, given its maps, loaded. Maps of an earlier daemon are taken over from the
// programs that are still attached, or from pins.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace limpet::dataplane {

/// Maps that outlive a daemon, by name.
inline constexpr const char* lasting_maps[] = {"limpet_flows4", "limpet_flows6", "limpet_counters",
                                               "limpet_setting"};

using MapSet = std::map<std::string, Fd>;

struct ObjectCloser {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};

using BpfObjectPointer = std::unique_ptr<bpf_object, ObjectCloser>;

/// The embedded object, opened and not loaded.
[[nodiscard]] Result<BpfObjectPointer> open_embedded();

/// The loaded programs and maps of this daemon.
class BpfObject {
  public:
    /// Loads. `adopted` maps are used instead of new ones; `max_flows` sizes new flow maps.
    [[nodiscard]] static Result<BpfObject> load(std::uint32_t max_flows, const MapSet& adopted);

    [[nodiscard]] int program(const char* name) const;
    [[nodiscard]] int map(const char* name) const;

  private:
    BpfObjectPointer object_;
};

/// The lasting maps that a program uses, by name; empty when it is not one of ours.
[[nodiscard]] MapSet maps_of_program(std::uint32_t program_id);
/// The name the kernel keeps of a program; empty when it is gone.
[[nodiscard]] std::string program_name(std::uint32_t program_id);

/// Makes `folder` on a BPF file system, mounting one where none is. The pins of this ABI lie in its "v1".
[[nodiscard]] Result<std::string> prepare_pins(const std::string& folder);
[[nodiscard]] std::string pin_folder(const std::string& folder);
[[nodiscard]] MapSet pinned_maps(const std::string& folder);
[[nodiscard]] Result<void> pin_maps(const std::string& folder, const BpfObject& object);
void remove_pins(const std::string& folder);

/// Lets libbpf's messages through to the log at debug level only: what matters is returned as an error.
void quiet_libbpf();

/// Inode of this process's network namespace: maps of another one are never taken over.
[[nodiscard]] std::uint64_t network_namespace();

}  // namespace limpet::dataplane
