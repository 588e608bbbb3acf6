// SPDX-License-Identifier: Apache-2.0
// The flow entries as userspace sees them: made once, changed through the transition program, deleted once.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <span>

#include "base/reason.h"
#include "base/result.h"
#include "dataplane/flow_key.h"

namespace limpet::dataplane {

class FlowMaps {
  public:
    /// The descriptors stay the caller's and must outlive this object.
    FlowMaps(int flows4, int flows6, int transition_program)
        : flows4_(flows4), flows6_(flows6), transition_(transition_program) {}

    enum class Created { made, exists, full, failed };
    /// Makes a PENDING entry. `generation` receives what retire() and remove() need to know it by;
    /// `syn_edit` (LIMPET_SYN_*) is what the egress program takes out of our own SYN on this leg.
    Created create(const FlowKey& key, std::uint8_t flags, std::uint32_t& generation,
                   std::uint8_t syn_edit = 0);
    /// Makes a RETIRED entry PENDING again, for a tuple that came back within its grace; false: it is in
    /// another state.
    bool renew(const FlowKey& key, std::uint8_t flags, std::uint32_t& generation, std::uint8_t syn_edit = 0);

    /// Runs the transition program on one connection; results are in the legs of `command`.
    Result<void> run(limpet_command& command) const;

    /// RETIRED, from whatever state; false: not there, or another generation (0: any).
    bool retire(const FlowKey& key, std::uint32_t generation, Reason reason) const;
    /// Deletes an entry that is RETIRED and still of this generation (0: any).
    bool remove(const FlowKey& key, std::uint32_t generation);

    [[nodiscard]] std::optional<FlowEntry> read(const FlowKey& key) const;

    /// The entry as it lies in its map, for the translator; false: not there.
    bool read_raw(const FlowKey& key, std::span<std::uint8_t> value) const;

    /// A walk through one family's map in pieces, so that a large map is never held up.
    struct Cursor {
        std::uint8_t family = 4;
        bool started = false;
        std::uint64_t position = 0;  // opaque to all but the kernel
    };
    /// Visits up to about `count` entries; false when the family's end was reached (the cursor is reset
    /// then).
    bool visit(Cursor& cursor, std::uint32_t count,
               const std::function<bool(const FlowKey&, const FlowEntry&)>& visitor) const;
    /// Visits everything of both families.
    void visit_all(const std::function<bool(const FlowKey&, const FlowEntry&)>& visitor) const;

  private:
    [[nodiscard]] int map(std::uint8_t family) const { return family == 4 ? flows4_ : flows6_; }

    int flows4_;
    int flows6_;
    int transition_;
    std::mutex remake_;  // renewing and deleting the same tuple exclude each other
};

}  // namespace limpet::dataplane
