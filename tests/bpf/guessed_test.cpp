// SPDX-License-Identifier: Apache-2.0
// Somebody who knows a tuple and guesses numbers near the right ones: FINs that are believed until their ends
// deny them, and notes before the handoff.
#include <bpf/bpf.h>

#include "dataplane/probing.h"
#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

Bytes stamps(std::uint32_t value) {
    return join({option::nop(2), option::timestamps(value, 1)});
}

class Guessed : public FlowTest {
  protected:
    /// A quiet flow whose ends have acknowledged all there is, and a FIN in the name of each, this far ahead.
    static void guess(Flow& flow, Program program, std::uint32_t ahead = 1000) {
        flow.splice();
        ASSERT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
        ASSERT_EQ(flow.broker_sends(program, flow.from_broker()).verdict, Verdict::redirect);
        auto packet = flow.from_client();
        packet.flags = fin | ack;
        packet.sequence += ahead;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        packet = flow.from_broker();
        packet.flags = fin | ack;
        packet.sequence += ahead;
        ASSERT_EQ(flow.broker_sends(program, packet).verdict, Verdict::redirect);
        ASSERT_EQ(flow.client_state(), LIMPET_STATE_CLOSING);
        ASSERT_EQ(flow.broker_state(), LIMPET_STATE_CLOSING);
    }
    /// Nothing came from either end for so long.
    void be_silent(const Flow& flow, std::uint32_t ticks) {
        const int map = world().object().map(family() == 4 ? "limpet_flows4" : "limpet_flows6");
        for (const auto& key : {flow.client_key, flow.broker_key}) {
            std::array<std::uint8_t, sizeof(limpet_flow6)> value{};
            ASSERT_EQ(bpf_map_lookup_elem(map, key.bytes.data(), value.data()), 0);
            auto* const entry = reinterpret_cast<limpet_flow*>(value.data());
            entry->tick -= ticks;
            ASSERT_EQ(bpf_map_update_elem(map, key.bytes.data(), value.data(), BPF_EXIST), 0);
        }
    }
    static void expect_states(const Flow& flow, std::uint8_t state, const char* sentence) {
        EXPECT_EQ(flow.client_state(), state) << sentence;
        EXPECT_EQ(flow.broker_state(), state) << sentence;
    }
};
LIMPET_BOTH_FAMILIES(Guessed);

TEST_P(Guessed, fins_are_denied_by_who_is_asked_and_never_sent_one) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        guess(flow, program);
        const Counted denied(world(), LIMPET_REASON_FIN_DENIED);
        ASSERT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_CLOSING, "an ACK of before the FIN may be a late one");
        be_silent(flow, 2 * LIMPET_TICKS_PER_SECOND);
        auto answer = flow.from_client();
        answer.acknowledgement -= 1;
        ASSERT_EQ(flow.client_sends(program, answer).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE, "no ACK is as late as that: the client never sent a FIN");
        EXPECT_EQ(denied.since(), 1U);
        const auto entry = flow.client_entry();
        EXPECT_EQ(entry.flags & LIMPET_FLOW_FIN_SEEN, 0);
        EXPECT_EQ(entry.note_sequence_end, Flow::client_next) << "the number that was guessed is forgotten";
        EXPECT_NE(flow.broker_entry().flags & LIMPET_FLOW_FIN_SEEN, 0) << "the broker has not spoken yet";
        ASSERT_EQ(flow.broker_sends(program, flow.from_broker()).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE, "and both go on");
    }
}

TEST_P(Guessed, fins_are_denied_by_data_from_behind_them) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        guess(flow, program, 0);
        auto data = flow.from_broker();
        data.payload = Bytes(20, 'd');
        ASSERT_EQ(flow.broker_sends(program, data).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_ACTIVE, "nobody sends data behind a FIN of his own");
        EXPECT_EQ(flow.broker_entry().note_sequence_end, Flow::broker_next + 20);
    }
}

TEST_P(Guessed, true_fins_are_denied_by_nothing_that_their_ends_may_still_send) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        guess(flow, program, 100);  // behind 100 bytes that are lost and come again
        const Counted denied(world(), LIMPET_REASON_FIN_DENIED);
        be_silent(flow, 2 * LIMPET_TICKS_PER_SECOND);
        auto again = flow.from_client();
        again.payload = Bytes(100, 'r');
        ASSERT_EQ(flow.client_sends(program, again).verdict, Verdict::redirect);
        again.payload.clear();
        again.sequence += 101;
        be_silent(flow, 2 * LIMPET_TICKS_PER_SECOND);
        ASSERT_EQ(flow.client_sends(program, again).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_CLOSING, "an end that closed confirms it");
        auto acknowledges = flow.from_broker();
        acknowledges.sequence += 101;
        acknowledges.acknowledgement += 101;
        ASSERT_EQ(flow.broker_sends(program, acknowledges).verdict, Verdict::redirect);
        be_silent(flow, 2 * LIMPET_TICKS_PER_SECOND);
        again.sequence -= 1;
        ASSERT_EQ(flow.client_sends(program, again).verdict, Verdict::redirect);
        expect_states(flow, LIMPET_STATE_CLOSING, "a keep-alive probe of who waits for the other's FIN");
        EXPECT_EQ(denied.since(), 0U);
    }
}

TEST_P(Guessed, fins_do_not_let_a_syn_end_the_flow) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        guess(flow, program);
        const Counted asked(world(), LIMPET_REASON_SYN_ON_ACTIVE);
        auto packet = flow.from_client();
        packet.flags = syn;
        packet.sequence = 0x7777'0000;
        packet.acknowledgement = 0;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect) << "as a probe";
        expect_states(flow, LIMPET_STATE_CLOSING, "two guesses and a SYN are no end");
        EXPECT_EQ(asked.since(), 1U);
        // The device did reboot: its answer to the broker's is a RST at the number that is expected.
        packet = flow.from_client();
        packet.flags = rst;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        EXPECT_EQ(flow.client_entry().close_reason, LIMPET_REASON_END_RST);
        packet.flags = syn;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass) << "to the listener";
        expect_states(flow, LIMPET_STATE_RETIRED, "now it is certain");
    }
}

TEST_P(Guessed, fins_that_were_acknowledged_let_a_syn_begin_anew) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        guess(flow, program, 0);
        auto packet = flow.from_client();
        packet.sequence += 1;
        packet.acknowledgement += 1;
        ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
        packet = flow.from_broker();
        packet.sequence += 1;
        packet.acknowledgement += 1;
        ASSERT_EQ(flow.broker_sends(program, packet).verdict, Verdict::redirect);
        packet = flow.from_client();
        packet.flags = syn;
        EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass);
        expect_states(flow, LIMPET_STATE_RETIRED, "a port that is used again in TIME-WAIT");
    }
}

/// The daemon's part of it.
class GuessedFins : public Guessed {
  protected:
    void SetUp() override {
        Guessed::SetUp();
        if (IsSkipped()) return;
        auto sender = dataplane::RawSender::open();
        ASSERT_TRUE(sender) << sender.error().line();
        sender_.emplace(std::move(*sender));
        probing_.emplace(world().maps(), *sender_, [this](Reason reason) { ++counted_[reason]; });
    }
    void begin(const Flow& flow) {
        ASSERT_TRUE(
            probing_->begin({flow.client_key, flow.broker_key}, dataplane::Probing::Cause::closing, now_));
    }
    void step(std::chrono::milliseconds later) {
        now_ += later;
        probing_->step(now_, [](const dataplane::FlowPair&) { FAIL() << "nobody is gone for certain"; });
    }

    std::optional<dataplane::RawSender> sender_;
    std::optional<dataplane::Probing> probing_;
    dataplane::Probing::Clock::time_point now_ = dataplane::Probing::Clock::now();
    std::array<unsigned, LIMPET_REASON_COUNT> counted_{};
};
LIMPET_BOTH_FAMILIES(GuessedFins);

TEST_P(GuessedFins, are_asked_about_until_one_end_denies) {
    Flow flow(world(), family());
    guess(flow, Program::tc);
    begin(flow);
    step(std::chrono::milliseconds(300));
    EXPECT_EQ(counted_[LIMPET_REASON_PROBED], 2U) << "both ends are asked";
    be_silent(flow, 2 * LIMPET_TICKS_PER_SECOND);
    ASSERT_EQ(flow.client_sends(Program::tc, flow.from_client()).verdict, Verdict::redirect);
    step(std::chrono::seconds(1));
    EXPECT_TRUE(probing_->empty());
    expect_states(flow, LIMPET_STATE_ACTIVE, "it is settled");
    EXPECT_EQ(counted_[LIMPET_REASON_FIN_UNCONFIRMED], 0U);
}

TEST_P(GuessedFins, of_ends_that_do_not_answer_are_not_believed) {
    Flow flow(world(), family());
    guess(flow, Program::tc);
    begin(flow);
    step(std::chrono::milliseconds(300));
    auto confirms = flow.from_broker();
    confirms.sequence += 1001;
    ASSERT_EQ(flow.broker_sends(Program::tc, confirms).verdict, Verdict::redirect);
    for (int second = 0; second < 40; ++second) step(std::chrono::seconds(1));
    EXPECT_TRUE(probing_->empty());
    EXPECT_EQ(counted_[LIMPET_REASON_FIN_UNCONFIRMED], 1U);
    expect_states(flow, LIMPET_STATE_ACTIVE, "a device that sleeps is not lost to two guesses");
    EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_FIN_SEEN, 0);
    EXPECT_NE(flow.broker_entry().flags & LIMPET_FLOW_FIN_SEEN, 0) << "the broker has confirmed its own";
}

TEST_P(GuessedFins, that_both_ends_confirm_leave_the_flow_closing) {
    Flow flow(world(), family());
    guess(flow, Program::tc);
    begin(flow);
    step(std::chrono::milliseconds(300));
    auto packet = flow.from_client();
    packet.sequence += 1001;
    ASSERT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::redirect);
    packet = flow.from_broker();
    packet.sequence += 1001;
    ASSERT_EQ(flow.broker_sends(Program::tc, packet).verdict, Verdict::redirect);
    step(std::chrono::seconds(1));
    EXPECT_TRUE(probing_->empty());
    expect_states(flow, LIMPET_STATE_CLOSING, "both have said so");
}

class Notes : public FlowTest {};
LIMPET_BOTH_FAMILIES(Notes);

TEST_P(Notes, of_forged_numbers_are_mended_by_the_next_true_packet) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        for (const std::uint32_t offset : {0x1000'0000U, 0x7000'0000U, 0x9000'0000U, 0xf000'0000U}) {
            SCOPED_TRACE(offset);
            Flow flow(world(), family());
            flow.make_pending();
            flow.be_noted();
            auto forged = flow.from_client();
            forged.sequence += offset;
            forged.acknowledgement += offset;
            forged.payload = Bytes(10, 'f');
            forged.options = stamps(Flow::client_tsval + 1'000'000);
            ASSERT_EQ(flow.client_sends(program, forged).verdict, Verdict::pass) << "its receiver judges it";
            auto packet = flow.from_client();
            packet.options = stamps(Flow::client_tsval + 1);
            ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass);
            EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next)
                << "else the connection would never be drained";
            EXPECT_EQ(flow.client_entry().note_ack, Flow::ours_to_client);
            EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_TSVAL_SEEN, 0)
                << "no handoff before the next one";
            packet.payload = Bytes(1, 'x');
            ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass);
            EXPECT_EQ(flow.client_entry().note_tsval, Flow::client_tsval + 1)
                << "a clock that runs ahead would have the receiver drop all that comes (RFC 7323 5.3)";
        }
    }
}

TEST_P(Notes, of_a_forged_first_packet_are_mended_too) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.make_pending();
        auto forged = flow.from_client();
        forged.sequence += 0x4000'0000;
        forged.acknowledgement -= 0x4000'0000;
        forged.options = stamps(Flow::client_tsval + 0x3000'0000);
        ASSERT_EQ(flow.client_sends(program, forged).verdict, Verdict::pass);
        auto packet = flow.from_client();
        packet.options = stamps(Flow::client_tsval);
        for (int i = 0; i < 2; ++i) ASSERT_EQ(flow.client_sends(program, packet).verdict, Verdict::pass);
        EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next);
        EXPECT_EQ(flow.client_entry().note_ack, Flow::ours_to_client);
        EXPECT_EQ(flow.client_entry().note_tsval, Flow::client_tsval);
    }
}

TEST_P(Notes, in_hold_are_mended_likewise) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.make_pending();
        flow.be_noted();
        flow.hold();
        auto forged = flow.from_client();
        forged.sequence -= 0x1000'0000;
        forged.acknowledgement += 0x1000'0000;
        flow.client_sends(program, forged);
        EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next);
        ASSERT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::pass);
        EXPECT_EQ(flow.client_entry().note_ack, Flow::ours_to_client);
        EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next);
    }
}

}  // namespace
}  // namespace limpet::test
