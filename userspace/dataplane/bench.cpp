// SPDX-License-Identifier: Apache-2.0
#include "dataplane/bench.h"

#include <bpf/bpf.h>
#include <limpet/flow_abi.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include "dataplane/bench_site.h"
#include "dataplane/bpf_object.h"
#include "dataplane/flow_maps.h"

namespace limpet::dataplane {
namespace {

// Of one frame, which loses a hop each time and begins with 255.
constexpr int repeats = 250;
constexpr std::uint16_t first_port = 32'768;
constexpr std::uint32_t most_flows = 16'384;
// A burst of the generator, and how long it goes on in one round.
constexpr int burst = 1 << 14;
constexpr std::chrono::milliseconds generating{250};
constexpr std::size_t small_payload = 2;  // the generator writes whole words

template <class Number>
Number median(std::vector<Number> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

Result<Endpoint> client_of(std::uint8_t family) {
    return Endpoint::parse(family == 4 ? "10.91.0.2:32768" : "[2001:db8:91::2]:32768");
}
Result<Endpoint> broker_of(std::uint8_t family) {
    return Endpoint::parse(family == 4 ? "10.92.0.11:1883" : "[2001:db8:92::b]:1883");
}

/// An entry whose translation maps a packet onto itself, but for the hop that it loses: so one frame can be
/// run through the program again and again.
Result<void> make_flow(FlowMaps& maps, const Endpoint& from, const Endpoint& to) {
    const auto key = FlowKey::make(from, to);
    std::uint32_t generation = 0;
    if (maps.create(key, LIMPET_FLOW_CLIENT_LEG, generation) != FlowMaps::Created::made)
        return fail("making a flow entry of the bench failed", "see limpet features");
    limpet_command command{};
    command.family = key.family;
    auto& leg = command.leg[0];
    leg.present = 1;
    std::memcpy(leg.key, key.bytes.data(), key.bytes.size());
    command.operation = LIMPET_OPERATION_HOLD;
    leg.tick = tick_now() + 600;
    if (auto held = maps.run(command); !held) return held;
    command.operation = LIMPET_OPERATION_ACTIVATE;
    leg.flags = LIMPET_FLOW_TIMESTAMPS;
    leg.egress_interface = 0;
    std::memcpy(leg.source, from.address.bytes.data(), from.address.bytes.size());
    std::memcpy(leg.destination, to.address.bytes.data(), to.address.bytes.size());
    leg.source_port = __builtin_bswap16(from.port);
    leg.destination_port = __builtin_bswap16(to.port);
    if (auto active = maps.run(command); !active) return active;
    if (leg.result != LIMPET_RESULT_OK) return fail("a flow entry of the bench did not become active");
    return {};
}

/// One program on one frame, run after run.
struct Case {
    std::string program;
    std::string packet;
    int descriptor = -1;
    bool xdp = true;
    Frame frame;
    std::uint32_t verdict = 0;
    std::vector<std::uint32_t> nanoseconds;

    Result<void> run(unsigned interface) {
        Frame out(frame.size() + 256);
        xdp_md xdp_context{};
        xdp_context.data_end = static_cast<std::uint32_t>(frame.size());
        xdp_context.ingress_ifindex = interface;
        __sk_buff tc_context{};
        tc_context.ifindex = interface;
        auto options = bpf_test_run_opts();
        options.sz = sizeof options;
        options.data_in = frame.data();
        options.data_size_in = static_cast<std::uint32_t>(frame.size());
        options.data_out = out.data();
        options.data_size_out = static_cast<std::uint32_t>(out.size());
        options.ctx_in = xdp ? static_cast<const void*>(&xdp_context) : &tc_context;
        options.ctx_size_in = xdp ? sizeof xdp_context : sizeof tc_context;
        options.repeat = repeats;
        if (bpf_prog_test_run_opts(descriptor, &options) != 0)
            return fail_errno("running " + program + " on a frame", errno);
        if (options.retval != verdict)
            return fail(program + " on " + packet + ": verdict " + std::to_string(options.retval) +
                        " in place of " + std::to_string(verdict));
        nanoseconds.push_back(options.duration);
        return {};
    }
    [[nodiscard]] ProgramFigure figure() const {
        return {program, packet, median(nanoseconds), *std::ranges::min_element(nanoseconds),
                nanoseconds.size() * repeats};
    }
};

class Bench {
  public:
    Bench(const BenchOptions& options, const BenchSite& site, BpfObject object)
        : options_(options),
          site_(site),
          object_(std::move(object)),
          maps_(object_.map("limpet_flows4"), object_.map("limpet_flows6"),
                object_.program("limpet_transit")) {}

    Result<BenchResult> run() {
        if (auto prepared = prepare(); !prepared) return std::unexpected(prepared.error());
        BenchResult result;
        if (auto measured = measure_programs(result); !measured) return std::unexpected(measured.error());
        for (const auto* name : {"limpet_xdp", "limpet_ingress", "limpet_egress", "limpet_transit"})
            result.verifier.push_back(verifier_figure(name));
        if (auto generated = measure_packets(result); !generated) {
            result.packets.clear();
            result.note = "no packets were generated: " + generated.error().line();
        }
        return result;
    }

  private:
    Result<void> prepare() {
        for (const std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}}) {
            auto client = client_of(family);
            const auto broker = broker_of(family);
            if (!client || !broker) return fail("the bench's own addresses are wrong");
            const std::uint32_t count = family == 4 ? options_.flows : 1;
            for (std::uint32_t flow = 0; flow < count; ++flow) {
                client->port = static_cast<std::uint16_t>(first_port + flow);
                if (auto made = make_flow(maps_, *client, *broker); !made) return made;
            }
        }
        const auto out = static_cast<std::int32_t>(site_.out);
        if (bpf_map_update_elem(object_.map("limpet_devices"), &out, &out, BPF_ANY) != 0)
            return fail_errno("entering the bench's device", errno);
        return load_bare();
    }

    Result<void> load_bare() {
        const auto keep = [](Fd& into, Result<Fd> program) -> Result<void> {
            if (!program) return std::unexpected(program.error());
            into = std::move(*program);
            return {};
        };
        if (auto kept = keep(xdp_pass_, bare_verdict(BPF_PROG_TYPE_XDP, XDP_PASS)); !kept) return kept;
        if (auto kept = keep(xdp_drop_, bare_verdict(BPF_PROG_TYPE_XDP, XDP_DROP)); !kept) return kept;
        if (auto kept = keep(tc_ok_, bare_verdict(BPF_PROG_TYPE_SCHED_CLS, TC_ACT_OK)); !kept) return kept;
        if (auto kept = keep(xdp_redirect_, bare_redirect(BPF_PROG_TYPE_XDP, site_.out)); !kept) return kept;
        return keep(tc_redirect_, bare_redirect(BPF_PROG_TYPE_SCHED_CLS, site_.out));
    }

    [[nodiscard]] std::vector<Case> cases() const {
        std::vector<Case> all;
        const Frame any = tcp_frame(*client_of(4), *broker_of(4), 128);
        all.push_back({"bare XDP_PASS", "any", xdp_pass_.get(), true, any, XDP_PASS, {}});
        all.push_back({"bare XDP redirect", "any", xdp_redirect_.get(), true, any, XDP_REDIRECT, {}});
        all.push_back({"bare TC_ACT_OK", "any", tc_ok_.get(), false, any, TC_ACT_OK, {}});
        all.push_back({"bare TC redirect", "any", tc_redirect_.get(), false, any, TC_ACT_REDIRECT, {}});
        for (const std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}})
            for (const std::size_t payload : {std::size_t{0}, std::size_t{128}, std::size_t{1400}}) {
                const auto name = std::string(family == 4 ? "IPv4, " : "IPv6, ") +
                                  (payload == 0 ? "ACK" : std::to_string(payload) + " bytes");
                const Frame frame = tcp_frame(*client_of(family), *broker_of(family), payload);
                all.push_back(
                    {"limpet_xdp", name, object_.program("limpet_xdp"), true, frame, XDP_REDIRECT, {}});
                all.push_back({"limpet_ingress",
                               name,
                               object_.program("limpet_ingress"),
                               false,
                               frame,
                               TC_ACT_REDIRECT,
                               {}});
            }
        auto stranger = *client_of(4);
        stranger.port = 1;
        const Frame frame = tcp_frame(stranger, *broker_of(4), 0);
        all.push_back({"limpet_xdp", "of no flow", object_.program("limpet_xdp"), true, frame, XDP_PASS, {}});
        all.push_back(
            {"limpet_ingress", "of no flow", object_.program("limpet_ingress"), false, frame, TC_ACT_OK, {}});
        return all;
    }

    Result<void> measure_programs(BenchResult& result) {
        auto all = cases();
        for (std::uint64_t round = 0; round < options_.rounds; ++round)  // the machine's moods hit all alike
            for (auto& each : all)
                if (auto measured = each.run(site_.in); !measured) return measured;
        for (const auto& each : all) result.programs.push_back(each.figure());
        return {};
    }

    [[nodiscard]] VerifierFigure verifier_figure(const char* name) const {
        bpf_prog_info info{};
        std::uint32_t length = sizeof info;
        bpf_obj_get_info_by_fd(object_.program(name), &info, &length);
        return {name, info.verified_insns, info.xlated_prog_len, info.jited_prog_len};
    }

    static Result<void> attach(unsigned interface, int program) {
        const int error = bpf_xdp_attach(static_cast<int>(interface), program, XDP_FLAGS_DRV_MODE, nullptr);
        if (error != 0) return fail_errno("attaching XDP to a veth", -error);
        return {};
    }

    struct Rates {
        std::vector<double> generated;
        std::vector<double> forwarded;
    };

    /// One round of the generator in front of a program.
    Result<void> generate(int program, int gateway, const Frame& frame, Rates& rates) const {
        if (auto attached = attach(site_.in, gateway); !attached) return attached;
        auto options = bpf_test_run_opts();
        options.sz = sizeof options;
        options.data_in = frame.data();
        options.data_size_in = static_cast<std::uint32_t>(frame.size());
        options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
        options.repeat = burst;
        const auto before = received_packets(site_.far_out);
        const auto begin = std::chrono::steady_clock::now();
        std::uint64_t sent = 0;
        while (std::chrono::steady_clock::now() - begin < generating) {
            if (bpf_prog_test_run_opts(program, &options) != 0)
                return fail_errno("generating packets (BPF_F_TEST_XDP_LIVE_FRAMES)", errno,
                                  "it takes Linux 5.18");
            sent += burst;
        }
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        const auto received = received_packets(site_.far_out) - before;
        rates.generated.push_back(static_cast<double>(sent) / seconds);
        rates.forwarded.push_back(static_cast<double>(received) / seconds);
        return {};
    }

    Result<void> measure_packets(BenchResult& result) const {
        const Frame frame = tcp_frame(*client_of(4), *broker_of(4), small_payload);
        const auto source = generator(frame, first_port, options_.flows, site_.far_in);
        if (!source) return std::unexpected(source.error());
        if (auto counting = attach(site_.far_out, xdp_drop_.get()); !counting) return counting;
        Rates limpet;
        Rates bare;
        for (std::uint64_t round = 0; round < options_.rounds; ++round) {
            if (auto run = generate(source->get(), object_.program("limpet_xdp"), frame, limpet); !run)
                return run;
            if (auto run = generate(source->get(), xdp_redirect_.get(), frame, bare); !run) return run;
        }
        result.packets = {{"limpet_xdp", median(limpet.generated), median(limpet.forwarded)},
                          {"bare XDP redirect", median(bare.generated), median(bare.forwarded)}};
        std::vector<double> ratios;
        for (std::size_t round = 0; round < bare.forwarded.size(); ++round)
            if (bare.forwarded[round] > 0) ratios.push_back(limpet.forwarded[round] / bare.forwarded[round]);
        if (ratios.empty()) return fail("nothing that was generated arrived");
        result.ratio = median(ratios);
        return {};
    }

    const BenchOptions& options_;
    BenchSite site_;
    BpfObject object_;
    FlowMaps maps_;
    Fd xdp_pass_;
    Fd xdp_drop_;
    Fd xdp_redirect_;
    Fd tc_ok_;
    Fd tc_redirect_;
};

}  // namespace

Result<BenchResult> run_bench(const BenchOptions& options) {
    quiet_libbpf();
    if (options.rounds == 0 || options.flows > most_flows || !std::has_single_bit(options.flows))
        return fail("the bench cannot measure " + std::to_string(options.flows) + " flows",
                    "take a power of two up to " + std::to_string(most_flows));
    const auto site = make_bench_site();
    if (!site) return std::unexpected(site.error());
    auto object = BpfObject::load(2 * most_flows, {});
    if (!object) return std::unexpected(object.error());
    return Bench(options, *site, std::move(*object)).run();
}

}  // namespace limpet::dataplane
