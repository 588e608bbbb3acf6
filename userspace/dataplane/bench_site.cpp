// SPDX-License-Identifier: Apache-2.0
#include "dataplane/bench_site.h"

#include <ifaddrs.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

namespace limpet::dataplane {
namespace {

constexpr const char* site_commands = R"(link set lo up
link add b_in address 02:00:00:00:91:01 type veth peer name b_far_in
link add b_out address 02:00:00:00:92:01 type veth peer name b_far_out
link set b_in up
link set b_far_in up
link set b_out up
link set b_far_out up
addr add 10.91.0.1/24 dev b_in
addr add 10.92.0.1/24 dev b_out
addr add 2001:db8:91::1/64 dev b_in nodad
addr add 2001:db8:92::1/64 dev b_out nodad
neigh add 10.92.0.11 lladdr 02:00:00:00:92:0b dev b_out nud permanent
neigh add 2001:db8:92::b lladdr 02:00:00:00:92:0b dev b_out nud permanent
)";

Result<void> run_ip() {
    FILE* ip = ::popen("ip -batch - 2>/dev/null", "we");
    if (ip == nullptr) return fail_errno("starting ip", errno, "install iproute2");
    const bool written = std::fputs(site_commands, ip) >= 0;
    if (::pclose(ip) != 0 || !written)
        return fail("making the bench's interfaces: ip failed", "it takes iproute2 and a kernel with veth");
    return {};
}

// ---- instructions

bpf_insn instruction(int code, std::uint8_t to, std::uint8_t from, std::int16_t offset, std::int32_t value) {
    bpf_insn made{};
    made.code = static_cast<std::uint8_t>(code);
    made.dst_reg = to & 15;
    made.src_reg = from & 15;
    made.off = offset;
    made.imm = value;
    return made;
}
bpf_insn set(std::uint8_t to, std::int32_t value) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}
bpf_insn copy(std::uint8_t to, std::uint8_t from) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
bpf_insn add(std::uint8_t to, std::int32_t value) {
    return instruction(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value);
}
bpf_insn call(std::int32_t helper) {
    return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}
bpf_insn leave() {
    return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

Result<Fd> loaded(bpf_prog_type type, const std::vector<bpf_insn>& instructions) {
    Fd program(bpf_prog_load(type, "bare", "GPL", instructions.data(), instructions.size(), nullptr));
    if (!program) return fail_errno("loading a program of the bench", errno);
    return program;
}

// ---- frames

class Writer {
  public:
    void bytes(const void* from, std::size_t size) {
        const auto* begin = static_cast<const std::uint8_t*>(from);
        frame_.insert(frame_.end(), begin, begin + size);
    }
    void number(std::uint32_t value, unsigned size) {
        for (unsigned shift = 8 * size; shift > 0; shift -= 8)
            frame_.push_back(static_cast<std::uint8_t>(value >> (shift - 8)));
    }
    [[nodiscard]] Frame take() { return std::move(frame_); }

  private:
    Frame frame_;
};

constexpr std::uint32_t tcp_length = 32;  // with timestamps behind two NOPs
constexpr std::uint8_t hops = 255;

std::uint16_t header_sum(std::uint32_t length, const Endpoint& source, const Endpoint& destination) {
    std::uint32_t sum = 0x4500 + length + 0x4000 + (std::uint32_t{hops} << 8 | IPPROTO_TCP);
    for (const auto* address : {&source.address.bytes, &destination.address.bytes})
        for (std::size_t at = 0; at < 4; at += 2)
            sum += std::uint32_t{(*address)[at]} << 8 | (*address)[at + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

void write_ip(Writer& writer, const Endpoint& source, const Endpoint& destination, std::uint32_t payload) {
    if (source.address.family == 6) {
        writer.number(0x60000000, 4);
        writer.number(payload, 2);
        writer.number(IPPROTO_TCP, 1);
        writer.number(hops, 1);
    } else {
        writer.number(0x4500, 2);
        writer.number(payload + 20, 2);
        writer.number(0x00004000, 4);  // no id, do not fragment
        writer.number(hops, 1);
        writer.number(IPPROTO_TCP, 1);
        writer.number(header_sum(payload + 20, source, destination), 2);
    }
    const std::size_t size = source.address.family == 6 ? 16 : 4;
    writer.bytes(source.address.bytes.data(), size);
    writer.bytes(destination.address.bytes.data(), size);
}

}  // namespace

Result<BenchSite> make_bench_site() {
    if (::unshare(CLONE_NEWNET) != 0)
        return fail_errno("making a network namespace", errno, "run as root, or give CAP_SYS_ADMIN");
    if (auto made = run_ip(); !made) return std::unexpected(made.error());
    for (const auto* path : {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"})
        std::ofstream(path) << "1";
    const BenchSite site{if_nametoindex("b_in"), if_nametoindex("b_far_in"), if_nametoindex("b_out"),
                         if_nametoindex("b_far_out")};
    if (site.in == 0 || site.far_in == 0 || site.out == 0 || site.far_out == 0)
        return fail_errno("finding the bench's interfaces", errno);
    return site;
}

std::uint64_t received_packets(unsigned interface) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return 0;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
    for (const auto* one = list; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_PACKET || one->ifa_data == nullptr)
            continue;
        if (if_nametoindex(one->ifa_name) != interface) continue;
        rtnl_link_stats stats{};
        std::memcpy(&stats, one->ifa_data, sizeof stats);
        return stats.rx_packets;
    }
    return 0;
}

Frame tcp_frame(const Endpoint& source, const Endpoint& destination, std::size_t payload) {
    Writer writer;
    const std::uint8_t gateway[] = {2, 0, 0, 0, 0x91, 1};
    const std::uint8_t client[] = {2, 0, 0, 0, 0x91, 2};
    writer.bytes(gateway, sizeof gateway);
    writer.bytes(client, sizeof client);
    writer.number(source.address.family == 6 ? 0x86dd : 0x0800, 2);
    write_ip(writer, source, destination, static_cast<std::uint32_t>(tcp_length + payload));
    writer.number(source.port, 2);
    writer.number(destination.port, 2);
    writer.number(1000, 4);    // sequence number
    writer.number(5000, 4);    // acknowledged
    writer.number(0x8010, 2);  // eight words, ACK
    writer.number(512, 2);     // window
    writer.number(0, 4);       // checksum, urgent pointer
    writer.number(0x0101080a, 4);
    writer.number(1, 4);
    writer.number(2, 4);
    auto frame = writer.take();
    frame.resize(frame.size() + payload, 'm');
    return frame;
}

Result<Fd> bare_verdict(bpf_prog_type type, std::int32_t verdict) {
    return loaded(type, {set(BPF_REG_0, verdict), leave()});
}

Result<Fd> bare_redirect(bpf_prog_type type, unsigned interface) {
    return loaded(type, {set(BPF_REG_1, static_cast<std::int32_t>(interface)), set(BPF_REG_2, 0),
                         call(BPF_FUNC_redirect), leave()});
}

Result<Fd> generator(const Frame& frame, std::uint16_t first_port, std::uint32_t ports, unsigned interface) {
    const auto size = static_cast<std::int32_t>(frame.size() / 4 * 4);
    std::vector<bpf_insn> code{
        copy(BPF_REG_6, BPF_REG_1),
        call(BPF_FUNC_get_prandom_u32),
        instruction(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_0, 0, 0, static_cast<std::int32_t>(ports - 1)),
        add(BPF_REG_0, first_port),
        instruction(BPF_ALU | BPF_END | BPF_TO_BE, BPF_REG_0, 0, 0, 16),
        instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_6, offsetof(xdp_md, data), 0),
        instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, BPF_REG_6, offsetof(xdp_md, data_end), 0),
        copy(BPF_REG_4, BPF_REG_2),
        add(BPF_REG_4, size),
        instruction(BPF_JMP | BPF_JLE | BPF_X, BPF_REG_4, BPF_REG_3, 2, 0),
        set(BPF_REG_0, XDP_ABORTED),
        leave(),
    };
    for (std::int16_t at = 0; at < size; at = static_cast<std::int16_t>(at + 4)) {
        std::int32_t word = 0;
        std::memcpy(&word, frame.data() + at, sizeof word);
        code.push_back(instruction(BPF_ST | BPF_MEM | BPF_W, BPF_REG_2, 0, at, word));
    }
    code.push_back(instruction(BPF_STX | BPF_MEM | BPF_H, BPF_REG_2, BPF_REG_0, source_port_offset, 0));
    code.insert(code.end(), {set(BPF_REG_1, static_cast<std::int32_t>(interface)), set(BPF_REG_2, 0),
                             call(BPF_FUNC_redirect), leave()});
    return loaded(BPF_PROG_TYPE_XDP, code);
}

}  // namespace limpet::dataplane
