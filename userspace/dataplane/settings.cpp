// SPDX-License-Identifier: Apache-2.0
#include "dataplane/settings.h"

#include <bpf/bpf.h>
#include <sys/random.h>

#include <ctime>

namespace limpet::dataplane {
namespace {

constexpr std::uint32_t only_element = 0;

Result<limpet_settings> read_settings(const BpfObject& object) {
    limpet_settings settings{};
    if (bpf_map_lookup_elem(object.map("limpet_setting"), &only_element, &settings) != 0)
        return fail_errno("reading the data path's settings", errno);
    return settings;
}

Result<void> write_settings(const BpfObject& object, const limpet_settings& settings) {
    if (bpf_map_update_elem(object.map("limpet_setting"), &only_element, &settings, BPF_ANY) != 0)
        return fail_errno("writing the data path's settings", errno);
    return {};
}

}  // namespace

Result<limpet_settings> settle_settings(const BpfObject& object, bool transparent, std::uint64_t hash_seed) {
    auto settings = read_settings(object);
    if (!settings) return settings;
    settings->transparent = transparent ? 1 : 0;
    if (settings->abi_version == 0) {
        settings->abi_version = LIMPET_ABI_VERSION;
        settings->network_namespace = network_namespace();
        settings->started = static_cast<std::uint64_t>(std::time(nullptr));
        if (getrandom(settings->hash_key, sizeof settings->hash_key, 0) != sizeof settings->hash_key)
            return fail_errno("drawing a random key", errno);
        if (hash_seed != 0) settings->hash_key[0] = hash_seed;
    }
    if (auto written = write_settings(object, *settings); !written) return std::unexpected(written.error());
    return settings;
}

Result<void> set_transparent(const BpfObject& object) {
    auto settings = read_settings(object);
    if (!settings) return std::unexpected(settings.error());
    settings->transparent = 1;
    return write_settings(object, *settings);
}

}  // namespace limpet::dataplane
