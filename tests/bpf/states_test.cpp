// SPDX-License-Identifier: Apache-2.0
// What each state of an entry does to a packet, and what it notes (docs/HANDOFF.md, "The states").
#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

Bytes stamps(std::uint32_t value) {
    return join({option::nop(2), option::timestamps(value, 1)});
}

class States : public FlowTest {
  protected:
    /// Sends it through both programs, with a verdict that both must give.
    void expect_passed(Flow& flow, const Packet& packet, const char* sentence) {
        for (const auto program : both_programs) {
            const auto outcome = flow.client_sends(program, packet);
            EXPECT_EQ(outcome.verdict, Verdict::pass) << name_of(program) << ": " << sentence;
            EXPECT_EQ(outcome.frame, packet.build()) << name_of(program) << ": " << sentence;
        }
    }
    /// Sends it through one program; it must land in the ring, byte for byte.
    void expect_parked(Flow& flow, Program program, const Packet& packet, const char* sentence) {
        const Counted parked(world(), LIMPET_REASON_PARKED);
        world().parking().expect(flow.client_key);
        const auto outcome = flow.client_sends(program, packet);
        EXPECT_EQ(outcome.verdict, Verdict::drop) << name_of(program) << ": " << sentence;
        EXPECT_EQ(parked.since(), 1U) << name_of(program) << ": " << sentence;
        std::uint64_t left = 0;
        auto frames = world().parking().take(flow.client_key, left);
        ASSERT_EQ(frames.size(), 1U) << name_of(program) << ": " << sentence;
        EXPECT_EQ(Bytes(frames[0].frame(), frames[0].frame() + frames[0].length()), packet.build())
            << name_of(program) << ": the frame is kept as it came";
    }
};
LIMPET_BOTH_FAMILIES(States);

TEST_P(States, pending_passes_and_notes_both_numbers_and_the_clock) {
    Flow flow(world(), family());
    flow.make_pending();
    auto packet = flow.from_client();
    packet.payload = Bytes(10, 'c');
    packet.options = stamps(777);
    expect_passed(flow, packet, "the host owns the connection");
    const auto entry = flow.client_entry();
    EXPECT_EQ(entry.state, LIMPET_STATE_PENDING);
    EXPECT_EQ(entry.note_sequence_end, 1010U);
    EXPECT_EQ(entry.note_ack, 5000U);
    EXPECT_EQ(entry.note_tsval, 777U);
    EXPECT_EQ(entry.flags & (LIMPET_FLOW_NOTE_SEEN | LIMPET_FLOW_TSVAL_SEEN),
              LIMPET_FLOW_NOTE_SEEN | LIMPET_FLOW_TSVAL_SEEN);
    EXPECT_EQ(entry.packets, 0U) << "counters are of what was forwarded";
    EXPECT_EQ(flow.broker_entry().flags & LIMPET_FLOW_NOTE_SEEN, 0) << "the other leg saw nothing";
}

TEST_P(States, pending_counts_syn_and_fin_as_one_byte_each) {
    Flow flow(world(), family());
    flow.make_pending();
    auto packet = flow.from_client();
    packet.flags = syn;
    packet.acknowledgement = 99;
    packet.options = join({option::segment_size(1234)});
    expect_passed(flow, packet, "the SYN is the host's");
    EXPECT_EQ(flow.client_entry().note_sequence_end, 1001U);
    EXPECT_EQ(flow.client_entry().note_ack, 0U) << "a SYN without ACK acknowledges nothing";
    EXPECT_EQ(flow.client_entry().egress_interface, 1234U) << "the MSS of the handshake";
    packet.flags = fin | ack;
    packet.sequence = 1001;
    packet.options.clear();
    packet.payload = Bytes(4, 1);
    expect_passed(flow, packet, "so is the FIN");
    EXPECT_EQ(flow.client_entry().note_sequence_end, 1006U);
}

TEST_P(States, notes_are_serial_numbers) {
    struct Step {
        const char* sentence;
        std::uint32_t sequence, payload, acknowledgement, tsval;
        std::uint32_t end, ack_note, tsval_note;
    };
    const Step steps[] = {
        {"first", 0xffff'ff00, 16, 0xffff'fff0, 0xffff'fff0, 0xffff'ff10, 0xffff'fff0, 0xffff'fff0},
        {"over the wrap", 0xffff'ff10, 0x200, 0x10, 5, 0x110, 0x10, 5},
        {"an old retransmission takes nothing back", 0xffff'ff00, 16, 0xffff'fff8, 0xffff'fff8, 0x110, 0x10,
         5},
        {"as much ahead as a connection may have under way", 0x110, 0, 0x1ff'0010, 0x1f'0005, 0x110,
         0x1ff'0010, 0x1f'0005},
        {"farther ahead it may be forged: the clock does not believe it", 0x110, 0, 0x7fff'0010, 0x20'0005,
         0x110, 0x7fff'0010, 0x1f'0005},
    };
    for (const auto program : both_programs) {
        Flow flow(world(), family());
        flow.make_pending();
        for (const auto& step : steps) {
            SCOPED_TRACE(std::string(name_of(program)) + ": " + step.sentence);
            auto packet = flow.from_client();
            packet.sequence = step.sequence;
            packet.payload = Bytes(step.payload, 1);
            packet.acknowledgement = step.acknowledgement;
            packet.options = stamps(step.tsval);
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass);
            const auto entry = flow.client_entry();
            EXPECT_EQ(entry.note_sequence_end, step.end);
            EXPECT_EQ(entry.note_ack, step.ack_note);
            EXPECT_EQ(entry.note_tsval, step.tsval_note);
        }
    }
}

TEST_P(States, hold_parks_what_is_new_and_passes_what_is_not) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.make_pending();
        flow.be_noted();
        flow.hold();
        auto packet = flow.from_client();
        packet.acknowledgement = 5100;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass)
            << "a pure ACK drains the host's send queue";
        EXPECT_EQ(flow.client_entry().note_ack, 5100U);
        packet.sequence = 900;
        packet.payload = Bytes(100, 'r');
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass)
            << "a retransmission fills a hole that the host still has";
        packet.sequence = 999;
        packet.payload = Bytes(1, 'p');
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass)
            << "a keep-alive probe wants an answer (RFC 9293 3.8.4)";
        packet.sequence = 1000;
        packet.acknowledgement = 5200;
        packet.payload = Bytes(20, 'd');
        expect_parked(flow, program, packet, "data beyond the note is new");
        EXPECT_EQ(flow.client_entry().note_sequence_end, 1000U) << "the host was not shown it";
        EXPECT_EQ(flow.client_entry().note_ack, 5200U) << "the ACK on a parked packet counts all the same";
        packet.sequence = 990;
        expect_parked(flow, program, packet, "data that reaches beyond the note is new, too");
        packet.sequence = 1020;
        packet.payload.clear();
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass)
            << "a pure ACK behind parked data is a pure ACK";
        EXPECT_EQ(flow.client_entry().note_sequence_end, 1000U)
            << "its sequence number was never shown to the host either";
        packet.sequence = 1000;
        packet.flags = fin | ack;
        expect_parked(flow, program, packet, "a FIN is new");
        packet.flags = rst;
        expect_parked(flow, program, packet, "a RST must not kill a socket that is about to leave");
        packet.sequence = 500;
        expect_parked(flow, program, packet, "nor one that looks old");
        packet.flags = syn;
        packet.sequence = 7'000;
        expect_parked(flow, program, packet, "nor a SYN");
        EXPECT_EQ(flow.client_state(), LIMPET_STATE_HOLD);
        EXPECT_EQ(flow.broker_state(), LIMPET_STATE_HOLD);
    }
}

TEST_P(States, hold_keeps_frames_of_every_size_that_a_program_can_see) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold();
    auto packet = flow.from_client();
    for (const std::size_t payload : {std::size_t{1}, std::size_t{1460}}) {
        packet.payload = Bytes(payload, 0x77);
        for (const auto program : both_programs) expect_parked(flow, program, packet, "a frame of the wire");
    }
    packet.payload = Bytes(2500, 0x77);
    expect_parked(flow, Program::tc, packet, "larger than the smallest record of the ring");
}

TEST_P(States, hold_without_room_leaves_the_packet_to_its_sender) {
    for (const auto program : both_programs) {
        Flow flow(world(), family());
        flow.make_pending();
        flow.be_noted();
        flow.hold(600, 5);  // a worker that has no ring
        const Counted overflow(world(), LIMPET_REASON_PARK_OVERFLOW);
        auto packet = flow.from_client();
        packet.payload = Bytes(10, 1);
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::drop)
            << name_of(program) << ": passing it would acknowledge data that nobody reads any more";
        EXPECT_EQ(overflow.since(), 1U);
    }
}

TEST_P(States, hold_past_its_deadline_retires_and_passes) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.make_pending();
        flow.be_noted();
        flow.hold(-10);
        const Counted expired(world(), LIMPET_REASON_HOLD_EXPIRED);
        auto packet = flow.from_client();
        packet.payload = Bytes(10, 1);
        const auto outcome = flow.client_sends(program, packet);
        EXPECT_EQ(outcome.verdict, Verdict::pass) << "a dead daemon must not black-hole its connections";
        EXPECT_EQ(outcome.frame, packet.build());
        EXPECT_EQ(flow.client_state(), LIMPET_STATE_RETIRED);
        EXPECT_EQ(flow.client_entry().close_reason, LIMPET_REASON_HOLD_EXPIRED);
        EXPECT_EQ(expired.since(), 1U) << "the operator can see that it happens";
        const auto broker_packet = flow.from_broker();
        EXPECT_EQ(flow.broker_sends(program, broker_packet).verdict, Verdict::pass);
        EXPECT_EQ(flow.broker_state(), LIMPET_STATE_RETIRED) << "by its own packet";
    }
}

TEST_P(States, hold_right_before_its_deadline_still_parks) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold(120);
    auto packet = flow.from_client();
    packet.payload = Bytes(10, 1);
    EXPECT_EQ(flow.client_sends(Program::xdp, packet).verdict, Verdict::drop);
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_HOLD);
}

TEST_P(States, tsval_of_parked_packets_is_not_noted) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold();
    auto packet = flow.from_client();
    packet.options = stamps(Flow::client_tsval + 5);
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::pass);
    EXPECT_EQ(flow.client_entry().note_tsval, Flow::client_tsval + 5) << "the host saw this one";
    packet.options = stamps(Flow::client_tsval + 9);
    packet.payload = Bytes(3, 1);
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::drop);
    packet.options = stamps(Flow::client_tsval + 12);
    packet.sequence += 3;
    packet.payload.clear();
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::pass);
    EXPECT_EQ(flow.client_entry().note_tsval, Flow::client_tsval + 5)
        << "parked packets are delivered after the handoff: time must not stand ahead of them (PAWS)";
}

TEST_P(States, active_notes_what_it_forwards) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        auto packet = flow.from_client();
        packet.payload = Bytes(50, 1);
        packet.acknowledgement = 5400;
        packet.options = stamps(40'077);
        const auto activated = flow.client_entry().tick;
        while (dataplane::tick_now() <= activated + 1) {  // some 30 ms, until the clock has moved
        }
        const auto earliest = dataplane::tick_now();
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        packet.sequence = 400;
        packet.acknowledgement = 5300;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        const auto entry = flow.client_entry();
        EXPECT_EQ(entry.note_sequence_end, 1050U) << "a retransmission takes nothing back";
        EXPECT_EQ(entry.note_ack, 5400U);
        EXPECT_EQ(entry.note_tsval, 40'077U);
        EXPECT_EQ(entry.packets, 2U);
        EXPECT_EQ(entry.bytes, 100U);
        EXPECT_GE(entry.tick, earliest) << "the idle timeout counts from the last packet";
        EXPECT_LE(entry.tick, dataplane::tick_now() + 1);
    }
}

TEST_P(States, one_active_leg_alone_forwards_its_direction_only) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold();
    flow.activate();
    ASSERT_TRUE(world().maps().retire(flow.broker_key, 0, LIMPET_REASON_END_KILLED));
    EXPECT_EQ(flow.client_sends(Program::xdp, flow.from_client()).verdict, Verdict::redirect);
    const auto packet = flow.from_broker();
    for (const auto program : both_programs)
        EXPECT_EQ(flow.broker_sends(program, packet).verdict, Verdict::pass) << "RETIRED passes to the host";
}

TEST_P(States, closing_forwards_as_active_does) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        auto order = flow.command(LIMPET_OPERATION_CLOSE);
        order.leg[0].close_reason = order.leg[1].close_reason = LIMPET_REASON_END_FIN;
        ASSERT_TRUE(world().maps().run(order));
        EXPECT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
        EXPECT_EQ(flow.broker_sends(program, flow.from_broker()).verdict, Verdict::redirect);
        auto data = flow.from_client();
        data.payload = Bytes(3, 1);
        EXPECT_EQ(flow.client_sends(program, data).verdict, Verdict::redirect)
            << "a retransmission of the last data";
        EXPECT_EQ(flow.client_state(), LIMPET_STATE_CLOSING) << "after both FINs nothing new begins";
    }
}

TEST_P(States, retired_passes_unchanged_and_notes_nothing) {
    Flow flow(world(), family());
    flow.splice();
    ASSERT_EQ(flow.change(LIMPET_OPERATION_RETIRE).leg[0].result, LIMPET_RESULT_OK);
    const auto before = flow.client_entry();
    auto packet = flow.from_client();
    packet.payload = Bytes(100, 1);
    packet.options = stamps(99'999);
    expect_passed(flow, packet, "the host answers as it would a stranger");
    const auto after = flow.client_entry();
    EXPECT_EQ(after.note_sequence_end, before.note_sequence_end);
    EXPECT_EQ(after.note_tsval, before.note_tsval);
    EXPECT_EQ(after.packets, before.packets);
    EXPECT_EQ(after.state, LIMPET_STATE_RETIRED);
}

}  // namespace
}  // namespace limpet::test
