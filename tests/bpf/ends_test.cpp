// SPDX-License-Identifier: Apache-2.0
// How an active flow ends, and what must not end it: FIN, RST and SYN.
#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

class Ends : public FlowTest {
  protected:
    void expect_event(const Flow& flow, bool client_leg, std::uint8_t state, Reason reason) {
        const auto events = world().events();
        ASSERT_EQ(events.size(), 1U) << "the daemon is told once";
        EXPECT_EQ(events[0].family, flow.family);
        EXPECT_EQ(events[0].state, state);
        EXPECT_EQ(events[0].reason, reason);
        const auto& key = client_leg ? flow.client_key : flow.broker_key;
        EXPECT_TRUE(std::equal(key.bytes.begin(), key.bytes.end(), events[0].key));
    }
    void expect_states(const Flow& flow, std::uint8_t state, const char* sentence) {
        EXPECT_EQ(flow.client_state(), state) << sentence;
        EXPECT_EQ(flow.broker_state(), state) << sentence;
    }
    /// The flow's ends have acknowledged all there is, as the data path saw it.
    static void quiesce(Flow& flow, Program program) {
        ASSERT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
        ASSERT_EQ(flow.broker_sends(program, flow.from_broker()).verdict, Verdict::redirect);
    }
};
LIMPET_BOTH_FAMILIES(Ends);

TEST_P(Ends, fin_both_ways_closes_both_entries) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        world().events();
        const Counted seen(world(), LIMPET_REASON_FIN_SEEN);
        auto packet = flow.from_client();
        packet.flags = fin | ack;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        EXPECT_NE(flow.client_entry().flags & LIMPET_FLOW_FIN_SEEN, 0);
        EXPECT_EQ(flow.client_entry().note_sequence_end, 1001U) << "a FIN is one byte";
        expect_states(flow, LIMPET_STATE_ACTIVE, "half closed is still alive");
        EXPECT_TRUE(world().events().empty());
        packet = flow.from_broker();
        packet.payload = Bytes(6, 'l');
        EXPECT_EQ(flow.broker_sends(program, packet).verdict, Verdict::redirect)
            << "the broker may still speak";
        expect_states(flow, LIMPET_STATE_ACTIVE, "half closed is still alive");
        packet.payload.clear();
        packet.sequence += 6;
        packet.flags = fin | ack;
        EXPECT_EQ(flow.broker_sends(program, packet).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_CLOSING, "both have said all");
        EXPECT_EQ(flow.client_entry().close_reason, LIMPET_REASON_END_FIN);
        expect_event(flow, false, LIMPET_STATE_CLOSING, LIMPET_REASON_END_FIN);
        EXPECT_EQ(seen.since(), 2U);
        EXPECT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect)
            << "the last ACK";
    }
}

TEST_P(Ends, a_fin_of_one_end_repeated_is_not_two_ends) {
    for (const auto program : both_programs) {
        Flow flow(world(), family());
        flow.splice();
        auto packet = flow.from_client();
        packet.flags = fin | ack;
        for (int i = 0; i < 3; ++i) EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE, "the broker has not closed");
    }
}

TEST_P(Ends, a_fin_with_data_of_which_a_part_was_acknowledged_counts) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        auto acknowledges = flow.from_broker();
        acknowledges.acknowledgement += 5;
        ASSERT_EQ(flow.broker_sends(program, acknowledges).verdict, Verdict::redirect);
        auto packet = flow.from_client();
        packet.payload = Bytes(10, 'd');
        packet.flags = fin | ack;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        EXPECT_NE(flow.client_entry().flags & LIMPET_FLOW_FIN_SEEN, 0)
            << "the FIN itself lies behind what the broker has";
    }
}

TEST_P(Ends, a_blind_fin_is_forwarded_and_believed_by_nobody) {
    for (const auto program : both_programs) {
        Flow flow(world(), family());
        flow.splice();
        for (const std::uint32_t offset : {0x4000'0000U, 0x8000'0000U, 0U - 100'000U, (1U << 22) + 1}) {
            auto packet = flow.from_client();
            packet.flags = fin | ack;
            packet.sequence += offset;
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
            EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_FIN_SEEN, 0) << "offset " << offset;
        }
    }
}

TEST_P(Ends, an_exact_rst_closes_both_entries) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        world().events();
        const Counted seen(world(), LIMPET_REASON_RST_SEEN);
        auto packet = flow.from_client();
        packet.flags = rst | ack;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect) << "the end must hear it";
        expect_states(flow, LIMPET_STATE_CLOSING, "at exactly the number that the broker expects");
        EXPECT_EQ(flow.broker_entry().close_reason, LIMPET_REASON_END_RST);
        expect_event(flow, true, LIMPET_STATE_CLOSING, LIMPET_REASON_END_RST);
        EXPECT_EQ(seen.since(), 1U);
    }
}

TEST_P(Ends, an_exact_rst_of_the_broker_closes_as_well_across_the_wrap) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        Flow::Wanted wanted;
        wanted.moved = 0U - Flow::broker_next;  // the broker's next number is 0
        flow.splice(wanted);
        quiesce(flow, program);
        auto packet = flow.from_broker();
        packet.flags = rst;
        packet.acknowledgement = 0;
        EXPECT_EQ(flow.broker_sends(program, packet).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_CLOSING, "a RST without ACK is as good");
        expect_event(flow, false, LIMPET_STATE_CLOSING, LIMPET_REASON_END_RST);
    }
}

TEST_P(Ends, a_blind_rst_is_forwarded_and_moves_no_state) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        world().events();
        for (const std::uint32_t offset : {1U, 0U - 1, 500U, 0x8000'0000U}) {
            auto packet = flow.from_client();
            packet.flags = rst;
            packet.sequence += offset;
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect)
                << "its receiver judges it (RFC 5961 3.2)";
            expect_states(flow, LIMPET_STATE_ACTIVE, "a guess kills nobody");
        }
        expect_event(flow, true, LIMPET_STATE_ACTIVE, LIMPET_REASON_DOUBTED);
        auto order = flow.command(LIMPET_OPERATION_UNMARK);
        order.leg[0].flags = LIMPET_FLOW_DOUBTED;
        order.leg[1].present = 0;
        ASSERT_TRUE(world().maps().run(order));
        EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_DOUBTED, 0);
        auto packet = flow.from_client();
        packet.flags = rst;
        packet.sequence += 9;
        flow.client_sends(program, packet);
        expect_event(flow, true, LIMPET_STATE_ACTIVE, LIMPET_REASON_DOUBTED);
    }
}

TEST_P(Ends, a_forged_packet_makes_no_rst_exact) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        auto packet = flow.from_client();
        packet.sequence += 0x1000'0000;  // far out of the window: the broker drops it
        packet.payload = Bytes(8, 'f');
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        packet.sequence += 8;
        packet.payload.clear();
        packet.flags = rst;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE,
                      "what the forger said before is not what the broker expects");
    }
}

TEST_P(Ends, what_a_forged_packet_noted_the_next_true_one_mends) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        for (const std::uint32_t offset : {0x1000'0000U, 0x7000'0000U, 0x9000'0000U, 0xf000'0000U}) {
            auto forged = flow.from_client();
            forged.sequence += offset;
            forged.acknowledgement += offset;
            ASSERT_EQ(flow.client_sends(program, forged).verdict, Verdict::redirect);
            ASSERT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
            EXPECT_EQ(flow.client_entry().note_ack, Flow::ours_to_client) << "offset " << offset;
            EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next) << "offset " << offset;
        }
        auto late = flow.from_client();
        late.sequence -= 100'000;
        late.acknowledgement -= 100'000;
        ASSERT_EQ(flow.client_sends(program, late).verdict, Verdict::redirect);
        EXPECT_EQ(flow.client_entry().note_ack, Flow::ours_to_client)
            << "an old packet that comes late is no news";
    }
}

TEST_P(Ends, a_rst_right_behind_data_that_nobody_acknowledged_yet_is_asked_about) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        auto packet = flow.from_client();
        packet.payload = Bytes(20, 'd');
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        packet.payload.clear();
        packet.sequence += 20;
        packet.flags = rst | ack;
        world().events();
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE,
                      "whether the broker had the data, and so believed it, is not known");
        expect_event(flow, true, LIMPET_STATE_ACTIVE, LIMPET_REASON_DOUBTED);
        EXPECT_NE(flow.client_entry().flags & LIMPET_FLOW_DOUBTED, 0);
    }
}

TEST_P(Ends, data_after_a_rst_revives_the_flow) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        auto packet = flow.from_client();
        packet.flags = rst;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        ASSERT_EQ(flow.client_state(), LIMPET_STATE_CLOSING);
        EXPECT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_CLOSING, "a pure ACK may have been on its way");
        packet = flow.from_broker();
        packet.payload = Bytes(5, 'd');
        EXPECT_EQ(flow.broker_sends(program, packet).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE, "who sends data has not believed the RST");
    }
}

/// The SYN of a device that rebooted: with the options that every SYN has.
Packet new_syn(const Flow& flow) {
    auto packet = flow.from_client();
    packet.flags = syn;
    packet.sequence = 0x7777'0000;
    packet.acknowledgement = 0;
    packet.window = 64'240;
    return packet;
}

TEST_P(Ends, a_syn_on_a_live_tuple_becomes_a_probe_of_the_old_connection) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        auto data = flow.from_client();
        data.payload = Bytes(40, 'd');
        data.acknowledgement = 5060;
        ASSERT_EQ(flow.client_sends(program, data).verdict, Verdict::redirect);
        const auto before = flow.client_entry();
        world().events();
        const Counted counted(world(), LIMPET_REASON_SYN_ON_ACTIVE);
        const auto outcome = flow.client_sends(program, new_syn(flow));
        EXPECT_EQ(outcome.verdict, Verdict::redirect);
        auto probe = new_syn(flow);
        probe.flags = ack;
        probe.sequence = 1039;  // one below the next byte, as a keep-alive (RFC 9293 3.8.4)
        probe.acknowledgement = 5060;
        auto wanted = flow.to_broker(probe);
        if (program == Program::tc) {
            wanted.to = probe.to;
            wanted.from = probe.from;
        }
        EXPECT_EQ(outcome.frame, wanted.build()) << difference(outcome.frame, wanted.build());
        EXPECT_TRUE(checksums_right(outcome.frame));
        EXPECT_EQ(counted.since(), 1U);
        expect_states(flow, LIMPET_STATE_ACTIVE, "who asks does not end anything");
        EXPECT_TRUE(world().events().empty());
        EXPECT_EQ(flow.client_entry().note_sequence_end, before.note_sequence_end)
            << "the numbers of a SYN are not the flow's";
        EXPECT_EQ(flow.client_entry().note_ack, before.note_ack);
    }
}

TEST_P(Ends, a_syn_with_all_its_options_becomes_a_probe_in_tc) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = new_syn(flow);
    packet.options = join({option::segment_size(1460), option::sack_permitted(), option::timestamps(12, 0),
                           option::nop(1), option::window_scale(7)});
    const auto up = flow.client_sends(Program::xdp, packet);
    EXPECT_EQ(up.verdict, Verdict::pass);
    EXPECT_EQ(up.frame, packet.build());
    const auto outcome = flow.client_sends(Program::tc, packet);
    EXPECT_EQ(outcome.verdict, Verdict::redirect);
    EXPECT_TRUE(checksums_right(outcome.frame));
    const std::size_t tcp = family() == 4 ? 34 : 54;
    EXPECT_EQ(outcome.frame[tcp + 13], ack);
    EXPECT_EQ(get32(outcome.frame, tcp + 4), Flow::ours_to_broker - 1);
    EXPECT_EQ(get32(outcome.frame, tcp + 8), Flow::broker_next);
}

TEST_P(Ends, a_syn_with_data_cannot_put_bytes_into_the_old_connection) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        auto packet = new_syn(flow);
        packet.payload = Bytes(30, 'x');
        const auto outcome = flow.client_sends(program, packet);
        EXPECT_EQ(outcome.verdict, Verdict::drop)
            << "as a probe its data would carry the right sequence numbers without having guessed them";
        EXPECT_EQ(flow.client_entry().bytes, 0U);
        expect_states(flow, LIMPET_STATE_ACTIVE, "its sender tries again without data (RFC 7413 4.1.3)");
    }
}

TEST_P(Ends, a_syn_on_a_closing_tuple_retires_both_and_reaches_the_listener) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        quiesce(flow, program);
        auto packet = flow.from_client();
        packet.flags = rst;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        world().events();
        const Counted counted(world(), LIMPET_REASON_SYN_ON_CLOSING);
        const auto syn_packet = new_syn(flow);
        const auto outcome = flow.client_sends(program, syn_packet);
        EXPECT_EQ(outcome.verdict, Verdict::pass);
        EXPECT_EQ(outcome.frame, syn_packet.build()) << "the listener must get it as it came";
        expect_states(flow, LIMPET_STATE_RETIRED, "a new connection begins");
        EXPECT_EQ(flow.client_entry().close_reason, LIMPET_REASON_END_SYN);
        expect_event(flow, true, LIMPET_STATE_RETIRED, LIMPET_REASON_END_SYN);
        EXPECT_EQ(counted.since(), 1U);
    }
}

TEST_P(Ends, an_end_without_its_pair_is_dropped_and_counted) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        ASSERT_TRUE(world().maps().retire(flow.broker_key, 0, LIMPET_REASON_NONE));
        ASSERT_TRUE(world().maps().remove(flow.broker_key, 0));
        const Counted counted(world(), LIMPET_REASON_DROP_PAIR_MISSING);
        auto packet = flow.from_client();
        for (const std::uint8_t flags : {std::uint8_t{fin | ack}, rst, syn}) {
            packet.flags = flags;
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::drop);
        }
        EXPECT_EQ(counted.since(), 3U);
    }
}

}  // namespace
}  // namespace limpet::test
