// SPDX-License-Identifier: Apache-2.0
// What the data path leaves alone, and what it drops so that the host's TCP never sees it (invariant I2).
#include <bpf/bpf.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

class Refusals : public FlowTest {
  protected:
    /// Both programs pass it as it came, and nothing is counted of it.
    void expect_untouched(const Packet& packet, const char* sentence) {
        const auto frame = packet.build();
        for (const auto program : both_programs) {
            const Counted up(world(), LIMPET_REASON_PASSED_UP);
            const Counted pending(world(), LIMPET_REASON_PASSED_PENDING);
            const auto outcome = world().run(program, frame, world().client().index);
            EXPECT_EQ(outcome.verdict, Verdict::pass) << name_of(program) << ": " << sentence;
            EXPECT_EQ(outcome.frame, frame) << name_of(program) << ": " << sentence;
            EXPECT_EQ(up.since() + pending.since(), 0U) << name_of(program) << ": " << sentence;
        }
    }
    /// Both programs drop it, under this reason, and the entry does not move.
    void expect_dropped(Flow& flow, const Packet& packet, Reason reason, const char* sentence) {
        for (const auto program : both_programs) {
            const Counted counted(world(), reason);
            const auto before = flow.client_entry();
            const auto outcome = flow.client_sends(program, packet);
            EXPECT_EQ(outcome.error, 0) << sentence;
            EXPECT_EQ(outcome.verdict, Verdict::drop) << name_of(program) << ": " << sentence;
            EXPECT_EQ(counted.since(), 1U) << name_of(program) << ": " << sentence;
            const auto after = flow.client_entry();
            EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0) << name_of(program) << ": " << sentence;
        }
    }
    /// While userspace owns the leg, the same packet is the host's business and noted by nobody.
    void expect_passed_in_pending(const std::function<void(Packet&)>& change, const char* sentence) {
        Flow flow(world(), family());
        flow.make_pending();
        auto packet = flow.from_client();
        change(packet);
        for (const auto program : both_programs) {
            const auto outcome = flow.client_sends(program, packet);
            EXPECT_EQ(outcome.verdict, Verdict::pass) << name_of(program) << ": " << sentence;
            EXPECT_EQ(outcome.frame, packet.build()) << name_of(program) << ": " << sentence;
        }
        EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_NOTE_SEEN, 0) << sentence;
    }
    /// In HOLD the host must get no byte that the note does not tell of; past its deadline it may, as nobody
    /// hands off any more.
    void expect_dropped_in_hold(const std::function<void(Packet&)>& change, Reason reason,
                                const char* sentence) {
        Flow flow(world(), family());
        flow.make_pending();
        flow.be_noted();
        flow.hold();
        auto packet = flow.from_client();
        change(packet);
        expect_dropped(flow, packet, reason, sentence);
        flow.hold(-10);
        for (const auto program : both_programs)
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass)
                << name_of(program) << ": " << sentence;
    }
    void check(const std::function<void(Packet&)>& change, Reason reason, const char* sentence) {
        Flow flow(world(), family());
        flow.splice();
        auto packet = flow.from_client();
        change(packet);
        expect_dropped(flow, packet, reason, sentence);
        ASSERT_EQ(flow.change(LIMPET_OPERATION_CLOSE).leg[0].result, LIMPET_RESULT_OK);
        expect_dropped(flow, packet, reason, sentence);
        expect_dropped_in_hold(change, reason, sentence);
        expect_passed_in_pending(change, sentence);
    }
};
LIMPET_BOTH_FAMILIES(Refusals);

TEST_P(Refusals, what_is_not_of_a_flow_passes_untouched) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.protocol = 17;
    expect_untouched(packet, "UDP on the same ports");
    packet = flow.from_client();
    packet.source.port++;
    expect_untouched(packet, "another client port");
    packet = flow.from_client();
    packet.destination.port++;
    expect_untouched(packet, "another listener port");
    packet = flow.from_client();
    packet.source.address.bytes[3]++;
    packet.source.address.bytes[15]++;
    expect_untouched(packet, "another client");
    packet = flow.from_client();
    std::swap(packet.source, packet.destination);
    expect_untouched(packet, "the same tuple the wrong way round");
    packet = flow.from_client();
    packet.vlan = 100;
    expect_untouched(packet, "a tagged frame is another network's until its own device shows it");
    packet = flow.from_client();
    if (family() == 4) {
        packet.fragment = 0x0010;
    } else {
        packet.fragment6 = 0x0010;
    }
    expect_untouched(packet, "a later fragment has no ports");
}

TEST_P(Refusals, what_is_no_ip_passes_untouched) {
    Flow flow(world(), family());
    flow.splice();
    auto frame = flow.from_client().build();
    for (const std::uint16_t type : {std::uint16_t{0x0806}, std::uint16_t{0x88cc}, std::uint16_t{0x0000}}) {
        frame[12] = static_cast<std::uint8_t>(type >> 8);
        frame[13] = static_cast<std::uint8_t>(type);
        for (const auto program : both_programs) {
            const auto outcome = world().run(program, frame, world().client().index);
            EXPECT_EQ(outcome.verdict, Verdict::pass);
            EXPECT_EQ(outcome.frame, frame);
        }
    }
}

TEST_P(Refusals, tc_leaves_a_frame_for_another_host_alone) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.to[5] ^= 0x55;
    const auto outcome = flow.client_sends(Program::tc, packet);
    EXPECT_EQ(outcome.verdict, Verdict::pass) << "a mirror port or a promiscuous device";
    EXPECT_EQ(outcome.frame, packet.build());
}

TEST_P(Refusals, a_truncated_frame_of_any_length_is_dropped_or_harmless) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.options = join({option::nop(2), option::timestamps(1, 2)});
    packet.payload = Bytes(9, 'x');
    const auto whole = packet.build();
    const std::size_t tcp = family() == 4 ? 34 : 54;
    // BPF_PROG_RUN wants a whole IP header of what it makes a TC packet of.
    for (std::size_t length = tcp; length < whole.size(); ++length)
        for (const auto program : both_programs) {
            const Bytes frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            const auto outcome = world().run(program, frame, world().client().index);
            ASSERT_EQ(outcome.error, 0) << length;
            EXPECT_EQ(outcome.verdict, length < tcp + 20 ? Verdict::pass : Verdict::drop)
                << name_of(program) << ", " << length << " bytes";
            EXPECT_EQ(outcome.frame, frame);
        }
    EXPECT_EQ(flow.client_entry().packets, 0U);
}

TEST_P(Refusals, lengths_that_contradict_are_dropped) {
    const auto header = static_cast<std::uint16_t>(family() == 4 ? 20 : 0);
    check([&](Packet& packet) { packet.ip_length = static_cast<std::uint16_t>(header + 21); },
          LIMPET_REASON_DROP_MALFORMED, "the IP header claims a byte that is not there");
    check([&](Packet& packet) { packet.ip_length = static_cast<std::uint16_t>(header + 19); },
          LIMPET_REASON_DROP_MALFORMED, "the IP packet ends within the TCP header");
    check([&](Packet& packet) { packet.ip_length = 0xffff; }, LIMPET_REASON_DROP_MALFORMED,
          "the largest length");
    for (std::uint8_t words = 0; words < 5; ++words)
        check([&](Packet& packet) { packet.tcp_words = words; }, LIMPET_REASON_DROP_MALFORMED,
              "a data offset within the fixed header");
    check([&](Packet& packet) { packet.tcp_words = 6; }, LIMPET_REASON_DROP_MALFORMED,
          "a data offset beyond the packet");
    check(
        [&](Packet& packet) {
            packet.tcp_words = 15;
            packet.padding = 60;
        },
        LIMPET_REASON_DROP_MALFORMED, "a data offset into the padding");
}

TEST_P(Refusals, fragments_of_an_active_flow_are_dropped) {
    const auto first = [&](Packet& packet) {
        packet.payload = Bytes(12, 'f');
        if (family() == 4) {
            packet.fragment = 0x2000;
        } else {
            packet.fragment6 = 1;
        }
    };
    check(first, LIMPET_REASON_DROP_FRAGMENT, "a first fragment");
}

TEST_P(Refusals, a_first_fragment_of_eight_bytes_is_still_the_flows) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    if (family() == 4) {
        packet.fragment = 0x2000;
        packet.ip_length = 28;
    } else {
        packet.fragment6 = 1;
        packet.ip_length = 16;
    }
    auto frame = packet.build();
    frame.resize(frame.size() - 12);
    for (const auto program : both_programs) {
        const Counted counted(world(), LIMPET_REASON_DROP_FRAGMENT);
        EXPECT_EQ(world().run(program, frame, world().client().index).verdict, Verdict::drop)
            << name_of(program) << ": the host would put it together with the rest";
        EXPECT_EQ(counted.since(), 1U);
    }
}

TEST_P(Refusals, ip_options_of_an_active_flow_are_dropped) {
    if (family() == 4) {
        check([](Packet& packet) { packet.ip_options = Bytes{1, 1, 1, 0}; }, LIMPET_REASON_DROP_IP_OPTIONS,
              "four bytes of IP options");
        check([](Packet& packet) { packet.ip_options = Bytes(40, 1); }, LIMPET_REASON_DROP_IP_OPTIONS,
              "forty bytes of IP options");
    } else {
        check([](Packet& packet) { packet.extension6 = Bytes{0, 0, 1, 4, 0, 0, 0, 0}; },
              LIMPET_REASON_DROP_IP_OPTIONS, "destination options before TCP");
        Bytes longer(24, 0);
        longer[1] = 2;
        check([&](Packet& packet) { packet.extension6 = longer; }, LIMPET_REASON_DROP_IP_OPTIONS,
              "longer destination options");
    }
}

TEST_P(Refusals, a_packet_larger_than_the_link_goes_up_unchanged) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.payload = Bytes(1600, 'l');
    const Counted up(world(), LIMPET_REASON_PASSED_UP);
    const auto outcome = flow.client_sends(Program::xdp, packet);
    EXPECT_EQ(outcome.verdict, Verdict::pass);
    EXPECT_EQ(outcome.frame, packet.build());
    EXPECT_EQ(up.since(), 1U);
}

TEST_P(Refusals, xdp_sends_to_no_device_that_takes_no_redirected_frames) {
    Flow flow(world(), family());
    flow.splice();
    const int map = world().object().map("limpet_devices");
    const int index = world().broker().index;
    ASSERT_EQ(bpf_map_delete_elem(map, &index), 0);
    const auto packet = flow.from_client();
    const auto outcome = flow.client_sends(Program::xdp, packet);
    EXPECT_EQ(outcome.verdict, Verdict::pass)
        << "TC does it: redirected, the frame would be lost without a word";
    EXPECT_EQ(outcome.frame, packet.build());
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::redirect);
    ASSERT_EQ(bpf_map_update_elem(map, &index, &index, BPF_ANY), 0);
    EXPECT_EQ(flow.client_sends(Program::xdp, packet).verdict, Verdict::redirect);
}

TEST_P(Refusals, a_neighbour_that_moves_is_followed_within_two_ticks) {
    Flow flow(world(), family());
    flow.splice();
    const auto destination = [&] {
        const auto outcome = flow.client_sends(Program::xdp, flow.from_client());
        EXPECT_EQ(outcome.verdict, Verdict::redirect);
        return Mac{outcome.frame[0], outcome.frame[1], outcome.frame[2],
                   outcome.frame[3], outcome.frame[4], outcome.frame[5]};
    };
    const auto move_to = [&](const char* mac) {
        const auto command = "ip neigh replace " + flow.broker.address.text() + " lladdr " + mac +
                             " dev t_broker nud permanent";
        ASSERT_EQ(std::system(command.c_str()), 0);
        const auto now = dataplane::tick_now();
        while (dataplane::tick_now() - now < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    EXPECT_EQ(destination(), world().broker().neighbour);
    move_to("02:00:00:00:92:99");
    EXPECT_EQ(destination(), (Mac{2, 0, 0, 0, 0x92, 0x99}));
    move_to("02:00:00:00:92:0b");
    EXPECT_EQ(destination(), world().broker().neighbour);
}

TEST_P(Refusals, without_a_neighbour_xdp_goes_up_and_tc_resolves) {
    Flow flow(world(), family());
    flow.broker = at(family() == 4 ? "10.92.0.77:1884" : "[2001:db8:92::77]:1884");
    flow.broker_key = dataplane::FlowKey::make(flow.broker, flow.source);
    flow.splice();
    const auto packet = flow.from_client();
    EXPECT_EQ(flow.client_sends(Program::xdp, packet).verdict, Verdict::pass);
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::redirect)
        << "the kernel's neighbour code asks for the address";
}

class Guard : public FlowTest {};
LIMPET_BOTH_FAMILIES(Guard);

/// What the host's own TCP would send to the client: the reverse of the client's tuple.
Packet from_host(const Flow& flow, std::uint8_t flags) {
    Packet packet;
    packet.source = flow.listener;
    packet.destination = flow.client;
    packet.to = flow.world.client().neighbour;
    packet.from = flow.world.client().gateway;
    packet.flags = flags;
    return packet;
}

TEST_P(Guard, drops_what_the_host_says_on_an_active_flow) {
    Flow flow(world(), family());
    flow.splice();
    const Counted counted(world(), LIMPET_REASON_GUARD_HOST_PACKET);
    std::uint64_t sent = 0;
    for (const std::uint8_t flags : {rst, std::uint8_t{rst | ack}, ack, std::uint8_t{fin | ack}, syn}) {
        EXPECT_EQ(world().egress(from_host(flow, flags).build(), world().client().index).verdict,
                  Verdict::drop);
        EXPECT_EQ(counted.since(), ++sent);
    }
    auto to_broker = from_host(flow, rst);
    to_broker.source = flow.source;
    to_broker.destination = flow.broker;
    EXPECT_EQ(world().egress(to_broker.build(), world().broker().index).verdict, Verdict::drop)
        << "the broker's leg is guarded as well";
    auto order = flow.command(LIMPET_OPERATION_CLOSE);
    ASSERT_TRUE(world().maps().run(order));
    EXPECT_EQ(world().egress(from_host(flow, rst).build(), world().client().index).verdict, Verdict::drop)
        << "closing is still ours";
}

TEST_P(Guard, passes_what_is_ours_or_of_nobody) {
    Flow flow(world(), family());
    flow.make_pending();
    const Counted counted(world(), LIMPET_REASON_GUARD_HOST_PACKET);
    const auto passes = [&](const Packet& packet, std::uint32_t mark, const char* sentence) {
        const auto frame = packet.build();
        const auto outcome = world().egress(frame, world().client().index, mark);
        EXPECT_EQ(outcome.verdict, Verdict::pass) << sentence;
        EXPECT_EQ(outcome.frame, frame) << sentence;
    };
    passes(from_host(flow, ack), 0, "PENDING: the host has the connection");
    flow.be_noted();
    flow.hold();
    passes(from_host(flow, ack), 0, "HOLD: the host still acknowledges");
    flow.activate();
    passes(from_host(flow, ack), LIMPET_MARK, "marked: a parked packet, or a reset of ours");
    auto other = from_host(flow, rst);
    other.destination.port++;
    passes(other, 0, "another connection");
    other = from_host(flow, ack);
    other.protocol = 17;
    passes(other, 0, "UDP");
    ASSERT_EQ(flow.change(LIMPET_OPERATION_RETIRE).leg[0].result, LIMPET_RESULT_OK);
    passes(from_host(flow, rst), 0, "RETIRED: the host may answer as it would a stranger");
    EXPECT_EQ(counted.since(), 0U);
}

TEST_P(Guard, a_mark_is_ours_only_in_full) {
    Flow flow(world(), family());
    flow.splice();
    for (const std::uint32_t mark : {0U, 1U, LIMPET_MARK ^ 1U, LIMPET_MARK & 0xffffU})
        EXPECT_EQ(world().egress(from_host(flow, rst).build(), world().client().index, mark).verdict,
                  Verdict::drop);
}

TEST_P(Guard, takes_out_of_our_syn_what_the_client_did_not_offer) {
    const auto size = option::segment_size(1460);
    const auto permitted = option::sack_permitted();
    const auto stamp = option::timestamps(0x01020304, 0);
    const auto scale = option::window_scale(7);
    struct Edit {
        const char* sentence;
        std::uint8_t edit;
        Bytes leaves;
    };
    // As Linux writes it: MSS, SACK permitted, timestamps, NOP, window scale.
    const auto offered = join({size, permitted, stamp, option::nop(1), scale});
    const Edit edits[] = {
        {"nothing to edit", 0, offered},
        {"no timestamps", LIMPET_SYN_NO_TIMESTAMPS, join({size, permitted, option::nop(11), scale})},
        {"no SACK", LIMPET_SYN_NO_SACK, join({size, option::nop(2), stamp, option::nop(1), scale})},
        {"no window scale", LIMPET_SYN_NO_WINDOW_SCALE, join({size, permitted, stamp, option::nop(4)})},
        {"none of them", LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_SACK | LIMPET_SYN_NO_WINDOW_SCALE,
         join({size, option::nop(16)})},
    };
    for (const auto& edit : edits) {
        Flow flow(world(), family());
        flow.make_pending();
        ASSERT_TRUE(world().maps().retire(flow.broker_key, 0, LIMPET_REASON_NONE));
        auto renew = flow.command(LIMPET_OPERATION_RENEW);
        renew.leg[0].present = 0;
        renew.leg[1].syn_edit = edit.edit;
        ASSERT_TRUE(world().maps().run(renew));
        ASSERT_EQ(renew.leg[1].result, LIMPET_RESULT_OK);
        auto packet = from_host(flow, syn);
        packet.source = flow.source;
        packet.destination = flow.broker;
        packet.acknowledgement = 0;
        packet.options = offered;
        const auto outcome = world().egress(packet.build(), world().broker().index);
        packet.options = edit.leaves;
        EXPECT_EQ(outcome.verdict, Verdict::pass) << edit.sentence;
        EXPECT_EQ(outcome.frame, packet.build())
            << edit.sentence << ": " << difference(outcome.frame, packet.build());
        packet.flags = ack;
        packet.options = offered;
        EXPECT_EQ(world().egress(packet.build(), world().broker().index).frame, packet.build())
            << "only a SYN is edited";
    }
}

}  // namespace
}  // namespace limpet::test
