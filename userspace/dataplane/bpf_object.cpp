// SPDX-License-Identifier: Apache-2.0
#include "dataplane/bpf_object.h"

#include <bpf/bpf.h>
#include <limpet/flow_abi.h>
#include <linux/magic.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <vector>

extern "C" {
extern const unsigned char limpet_limpet_bpf_begin[];
extern const unsigned char limpet_limpet_bpf_end[];
}

namespace limpet::dataplane {
namespace {

int forward_message(libbpf_print_level level, const char* format, va_list arguments) {
    if (level == LIBBPF_DEBUG || !spdlog::should_log(spdlog::level::debug)) return 0;
    char line[1024];
    const int length = std::vsnprintf(line, sizeof line, format, arguments);
    if (length > 0)
        spdlog::debug(
            "libbpf: {}",
            std::string_view(line, std::min<std::size_t>(sizeof line - 1, static_cast<std::size_t>(length))));
    return 0;
}

bool on_bpf_file_system(const std::string& path) {
    struct statfs info{};
    return ::statfs(path.c_str(), &info) == 0 && static_cast<std::uint32_t>(info.f_type) == BPF_FS_MAGIC;
}

/// What the kernel said is long; the last line names the cause.
std::string advice_for(int number) {
    if (number == EPERM) return "run as root, or give CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON";
    if (number == E2BIG || number == EINVAL)
        return "the kernel's verifier refuses the programs: run with --log-level debug, and see "
               "docs/SUPPORT.md";
    return "run limpet features to see what is missing";
}

}  // namespace

Result<BpfObjectPointer> open_embedded() {
    auto options = bpf_object_open_opts();
    options.sz = sizeof options;
    options.object_name = "limpet";
    const auto size = static_cast<std::size_t>(limpet_limpet_bpf_end - limpet_limpet_bpf_begin);
    BpfObjectPointer object(bpf_object__open_mem(limpet_limpet_bpf_begin, size, &options));
    if (!object) return fail_errno("opening the embedded BPF programs", errno);
    return object;
}

Result<BpfObject> BpfObject::load(std::uint32_t max_flows, const MapSet& adopted) {
    BpfObject loaded;
    auto opened = open_embedded();
    if (!opened) return std::unexpected(opened.error());
    loaded.object_ = std::move(*opened);
    bpf_object* object = loaded.object_.get();
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        const std::string name = bpf_map__name(map);
        const auto found = adopted.find(name);
        if (found != adopted.end()) {
            if (bpf_map__reuse_fd(map, found->second.get()) != 0)
                return fail_errno("taking over the map " + name, errno);
        } else if (name == "limpet_flows4" || name == "limpet_flows6") {
            if (bpf_map__set_max_entries(map, max_flows * 2) != 0)
                return fail_errno("sizing the map " + name, errno);
        }
    }
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object) {
        if (std::string_view(bpf_program__section_name(program)) == "tc")
            bpf_program__set_type(program, BPF_PROG_TYPE_SCHED_CLS);
    }
    if (const int error = bpf_object__load(object); error != 0)
        return fail_errno("loading the BPF programs", -error, advice_for(-error));
    // The settings are the daemon's alone; bound to a program that lasts they last with the flows, pins or
    // not.
    if (bpf_prog_bind_map(loaded.program("limpet_ingress"), loaded.map("limpet_setting"), nullptr) != 0)
        return fail_errno("binding the settings to the data path", errno);
    return loaded;
}

int BpfObject::program(const char* name) const {
    const auto* program = bpf_object__find_program_by_name(object_.get(), name);
    return program != nullptr ? bpf_program__fd(program) : -1;
}

int BpfObject::map(const char* name) const {
    return bpf_object__find_map_fd_by_name(object_.get(), name);
}

std::string program_name(std::uint32_t program_id) {
    const Fd program(bpf_prog_get_fd_by_id(program_id));
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return {};
    return info.name;
}

MapSet maps_of_program(std::uint32_t program_id) {
    MapSet maps;
    const Fd program(bpf_prog_get_fd_by_id(program_id));
    if (!program) return maps;
    std::vector<std::uint32_t> ids(64);
    bpf_prog_info info{};
    info.nr_map_ids = static_cast<std::uint32_t>(ids.size());
    info.map_ids = reinterpret_cast<std::uint64_t>(ids.data());
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return maps;
    ids.resize(std::min<std::size_t>(ids.size(), info.nr_map_ids));
    for (const auto id : ids) {
        Fd map(bpf_map_get_fd_by_id(id));
        bpf_map_info map_info{};
        std::uint32_t map_length = sizeof map_info;
        if (!map || bpf_obj_get_info_by_fd(map.get(), &map_info, &map_length) != 0) continue;
        for (const std::string name : lasting_maps)
            if (name == map_info.name) maps.emplace(name, std::move(map));
    }
    return maps;
}

std::string pin_folder(const std::string& folder) {
    return folder + "/v" + std::to_string(LIMPET_ABI_VERSION);
}

Result<std::string> prepare_pins(const std::string& folder) {
    namespace fs = std::filesystem;
    std::error_code error;
    const auto parent = fs::path(folder).parent_path().string();
    // In `ip netns exec` /sys is fresh: its bpf folder is there, but nothing is mounted on it.
    if (!on_bpf_file_system(folder) && !on_bpf_file_system(parent) && parent == "/sys/fs/bpf" &&
        ::mount("bpf", parent.c_str(), "bpf", 0, nullptr) != 0)
        return fail_errno("mounting a BPF file system at " + parent, errno);
    fs::create_directories(folder, error);
    if (error) return fail_errno("making the folder " + folder, error.value(), "name another with --bpffs");
    if (!on_bpf_file_system(folder) && ::mount("bpf", folder.c_str(), "bpf", 0, nullptr) != 0)
        return fail_errno("mounting a BPF file system at " + folder, errno,
                          "name another folder with --bpffs");
    const auto pins = pin_folder(folder);
    fs::create_directories(pins, error);
    if (error) return fail_errno("making the folder " + pins, error.value(), "name another with --bpffs");
    return pins;
}

MapSet pinned_maps(const std::string& folder) {
    MapSet maps;
    for (const std::string name : lasting_maps) {
        Fd map(bpf_obj_get((pin_folder(folder) + "/" + name).c_str()));
        if (map) maps.emplace(name, std::move(map));
    }
    return maps;
}

namespace {

/// Whether what lies there is a map that an earlier daemon pinned: anything else is not ours to remove.
bool is_our_pin(const std::string& path, const std::string& name) {
    const Fd map(bpf_obj_get(path.c_str()));
    bpf_map_info info{};
    std::uint32_t length = sizeof info;
    return map && bpf_obj_get_info_by_fd(map.get(), &info, &length) == 0 && name == info.name;
}

}  // namespace

Result<void> pin_maps(const std::string& folder, const BpfObject& object) {
    const auto pins = prepare_pins(folder);
    if (!pins) return std::unexpected(pins.error());
    for (const std::string name : lasting_maps) {
        const auto path = *pins + "/" + name;
        struct stat info{};
        if (::lstat(path.c_str(), &info) == 0 && !is_our_pin(path, name))
            return fail(path + " is there already, and is no map of limpet's",
                        "remove it, or name another folder with --bpffs");
    }
    for (const std::string name : lasting_maps) {
        const auto path = *pins + "/" + name;
        ::unlink(path.c_str());
        if (bpf_obj_pin(object.map(name.c_str()), path.c_str()) != 0)
            return fail_errno("pinning " + path, errno);
    }
    return {};
}

void remove_pins(const std::string& folder) {
    for (const std::string name : lasting_maps) {
        const auto path = pin_folder(folder) + "/" + name;
        if (is_our_pin(path, name)) ::unlink(path.c_str());
    }
    ::rmdir(pin_folder(folder).c_str());
    ::rmdir(folder.c_str());
}

void quiet_libbpf() {
    libbpf_set_print(forward_message);
}

std::uint64_t network_namespace() {
    struct stat info{};
    return ::stat("/proc/self/ns/net", &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
}

}  // namespace limpet::dataplane
