// SPDX-License-Identifier: Apache-2.0
#include "dataplane/flow_maps.h"

#include <bpf/bpf.h>

#include <cstring>
#include <vector>

#include "base/reason.h"

namespace limpet::dataplane {
namespace {

/// The tick at which an entry is made is its generation; 0 is kept for "any". What comes back within a tick
/// has a later one all the same (RENEW).
std::uint32_t next_generation() {
    const auto tick = tick_now();
    return tick != 0 ? tick : 1;
}

limpet_command single(const FlowKey& key, limpet_operation operation) {
    limpet_command command{};
    command.operation = static_cast<std::uint8_t>(operation);
    command.family = key.family;
    command.leg[0].present = 1;
    std::memcpy(command.leg[0].key, key.bytes.data(), key.bytes.size());
    return command;
}

template <class Value>
int insert(int map, const FlowKey& key, std::uint8_t flags, std::uint32_t generation, std::uint8_t syn_edit) {
    Value value{};
    value.flow.state = LIMPET_STATE_PENDING;
    value.flow.flags = flags;
    value.flow.created = generation;
    value.flow.syn_edit = syn_edit;
    value.flow.tick = tick_now();
    return bpf_map_update_elem(map, key.bytes.data(), &value, BPF_NOEXIST);
}

template <class Key, class Value>
bool visit_batch(int map, FlowMaps::Cursor& cursor, std::uint32_t count,
                 const std::function<bool(const FlowKey&, const FlowEntry&)>& visitor) {
    std::vector<Key> keys(count);
    std::vector<Value> values(count);
    std::uint64_t next = 0;
    std::uint32_t found = count;
    const int result = bpf_map_lookup_batch(map, cursor.started ? &cursor.position : nullptr, &next,
                                            keys.data(), values.data(), &found, nullptr);
    const bool more = result == 0;
    if (result != 0 && errno != ENOENT) found = 0;
    cursor.started = more;
    cursor.position = next;
    for (std::uint32_t at = 0; at < found; ++at) {
        FlowKey key;
        key.family = cursor.family;
        std::memcpy(key.bytes.data(), &keys[at], sizeof(Key));
        if (!visitor(key, FlowEntry::from(values[at]))) {
            cursor.started = false;
            return false;
        }
    }
    return more;
}

}  // namespace

FlowMaps::Created FlowMaps::create(const FlowKey& key, std::uint8_t flags, std::uint32_t& generation,
                                   std::uint8_t syn_edit) {
    generation = next_generation();
    const int result = key.family == 4 ? insert<limpet_flow4>(flows4_, key, flags, generation, syn_edit)
                                       : insert<limpet_flow6>(flows6_, key, flags, generation, syn_edit);
    if (result == 0) return Created::made;
    if (errno == EEXIST) return Created::exists;
    return errno == E2BIG || errno == ENOMEM ? Created::full : Created::failed;
}

bool FlowMaps::renew(const FlowKey& key, std::uint8_t flags, std::uint32_t& generation,
                     std::uint8_t syn_edit) {
    generation = next_generation();
    const std::lock_guard guard(remake_);
    auto command = single(key, LIMPET_OPERATION_RENEW);
    command.leg[0].flags = flags;
    command.leg[0].created = generation;
    command.leg[0].syn_edit = syn_edit;
    if (!run(command)) return false;
    if (command.leg[0].result == LIMPET_RESULT_OK) {
        generation = command.leg[0].created;
        return true;
    }
    return command.leg[0].result == LIMPET_RESULT_MISSING &&
           create(key, flags, generation, syn_edit) == Created::made;
}

Result<void> FlowMaps::run(limpet_command& command) const {
    auto options = bpf_test_run_opts();
    options.sz = sizeof options;
    options.data_in = options.data_out = &command;
    options.data_size_in = options.data_size_out = sizeof command;
    if (bpf_prog_test_run_opts(transition_, &options) != 0)
        return fail_errno("changing the state of a flow", errno);
    if (options.retval != 0) return fail("changing the state of a flow: the program refused the command");
    return {};
}

bool FlowMaps::retire(const FlowKey& key, std::uint32_t generation, Reason reason) const {
    auto command = single(key, LIMPET_OPERATION_RETIRE);
    command.leg[0].created = generation;
    command.leg[0].close_reason = static_cast<std::uint8_t>(reason);
    return run(command) && command.leg[0].result == LIMPET_RESULT_OK;
}

bool FlowMaps::remove(const FlowKey& key, std::uint32_t generation) {
    const std::lock_guard guard(remake_);
    auto command = single(key, LIMPET_OPERATION_READ);
    if (!run(command) || command.leg[0].result != LIMPET_RESULT_OK) return false;
    if (command.leg[0].state != LIMPET_STATE_RETIRED) return false;
    if (generation != 0 && command.leg[0].created != generation) return false;
    return bpf_map_delete_elem(map(key.family), key.bytes.data()) == 0;
}

std::optional<FlowEntry> FlowMaps::read(const FlowKey& key) const {
    if (key.family == 4) {
        limpet_flow4 value{};
        if (bpf_map_lookup_elem(flows4_, key.bytes.data(), &value) != 0) return std::nullopt;
        return FlowEntry::from(value);
    }
    limpet_flow6 value{};
    if (bpf_map_lookup_elem(flows6_, key.bytes.data(), &value) != 0) return std::nullopt;
    return FlowEntry::from(value);
}

bool FlowMaps::read_raw(const FlowKey& key, std::span<std::uint8_t> value) const {
    const std::size_t size = key.family == 4 ? sizeof(limpet_flow4) : sizeof(limpet_flow6);
    return value.size() >= size && bpf_map_lookup_elem(map(key.family), key.bytes.data(), value.data()) == 0;
}

bool FlowMaps::visit(Cursor& cursor, std::uint32_t count,
                     const std::function<bool(const FlowKey&, const FlowEntry&)>& visitor) const {
    if (cursor.family == 4) return visit_batch<limpet_key4, limpet_flow4>(flows4_, cursor, count, visitor);
    return visit_batch<limpet_key6, limpet_flow6>(flows6_, cursor, count, visitor);
}

void FlowMaps::visit_all(const std::function<bool(const FlowKey&, const FlowEntry&)>& visitor) const {
    bool stopped = false;
    for (std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}}) {
        Cursor cursor;
        cursor.family = family;
        while (!stopped && visit(cursor, 4096, [&](const FlowKey& key, const FlowEntry& entry) {
            stopped = !visitor(key, entry);
            return !stopped;
        })) {
        }
    }
}

}  // namespace limpet::dataplane
