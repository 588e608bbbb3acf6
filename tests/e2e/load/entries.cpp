// SPDX-License-Identifier: Apache-2.0
// What really lies in the pinned maps of flows, past the daemon and its own counts:
//   entries PATH...    one line of JSON with the number of entries in each state
#include <bpf/bpf.h>
#include <limpet/flow_abi.h>

#include <array>

#include "common.h"

namespace {

using namespace load;

constexpr std::array names{"free", "pending", "hold", "active", "closing", "retired"};

/// Adds the entries of one map. One that changes meanwhile may be counted twice or not at all.
void count_map(const char* path, std::array<unsigned, names.size()>& states) {
    const Fd map(bpf_obj_get(path));
    if (!map.open()) fail(path);
    bpf_map_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(map.get(), &info, &length) != 0) fail(path);
    std::vector<std::uint8_t> key(info.key_size), next(info.key_size), value(info.value_size);
    const void* previous = nullptr;
    while (bpf_map_get_next_key(map.get(), previous, next.data()) == 0) {
        key = next;
        previous = key.data();
        if (bpf_map_lookup_elem(map.get(), key.data(), value.data()) != 0) continue;
        ++states[std::min<std::size_t>(value[offsetof(limpet_flow, state)], names.size() - 1)];
    }
}

}  // namespace

int main(int count, char** values) {
    std::array<unsigned, names.size()> states{};
    for (int i = 1; i < count; ++i) count_map(values[i], states);
    for (std::size_t i = 0; i < names.size(); ++i)
        std::printf("%c\"%s\":%u", i == 0 ? '{' : ',', names[i], states[i]);
    std::printf("}\n");
    return 0;
}
