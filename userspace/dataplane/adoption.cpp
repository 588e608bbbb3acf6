// SPDX-License-Identifier: Apache-2.0
#include "dataplane/adoption.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "dataplane/attachment.h"
#include "dataplane/claim.h"
#include "dataplane/flow_maps.h"
#include "dataplane/interfaces.h"
#include "dataplane/policy_routing.h"

namespace limpet::dataplane {
namespace {

std::vector<Interface> all_interfaces() {
    std::vector<Interface> found;
    if (auto* list = if_nameindex(); list != nullptr) {
        for (const auto* entry = list; entry->if_index != 0; ++entry)
            if (auto interface = find_interface(entry->if_name)) found.push_back(std::move(*interface));
        if_freenameindex(list);
    }
    return found;
}

std::uint32_t capacity(int map) {
    bpf_map_info info{};
    std::uint32_t length = sizeof info;
    return bpf_obj_get_info_by_fd(map, &info, &length) == 0 ? info.max_entries : 0;
}

/// Entries of an old map in a new one of another size. What the old one notes meanwhile is noted again by the
/// next packet of each flow.
template <class Key, class Value>
Result<Fd> migrate(const Fd& old, const char* name, std::uint32_t entries) {
    auto options = bpf_map_create_opts();
    options.sz = sizeof options;
    options.map_flags = BPF_F_NO_PREALLOC;
    bpf_map_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(old.get(), &info, &length) != 0)
        return fail_errno("reading the map to migrate", errno);
    const Fd types(bpf_btf_get_fd_by_id(info.btf_id));
    options.btf_fd = static_cast<std::uint32_t>(types.get());
    options.btf_key_type_id = info.btf_key_type_id;
    options.btf_value_type_id = info.btf_value_type_id;
    Fd fresh(bpf_map_create(BPF_MAP_TYPE_HASH, name, sizeof(Key), sizeof(Value), entries, &options));
    if (!fresh) return fail_errno("making a larger map of flows", errno);
    Key key{};
    const void* previous = nullptr;
    Key next{};
    while (bpf_map_get_next_key(old.get(), previous, &next) == 0) {
        key = next;
        previous = &key;
        Value value{};
        if (bpf_map_lookup_elem(old.get(), &key, &value) != 0) continue;
        if (bpf_map_update_elem(fresh.get(), &key, &value, BPF_ANY) != 0)
            return fail_errno("moving the flows to a map of the new size", errno, "keep max_flows as it was");
    }
    return fresh;
}

Result<void> resize(MapSet& maps, std::uint32_t max_flows) {
    const std::uint32_t wanted = max_flows * 2;
    auto& flows4 = maps.at("limpet_flows4");
    auto& flows6 = maps.at("limpet_flows6");
    if (capacity(flows4.get()) == wanted && capacity(flows6.get()) == wanted) return {};
    auto fresh4 = migrate<limpet_key4, limpet_flow4>(flows4, "limpet_flows4", wanted);
    if (!fresh4) return std::unexpected(fresh4.error());
    auto fresh6 = migrate<limpet_key6, limpet_flow6>(flows6, "limpet_flows6", wanted);
    if (!fresh6) return std::unexpected(fresh6.error());
    flows4 = std::move(*fresh4);
    flows6 = std::move(*fresh6);
    spdlog::info("moved the flows to maps for {} connections", max_flows);
    return {};
}

std::uint64_t count_flows(const MapSet& maps) {
    std::uint64_t flows = 0;
    const FlowMaps reader(maps.at("limpet_flows4").get(), maps.at("limpet_flows6").get(), -1);
    reader.visit_all([&](const FlowKey&, const FlowEntry& entry) {
        if (entry.is_client_leg() && entry.is_spliced()) ++flows;
        return true;
    });
    return flows;
}

bool complete(const MapSet& maps) {
    return maps.size() == std::size(lasting_maps);
}

/// Whether keys and values have the sizes that this version knows; nothing may be read from a map before.
bool fits(const MapSet& maps) {
    const auto sized = [&](const char* name, std::uint32_t key, std::uint32_t value) {
        bpf_map_info info{};
        std::uint32_t length = sizeof info;
        return bpf_obj_get_info_by_fd(maps.at(name).get(), &info, &length) == 0 && info.key_size == key &&
               info.value_size == value;
    };
    return sized("limpet_flows4", sizeof(limpet_key4), sizeof(limpet_flow4)) &&
           sized("limpet_flows6", sizeof(limpet_key6), sizeof(limpet_flow6)) &&
           sized("limpet_counters", sizeof(std::uint32_t), sizeof(std::uint64_t)) &&
           sized("limpet_setting", sizeof(std::uint32_t), sizeof(limpet_settings));
}

/// Others are told that there are no programs at all.
bool may_see_programs() {
    std::uint32_t id = 0;
    return bpf_prog_get_next_id(0, &id) == 0 || errno != EPERM;
}

}  // namespace

Result<MapSet> find_lasting_maps(const Options& options) {
    MapSet maps;
    for (const auto& interface : all_interfaces()) {
        const auto program = attached_program(interface);
        if (program == 0) continue;
        maps = maps_of_program(program);
        if (complete(maps)) break;
    }
    if (!complete(maps)) {
        // Another version's set of maps: its flows live, and are not this one's to drop.
        if (maps.contains("limpet_flows4") || maps.contains("limpet_flows6"))
            return fail(
                "the data path that is attached has other maps than this version of limpet knows",
                "run the version that attached it, or end its connections with limpet detach --force");
        // Pins alone are of no use: without a program the connections that they tell of are gone.
        remove_pins(options.bpffs);
        return MapSet{};
    }
    if (!fits(maps))
        return fail(
            "the data path that is attached has maps of another shape than this version of limpet knows",
            "run the version that attached it, or end its connections with limpet detach --force");
    const std::uint32_t zero = 0;
    limpet_settings settings{};
    if (bpf_map_lookup_elem(maps.at("limpet_setting").get(), &zero, &settings) != 0 ||
        settings.abi_version != LIMPET_ABI_VERSION)
        return fail("the data path that is attached belongs to another version of limpet (map layout " +
                        std::to_string(settings.abi_version) + ", this one speaks " +
                        std::to_string(LIMPET_ABI_VERSION) + ")",
                    "run the version that attached it, or end its connections with limpet detach --force");
    if (auto resized = resize(maps, options.max_flows); !resized) return std::unexpected(resized.error());
    return maps;
}

FlowView view_of(const FlowKey& key, const FlowEntry& client, const FlowEntry& broker, std::uint32_t now) {
    const auto milliseconds = [](std::uint32_t ticks) {
        return std::chrono::milliseconds(ticks * nanoseconds_per_tick / 1'000'000);
    };
    FlowView view;
    view.client = key.source();
    view.listener = key.destination();
    view.source = client.source;
    view.broker = client.destination;
    const auto part = id_part_size(key.family);
    const std::size_t length = client.flow.id_length;
    const auto first = std::min(length, part);
    view.client_id.assign(reinterpret_cast<const char*>(client.id_part.data()), first);
    view.client_id.append(reinterpret_cast<const char*>(broker.id_part.data()),
                          std::min(length - first, part));
    view.id_length = client.flow.id_length;
    view.client_hash = client.flow.client_hash;
    view.stick_seconds = client.flow.stick_seconds;
    view.state = client.flow.state == LIMPET_STATE_CLOSING ? "closing" : "active";
    view.age = milliseconds(ticks_since(client.flow.created, now));
    view.idle = milliseconds(std::min(now - client.flow.tick, now - broker.flow.tick));
    view.bytes_from_client = client.flow.bytes;
    view.bytes_from_broker = broker.flow.bytes;
    view.packets_from_client = client.flow.packets;
    view.packets_from_broker = broker.flow.packets;
    return view;
}

Result<Leftover> find_leftover(const std::string& bpffs) {
    quiet_libbpf();
    if (!may_see_programs())
        return fail("looking for programs of an earlier daemon: Operation not permitted",
                    "run as root, or give CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN");
    Leftover leftover;
    MapSet maps;
    for (const auto& interface : all_interfaces()) {
        const auto program = attached_program(interface);
        if (program == 0) continue;
        leftover.interfaces.push_back(interface.name);
        if (!complete(maps)) maps = maps_of_program(program);
    }
    const auto pinned = pinned_maps(bpffs);
    leftover.pins = !pinned.empty();
    leftover.policy = policy_rules().value_or(false);
    if (complete(maps)) leftover.flows = count_flows(maps);
    leftover.daemon = network_is_claimed();
    return leftover;
}

Result<void> remove_leftover(const std::string& bpffs) {
    for (const auto& interface : all_interfaces()) detach(interface);
    remove_pins(bpffs);
    remove_policy();
    return {};
}

}  // namespace limpet::dataplane
