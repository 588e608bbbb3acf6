// SPDX-License-Identifier: Apache-2.0
// Packets with a live tuple and nonsense in everything else: each goes on or is dropped as by a router, is
// counted, and moves nothing of the flow that whoever sent it could profit from.
#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

class Nonsense : public FlowTest {
  protected:
    /// A quiet flow whose ends were heard.
    static void quiesce(Flow& flow, Program program) {
        flow.splice();
        ASSERT_EQ(flow.client_sends(program, flow.from_client()).verdict, Verdict::redirect);
        ASSERT_EQ(flow.broker_sends(program, flow.from_broker()).verdict, Verdict::redirect);
    }
    /// What must be so after any nonsense: both entries are as they were but for what is counted, and true
    /// packets cross with the right numbers.
    static void expect_unharmed(Flow& flow, Program program, const char* sentence) {
        for (const auto& entry : {flow.client_entry(), flow.broker_entry()}) {
            EXPECT_EQ(entry.state, LIMPET_STATE_ACTIVE) << sentence;
            EXPECT_EQ(entry.flags & LIMPET_FLOW_FIN_SEEN, 0) << sentence;
        }
        auto packet = flow.from_client();
        packet.payload = Bytes(3, 'p');
        auto wanted = flow.to_broker(packet);
        if (program == Program::tc) {
            wanted.to = packet.to;
            wanted.from = packet.from;
        }
        const auto outcome = flow.client_sends(program, packet);
        EXPECT_EQ(outcome.verdict, Verdict::redirect) << sentence;
        EXPECT_EQ(outcome.frame, wanted.build())
            << sentence << ": " << difference(outcome.frame, wanted.build());
        EXPECT_EQ(flow.client_entry().note_ack, Flow::ours_to_client) << sentence;
    }
};
LIMPET_BOTH_FAMILIES(Nonsense);

TEST_P(Nonsense, in_numbers_is_forwarded_for_the_receiver_to_judge) {
    for (const auto program : both_programs)
        for (const std::uint32_t offset : {0x0800'0000U, 0x4000'0000U, 0x8000'0000U, 0xf000'0000U}) {
            SCOPED_TRACE(std::string(name_of(program)) + ", offset " + std::to_string(offset));
            Flow flow(world(), family());
            quiesce(flow, program);
            auto packet = flow.from_client();
            packet.sequence += offset;
            packet.acknowledgement += offset;
            packet.payload = Bytes(9, 'n');
            auto wanted = flow.to_broker(packet);
            if (program == Program::tc) {
                wanted.to = packet.to;
                wanted.from = packet.from;
            }
            const auto outcome = flow.client_sends(program, packet);
            EXPECT_EQ(outcome.verdict, Verdict::redirect) << "a router knows no windows";
            EXPECT_EQ(outcome.frame, wanted.build()) << "as far off behind as it was before";
            expect_unharmed(flow, program, "numbers out of every window");
        }
}

TEST_P(Nonsense, in_flags_moves_no_state_without_a_right_number) {
    for (const auto program : both_programs)
        for (int flags = 0; flags < 256; ++flags) {
            if ((flags & syn) != 0) continue;  // below
            SCOPED_TRACE(std::string(name_of(program)) + ", flags " + std::to_string(flags));
            Flow flow(world(), family());
            quiesce(flow, program);
            auto packet = flow.from_client();
            packet.flags = static_cast<std::uint8_t>(flags);
            packet.sequence += 0x3000'0000;
            packet.acknowledgement += 0x3000'0000;
            packet.urgent = 0xffff;
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::redirect);
            expect_unharmed(flow, program, "no flags, all flags, and any others");
        }
}

TEST_P(Nonsense, with_a_syn_in_it_becomes_a_question_or_is_dropped) {
    for (const auto program : both_programs)
        for (const std::uint8_t flags : {std::uint8_t{syn | ack}, std::uint8_t{syn | fin},
                                         std::uint8_t{syn | rst}, std::uint8_t{0xff}}) {
            SCOPED_TRACE(std::string(name_of(program)) + ", flags " + std::to_string(flags));
            Flow flow(world(), family());
            quiesce(flow, program);
            const Counted counted(world(), LIMPET_REASON_SYN_ON_ACTIVE);
            auto packet = flow.from_client();
            packet.flags = flags;
            packet.sequence += 0x3000'0000;
            const auto outcome = flow.client_sends(program, packet);
            ASSERT_EQ(outcome.verdict, Verdict::redirect);
            const std::size_t tcp = family() == 4 ? 34 : 54;
            EXPECT_EQ(outcome.frame[tcp + 13], ack) << "whatever else it said, it is a question now";
            EXPECT_EQ(get32(outcome.frame, tcp + 4), Flow::ours_to_broker - 1);
            EXPECT_TRUE(checksums_right(outcome.frame));
            packet.payload = Bytes(4, 'x');
            EXPECT_EQ(flow.client_sends(program, packet).verdict, Verdict::drop);
            EXPECT_EQ(counted.since(), 2U);
            expect_unharmed(flow, program, "a SYN with other flags");
        }
}

TEST_P(Nonsense, in_a_checksum_is_still_wrong_behind_the_gateway) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        quiesce(flow, program);
        auto packet = flow.from_client();
        packet.payload = Bytes(7, 'c');
        packet.checksum = Checksum::wrong;
        const auto outcome = flow.client_sends(program, packet);
        EXPECT_EQ(outcome.verdict, Verdict::redirect) << "as by a router, which looks at none";
        EXPECT_FALSE(checksums_right(outcome.frame)) << "mended, the broker would believe what was damaged";
        expect_unharmed(flow, program, "a damaged packet");
    }
}

TEST_P(Nonsense, in_options_is_dropped_or_crosses_as_it_is) {
    const Bytes broken[] = {
        {8, 0, 1, 1},                                     // a length of nothing
        {8, 1, 1, 1},                                     // within itself
        {8, 40, 0, 0},                                    // beyond the header
        {8},                                              // without a length
        {5, 10, 0, 0},                                    // SACK that is cut off
        {5, 3, 0, 1},                                     // half an edge
        {254, 2, 254, 2},                                 // experiments
        join({option::timestamps(1, 2), {8, 11, 0, 0}}),  // and again, too long
        join({option::nop(38), {8, 10}}),                 // cut off at the very end
        join({{30, 4, 0, 0}, option::timestamps(1, 2)}),  // MPTCP
        Bytes(40, 8),                                     // kinds without sense
        Bytes(40, 0xff),
    };
    for (const auto program : both_programs)
        for (const auto& options : broken) {
            SCOPED_TRACE(std::string(name_of(program)) + ", options of " + std::to_string(options.size()) +
                         " bytes that begin with " + std::to_string(options[0]));
            Flow flow(world(), family());
            quiesce(flow, program);
            auto packet = flow.from_client();
            packet.options = options;
            const Counted malformed(world(), LIMPET_REASON_DROP_MALFORMED);
            const Counted up(world(), LIMPET_REASON_PASSED_UP);
            const auto outcome = flow.client_sends(program, packet);
            if (outcome.verdict == Verdict::redirect) {
                EXPECT_EQ(outcome.frame.size(), packet.build().size());
                EXPECT_TRUE(checksums_right(outcome.frame));
            } else if (program == Program::xdp) {
                EXPECT_EQ(outcome.verdict, Verdict::pass);
                EXPECT_EQ(outcome.frame, packet.build()) << "TC finds it as it came";
                EXPECT_EQ(up.since(), 1U);
            } else {
                EXPECT_EQ(outcome.verdict, Verdict::drop) << "never to the host";
                EXPECT_EQ(malformed.since(), 1U);
            }
            expect_unharmed(flow, program, "options that cannot be read");
        }
}

TEST_P(Nonsense, in_lengths_is_dropped_from_either_side) {
    for (const auto program : both_programs)
        for (const std::uint16_t length : {std::uint16_t{21}, std::uint16_t{39}, std::uint16_t{0xffff}}) {
            SCOPED_TRACE(std::string(name_of(program)) + ", length " + std::to_string(length));
            Flow flow(world(), family());
            quiesce(flow, program);
            auto packet = flow.from_broker();
            packet.ip_length =
                static_cast<std::uint16_t>(family() == 4 || length == 0xffff ? length : length - 20);
            const Counted malformed(world(), LIMPET_REASON_DROP_MALFORMED);
            EXPECT_EQ(flow.broker_sends(program, packet).verdict, Verdict::drop);
            EXPECT_EQ(malformed.since(), 1U);
            expect_unharmed(flow, program, "a length that is none");
        }
}

}  // namespace
}  // namespace limpet::test
