// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp_dispatcher.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <xdp/libxdp.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace limpet::dataplane {
namespace {

constexpr const char* our_program = "limpet_xdp";
constexpr const char* dispatcher_file = "xdp-dispatcher.o";

/// Behind filters and monitors, whose default is 50: they see packets before these are rewritten and gone.
constexpr unsigned run_priority = 90;

struct ProgramCloser {
    void operator()(xdp_program* program) const { xdp_program__close(program); }
};
using XdpProgram = std::unique_ptr<xdp_program, ProgramCloser>;

struct MultiprogCloser {
    void operator()(xdp_multiprog* programs) const { xdp_multiprog__close(programs); }
};
using Multiprog = std::unique_ptr<xdp_multiprog, MultiprogCloser>;

int forward_message(libxdp_print_level level, const char* format, va_list arguments) {
    if (level == LIBXDP_DEBUG || !spdlog::should_log(spdlog::level::debug)) return 0;
    char line[1024];
    const int length = std::vsnprintf(line, sizeof line, format, arguments);
    if (length <= 0) return 0;
    std::string_view text(line, std::min(sizeof line - 1, static_cast<std::size_t>(length)));
    if (text.ends_with('\n')) text.remove_suffix(1);
    spdlog::debug("{}", text);
    return 0;
}

/// What libxdp warns of is returned as an error or is the ordinary case of a kernel without EXT programs.
void quiet_libxdp() {
    libxdp_set_print(forward_message);
}

template <class Owner, class Pointer>
Owner own(Pointer* pointer) {
    return Owner(libxdp_get_error(pointer) == 0 ? pointer : nullptr);
}

std::string pins_root() {
    const char* named = ::secure_getenv(XDP_BPFFS_ENVVAR);
    return named != nullptr ? named : "/sys/fs/bpf";
}

/// libxdp keeps a dispatcher's programs alive by pins. Those made in a mount of a namespace of our own (as in
/// `ip netns exec`) would vanish with the daemon and leave an empty dispatcher behind, so the file system
/// must be the one that the machine's first process sees.
Result<void> lasting_pins() {
    const auto path = pins_root();
    struct statfs system{};
    if (::statfs(path.c_str(), &system) != 0 || static_cast<std::uint32_t>(system.f_type) != BPF_FS_MAGIC)
        return fail("no BPF file system at " + path + " for libxdp's pins");
    struct stat here{};
    struct stat outside{};
    if (::stat(path.c_str(), &here) != 0 || ::stat(("/proc/1/root" + path).c_str(), &outside) != 0 ||
        here.st_dev != outside.st_dev)
        return fail("the BPF file system at " + path + " ends with this mount namespace");
    return {};
}

/// The small program that comes with libxdp, alone in its object.
XdpProgram small_program() {
    auto options = xdp_program_opts();
    options.sz = sizeof options;
    options.prog_name = "xdp_pass";
    options.find_filename = dispatcher_file;
    auto program = own<XdpProgram>(xdp_program__create(&options));
    if (!program) return program;
    bpf_program* other = nullptr;
    bpf_object__for_each_program(other, xdp_program__bpf_obj(program.get()))
        bpf_program__set_autoload(other, std::string_view(bpf_program__name(other)) == "xdp_pass");
    return program;
}

bpf_program* program_inside(const XdpProgram& program, const char* name) {
    return bpf_object__find_program_by_name(xdp_program__bpf_obj(program.get()), name);
}

/// A small program is loaded and replaced by another: all that a dispatcher needs of the kernel.
Result<void> try_replacing() {
    quiet_libxdp();
    const auto target = small_program();
    const auto replacement = small_program();
    if (!target || !replacement) return fail(std::string(dispatcher_file) + " of libxdp is not installed");
    if (const int error = bpf_object__load(xdp_program__bpf_obj(target.get())); error != 0)
        return fail_errno("the kernel refuses libxdp's programs", -error);
    auto* program = program_inside(replacement, "xdp_pass");
    bpf_program__set_type(program, BPF_PROG_TYPE_EXT);
    bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(0));
    int error = bpf_program__set_attach_target(program, bpf_program__fd(program_inside(target, "xdp_pass")),
                                               "xdp_pass");
    if (error == 0) error = bpf_object__load(xdp_program__bpf_obj(replacement.get()));
    if (error != 0) return fail_errno("the kernel refuses programs of type EXT", -error);
    const Fd link(bpf_raw_tracepoint_open(nullptr, bpf_program__fd(program)));
    if (!link) return fail_errno("the kernel cannot attach programs of type EXT", errno);
    return {};
}

Multiprog programs_on(const Interface& interface) {
    quiet_libxdp();
    return own<Multiprog>(xdp_multiprog__get_from_ifindex(static_cast<int>(interface.index)));
}

std::vector<std::uint32_t> ours_among(const Multiprog& programs) {
    std::vector<std::uint32_t> found;
    for (auto* program = xdp_multiprog__next_prog(nullptr, programs.get()); program != nullptr;
         program = xdp_multiprog__next_prog(program, programs.get()))
        if (std::string_view(xdp_program__name(program)) == our_program)
            found.push_back(xdp_program__id(program));
    return found;
}

int remove_from_dispatcher(const Interface& interface, std::uint32_t id) {
    const auto program = own<XdpProgram>(xdp_program__from_id(id));
    if (!program) return -ENOENT;
    return xdp_program__detach(program.get(), static_cast<int>(interface.index), XDP_MODE_NATIVE, 0);
}

/// The embedded object once more, with nothing in it but limpet_xdp and with the maps of `object`: libxdp
/// loads the program itself, as a replacement of a function of its dispatcher.
Result<BpfObjectPointer> second_object(const BpfObject& object) {
    auto second = open_embedded();
    if (!second) return second;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, second->get()) {
        if (bpf_map__reuse_fd(map, object.map(bpf_map__name(map))) != 0)
            return fail_errno(std::string("sharing the map ") + bpf_map__name(map), errno);
    }
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, second->get())
        bpf_program__set_autoload(program, std::string_view(bpf_program__name(program)) == our_program);
    return second;
}

}  // namespace

Result<void> dispatcher_usable() {
    static const Result<void> kernel = try_replacing();
    if (!kernel) return kernel;
    return lasting_pins();
}

XdpState xdp_state(const Interface& interface) {
    XdpState state;
    auto query = bpf_xdp_query_opts();
    query.sz = sizeof query;
    if (bpf_xdp_query(static_cast<int>(interface.index), XDP_FLAGS_DRV_MODE, &query) != 0) return state;
    state.program = query.drv_prog_id;
    if (state.program == 0) return state;
    state.holder = XdpHolder::other;
    const auto name = program_name(state.program);
    if (name == our_program) {
        state.holder = XdpHolder::ours;
        state.has_ours = true;
    } else if (name == "xdp_dispatcher") {
        const auto programs = programs_on(interface);
        // without its pins libxdp takes it for any program
        if (!programs || xdp_multiprog__is_legacy(programs.get())) return state;
        state.holder = XdpHolder::dispatcher;
        state.has_ours = !ours_among(programs).empty();
    }
    return state;
}

Result<void> join_dispatcher(const Interface& interface, const BpfObject& object) {
    quiet_libxdp();
    const auto index = static_cast<int>(interface.index);
    std::vector<std::uint32_t> earlier;
    if (const auto programs = programs_on(interface)) earlier = ours_among(programs);
    const auto second = second_object(object);
    if (!second) return std::unexpected(second.error());
    auto options = xdp_program_opts();
    options.sz = sizeof options;
    options.obj = second->get();
    options.prog_name = our_program;
    const auto program = own<XdpProgram>(xdp_program__create(&options));
    if (!program) return fail("libxdp does not know its way about the embedded programs");
    xdp_program__set_run_prio(program.get(), run_priority);
    xdp_program__set_chain_call_enabled(program.get(), XDP_PASS, true);
    if (const int error = xdp_program__attach(program.get(), index, XDP_MODE_NATIVE, 0); error != 0) {
        // an earlier program would go on parking into rings that nobody reads any more
        for (const auto id : earlier) remove_from_dispatcher(interface, id);
        return fail_errno("joining the XDP dispatcher of " + interface.name, -error);
    }
    // For a moment both are in it. The earlier one runs first, on the same flow entries; what it does not
    // forward it passes on unchanged, and a packet that is noted twice is noted the same. The hook is never
    // empty, so that no device resets its queues; were it empty, TC behind it would do the same work.
    for (const auto id : earlier)
        if (const int error = remove_from_dispatcher(interface, id); error != 0)
            return fail_errno("taking an earlier program out of the XDP dispatcher of " + interface.name,
                              -error);
    return {};
}

void leave_dispatcher(const Interface& interface) {
    const auto programs = programs_on(interface);
    if (!programs) return;
    for (const auto id : ours_among(programs))
        if (const int error = remove_from_dispatcher(interface, id); error != 0)
            spdlog::warn("taking our program out of the XDP dispatcher of {}: {}", interface.name,
                         std::strerror(-error));
}

}  // namespace limpet::dataplane
