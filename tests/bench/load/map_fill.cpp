// SPDX-License-Identifier: Apache-2.0
// A hash map as the flow maps are, filled with the elements of so many connections and nothing else: what the
// kernel's memory grows by is theirs alone.
//
//   map_fill --family 4|6 --connections N
//
// Prints one line of JSON when the map is empty; a line on standard input fills it and is answered; ends at
// the end of standard input.
#include <bpf/bpf.h>

#include <iostream>

#include "common.h"
#include "limpet/flow_abi.h"

namespace {

using namespace load;

constexpr unsigned directions = 2;

template <class Key, class Value>
void fill_when_told(std::uint32_t connections) {
    LIBBPF_OPTS(bpf_map_create_opts, options);
    options.map_flags = BPF_F_NO_PREALLOC;
    const int map = bpf_map_create(BPF_MAP_TYPE_HASH, "bench_fill", sizeof(Key), sizeof(Value),
                                   directions * connections, &options);
    if (map < 0) fail("bpf_map_create");
    std::printf("{\"elements\":0}\n");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        for (std::uint32_t i = 0; i < directions * connections; ++i) {
            Key key{};
            const Value value{};
            std::memcpy(&key, &i, sizeof i);
            if (bpf_map_update_elem(map, &key, &value, BPF_ANY) != 0) fail("bpf_map_update_elem");
        }
        std::printf("{\"elements\":%u}\n", directions * connections);
        std::fflush(stdout);
    }
}

}  // namespace

int main(int count, char** values) {
    const Arguments arguments(count, values, 1);
    const auto connections = static_cast<std::uint32_t>(arguments.count("connections", 1000));
    if (arguments.count("family", 4) == 4)
        fill_when_told<limpet_key4, limpet_flow4>(connections);
    else
        fill_when_told<limpet_key6, limpet_flow6>(connections);
    return 0;
}
