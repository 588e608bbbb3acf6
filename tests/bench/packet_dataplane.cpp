// SPDX-License-Identifier: Apache-2.0
// What a packet of an active flow costs, in nanoseconds, next to programs that do nothing and that only
// redirect; and how much of the verifier's budget each program takes. Needs root; prints JSON, one object a
// line. Traffic: none, the programs run on single frames (BPF_PROG_RUN).
#include <bpf/bpf.h>
#include <linux/filter.h>
#include <net/if.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include "../bpf/packet.h"
#include "dataplane/bpf_object.h"
#include "dataplane/flow_maps.h"

namespace {

using namespace limpet;
using packet::Bytes;

// The kernel patches its XDP dispatcher for each BPF_PROG_RUN of an XDP program and waits for every CPU to
// have seen it (bpf_prog_change_xdp), some tens of milliseconds: few rounds, each of many packets.
constexpr int rounds = 41;
constexpr int repeats = 250;  // of one frame, which loses a hop each time and begins with 255

[[noreturn]] void stop(const std::string& why) {
    std::fprintf(stderr, "bench_packet_dataplane: %s\n", why.c_str());
    std::exit(1);
}

void ip(const std::string& arguments) {
    if (std::system(("ip " + arguments + " >/dev/null 2>&1").c_str()) != 0)
        stop("ip " + arguments + " failed");
}

void make_network() {
    if (unshare(CLONE_NEWNET) != 0) stop("CAP_SYS_ADMIN is missing: run as root");
    for (const auto* command : {
             "link add p_in type veth peer name p_far_in",
             "link add p_out type veth peer name p_far_out",
             "link set p_in address 02:00:00:00:91:01 up",
             "link set p_far_in up",
             "link set p_out up",
             "link set p_far_out up",
             "addr add 10.91.0.1/24 dev p_in",
             "addr add 10.92.0.1/24 dev p_out",
             "addr add 2001:db8:91::1/64 dev p_in nodad",
             "addr add 2001:db8:92::1/64 dev p_out nodad",
             "neigh add 10.92.0.11 lladdr 02:00:00:00:92:0b dev p_out nud permanent",
             "neigh add 2001:db8:92::b lladdr 02:00:00:00:92:0b dev p_out nud permanent",
         })
        ip(command);
    for (const auto* path : {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"})
        std::ofstream(path) << "1";
}

/// A program of a few instructions, for comparison.
Fd bare(bpf_prog_type type, const std::vector<bpf_insn>& instructions) {
    Fd program(bpf_prog_load(type, "bare", "GPL", instructions.data(), instructions.size(), nullptr));
    if (!program) stop(std::string("loading a bare program: ") + std::strerror(errno));
    return program;
}

bpf_insn move(std::uint8_t to, std::int32_t value) {
    bpf_insn instruction{};
    instruction.code = BPF_ALU64 | BPF_MOV | BPF_K;
    instruction.dst_reg = to & 15;
    instruction.imm = value;
    return instruction;
}
bpf_insn call(std::int32_t helper) {
    bpf_insn instruction{};
    instruction.code = BPF_JMP | BPF_CALL;
    instruction.imm = helper;
    return instruction;
}
bpf_insn leave() {
    bpf_insn instruction{};
    instruction.code = BPF_JMP | BPF_EXIT;
    return instruction;
}

/// An entry whose translation maps a packet onto itself, but for the hop that it loses: so one frame can be
/// run through the program again and again.
void make_flow(dataplane::FlowMaps& maps, const Endpoint& from, const Endpoint& to) {
    const auto key = dataplane::FlowKey::make(from, to);
    std::uint32_t generation = 0;
    if (maps.create(key, LIMPET_FLOW_CLIENT_LEG, generation) != dataplane::FlowMaps::Created::made)
        stop("making an entry");
    limpet_command command{};
    command.family = key.family;
    auto& leg = command.leg[0];
    leg.present = 1;
    std::memcpy(leg.key, key.bytes.data(), key.bytes.size());
    command.operation = LIMPET_OPERATION_HOLD;
    leg.tick = dataplane::tick_now() + 600;
    if (!maps.run(command) || leg.result != LIMPET_RESULT_OK) stop("HOLD");
    command.operation = LIMPET_OPERATION_ACTIVATE;
    leg.flags = LIMPET_FLOW_TIMESTAMPS;
    leg.egress_interface = 0;
    std::memcpy(leg.source, from.address.bytes.data(), 16);
    std::memcpy(leg.destination, to.address.bytes.data(), 16);
    leg.source_port = __builtin_bswap16(from.port);
    leg.destination_port = __builtin_bswap16(to.port);
    if (!maps.run(command) || leg.result != LIMPET_RESULT_OK) stop("ACTIVATE");
}

struct Case {
    std::string program;
    std::string packet;
    int descriptor;
    bool xdp;
    Bytes frame;
    std::uint32_t verdict;  // XDP_* or TC_ACT_*
    std::vector<std::uint32_t> nanoseconds;
};

constexpr std::uint32_t xdp_pass = 2, xdp_redirect = 4, tc_ok = 0, tc_redirect = 7;

void run_once(Case& of, std::uint32_t interface) {
    Bytes out(of.frame.size() + 256);
    xdp_md xdp_context{};
    xdp_context.data_end = static_cast<std::uint32_t>(of.frame.size());
    xdp_context.ingress_ifindex = interface;
    __sk_buff tc_context{};
    tc_context.ifindex = interface;
    auto options = bpf_test_run_opts();
    options.sz = sizeof options;
    options.data_in = of.frame.data();
    options.data_size_in = static_cast<std::uint32_t>(of.frame.size());
    options.data_out = out.data();
    options.data_size_out = static_cast<std::uint32_t>(out.size());
    options.ctx_in = of.xdp ? static_cast<const void*>(&xdp_context) : &tc_context;
    options.ctx_size_in = of.xdp ? sizeof xdp_context : sizeof tc_context;
    options.repeat = repeats;
    if (bpf_prog_test_run_opts(of.descriptor, &options) != 0)
        stop(of.program + ": BPF_PROG_RUN: " + std::strerror(errno));
    if (options.retval != of.verdict)
        stop(of.program + ", " + of.packet + ": verdict " + std::to_string(options.retval) + ", not " +
             std::to_string(of.verdict));
    of.nanoseconds.push_back(options.duration);
}

void print(Case& of) {
    std::ranges::sort(of.nanoseconds);
    std::printf("{\"program\":\"%s\",\"packet\":\"%s\",\"nanoseconds\":%u,\"least\":%u,\"runs\":%zu}\n",
                of.program.c_str(), of.packet.c_str(), of.nanoseconds[of.nanoseconds.size() / 2],
                of.nanoseconds.front(), of.nanoseconds.size() * repeats);
}

void print_size(const dataplane::BpfObject& object, const char* name) {
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(object.program(name), &info, &length) != 0) stop(name);
    std::printf(
        "{\"program\":\"%s\",\"verified_instructions\":%u,\"translated_bytes\":%u,\"jited_bytes\":%u}\n",
        name, info.verified_insns, info.xlated_prog_len, info.jited_prog_len);
}

/// The frames of an active flow, by name.
std::map<std::string, Bytes> frames_of(packet::Packet base, const std::string& family) {
    using namespace packet;
    std::map<std::string, Bytes> frames;
    base.hops = 255;
    base.to = {2, 0, 0, 0, 0x91, 1};
    frames[family + ", pure ACK"] = base.build();
    base.options = join({option::nop(2), option::timestamps(1, 2)});
    frames[family + ", ACK with timestamps"] = base.build();
    base.payload = Bytes(128, 'm');
    frames[family + ", 128 bytes with timestamps"] = base.build();
    base.payload = Bytes(1400, 'm');
    frames[family + ", 1400 bytes with timestamps"] = base.build();
    base.payload.clear();
    base.options = join({base.options, option::nop(2), option::sack({{1, 2}, {3, 4}, {5, 6}})});
    frames[family + ", ACK with timestamps and three SACK blocks"] = base.build();
    base.options = join({option::timestamps(1, 2), option::nop(2)});
    frames[family + ", ACK with an odd layout"] = base.build();
    return frames;
}

}  // namespace

int main() {
    dataplane::quiet_libbpf();
    make_network();
    auto object = dataplane::BpfObject::load(1000, {});
    if (!object) stop(object.error().line());
    dataplane::FlowMaps maps(object->map("limpet_flows4"), object->map("limpet_flows6"),
                             object->program("limpet_transit"));
    packet::Packet four;
    four.destination = packet::at("10.92.0.11:1883");
    packet::Packet six;
    six.source = packet::at("[2001:db8:91::2]:40000");
    six.destination = packet::at("[2001:db8:92::b]:1883");
    make_flow(maps, four.source, four.destination);
    make_flow(maps, six.source, six.destination);
    const auto in = if_nametoindex("p_in");
    const auto out = static_cast<std::int32_t>(if_nametoindex("p_out"));
    if (bpf_map_update_elem(object->map("limpet_devices"), &out, &out, BPF_ANY) != 0)
        stop("entering a device");
    const auto xdp_nothing = bare(BPF_PROG_TYPE_XDP, {move(0, xdp_pass), leave()});
    const auto xdp_only_redirect =
        bare(BPF_PROG_TYPE_XDP, {move(1, out), move(2, 0), call(BPF_FUNC_redirect), leave()});
    const auto tc_nothing = bare(BPF_PROG_TYPE_SCHED_CLS, {move(0, tc_ok), leave()});
    const auto tc_only_redirect =
        bare(BPF_PROG_TYPE_SCHED_CLS, {move(1, out), move(2, 0), call(BPF_FUNC_redirect), leave()});

    std::vector<Case> cases;
    const auto add = [&](const char* program, const std::string& packet, int descriptor, bool xdp,
                         const Bytes& frame, std::uint32_t verdict) {
        cases.push_back({program, packet, descriptor, xdp, frame, verdict, {}});
    };
    auto frames = frames_of(four, "IPv4");
    frames.merge(frames_of(six, "IPv6"));
    const auto plain = frames["IPv4, 128 bytes with timestamps"];
    add("bare XDP_PASS", "any", xdp_nothing.get(), true, plain, xdp_pass);
    add("bare XDP redirect", "any", xdp_only_redirect.get(), true, plain, xdp_redirect);
    add("bare TC_ACT_OK", "any", tc_nothing.get(), false, plain, tc_ok);
    add("bare TC redirect", "any", tc_only_redirect.get(), false, plain, tc_redirect);
    for (const auto& [name, frame] : frames) {
        const bool odd = name.ends_with("odd layout");
        add("limpet_xdp", name, object->program("limpet_xdp"), true, frame, odd ? xdp_pass : xdp_redirect);
        add("limpet_ingress", name, object->program("limpet_ingress"), false, frame, tc_redirect);
    }
    four.source.port++;
    add("limpet_xdp", "IPv4, of no flow", object->program("limpet_xdp"), true, four.build(), xdp_pass);
    four.to = {2, 0, 0, 0, 0x91, 1};
    add("limpet_ingress", "IPv4, of no flow", object->program("limpet_ingress"), false, four.build(), tc_ok);

    for (int round = 0; round < rounds; ++round)  // interleaved: the machine's moods hit all alike
        for (auto& each : cases) run_once(each, in);
    for (auto& each : cases) print(each);
    for (const auto* name : {"limpet_xdp", "limpet_ingress", "limpet_egress", "limpet_transit"})
        print_size(*object, name);
    return 0;
}
