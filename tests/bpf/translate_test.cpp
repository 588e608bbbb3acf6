// SPDX-License-Identifier: Apache-2.0
// Packets of an active flow, as they come and as they must leave, through both programs and both families.
#include <functional>

#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;
using Wanted = Flow::Wanted;

constexpr std::uint32_t tsval_delta = 610'000;  // of client packets; the defaults of Flow::Wanted
constexpr std::uint32_t tsecr_delta = 0U - 0xffecc000U;
constexpr std::uint32_t ack_delta = Flow::broker_next - Flow::ours_to_client;

struct Row {
    const char* sentence;
    std::function<void(Wanted&)> entry;
    std::function<void(Packet&)> arrives;
    std::function<void(Packet&)> leaves;  ///< what differs beside addresses, numbers and hops
    bool odd = false;                     ///< XDP passes it up unchanged
};

void nothing(Packet&) {}
void usual(Wanted&) {}

Bytes stamps(std::uint32_t value, std::uint32_t echo) {
    return join({option::nop(2), option::timestamps(value, echo)});
}
Bytes moved_stamps(std::uint32_t value, std::uint32_t echo) {
    return stamps(value + tsval_delta, echo + tsecr_delta);
}
option::Edges blocks(std::size_t count, std::uint32_t delta = 0) {
    option::Edges edges;
    for (std::uint32_t i = 0; i < count; ++i)
        edges.emplace_back(6000 + 100 * i + delta, 6050 + 100 * i + delta);
    return edges;
}
Bytes sack_alone(std::size_t count, std::uint32_t delta = 0) {
    return join({option::nop(2), option::sack(blocks(count, delta))});
}
std::function<void(Packet&)> with(Bytes options) {
    return [options = std::move(options)](Packet& packet) { packet.options = options; };
}
Row layout(const char* sentence, Bytes arrives, Bytes leaves, bool odd) {
    return {sentence, usual, with(std::move(arrives)), with(std::move(leaves)), odd};
}

class Translation : public FlowTest {
  protected:
    void check(const Row& row) {
        for (const auto program : both_programs) {
            SCOPED_TRACE(std::string(name_of(program)) + ": " + row.sentence);
            Flow flow(world(), family());
            Wanted wanted;
            row.entry(wanted);
            flow.splice(wanted);
            auto arriving = flow.from_client();
            row.arrives(arriving);
            auto leaving = flow.to_broker(arriving);
            row.leaves(leaving);
            check_one(flow, program, row.odd, arriving, leaving);
        }
    }

    void check_one(Flow& flow, Program program, bool odd, const Packet& arriving, Packet leaving) {
        const bool up = odd && program == Program::xdp;
        const Counted forwarded(
            world(), program == Program::xdp ? LIMPET_REASON_FORWARDED_XDP : LIMPET_REASON_FORWARDED_TC);
        const Counted passed_up(world(), LIMPET_REASON_PASSED_UP);
        const auto before = flow.client_entry();
        const auto outcome = flow.client_sends(program, arriving);
        ASSERT_EQ(outcome.error, 0) << std::strerror(outcome.error);
        if (up) {
            EXPECT_EQ(outcome.verdict, Verdict::pass);
            EXPECT_EQ(outcome.frame, arriving.build()) << "what XDP leaves to TC is unchanged";
            EXPECT_EQ(flow.client_entry().packets, before.packets) << "TC will count it";
        } else {
            if (program == Program::tc) {  // the kernel's neighbour code writes these later
                leaving.to = arriving.to;
                leaving.from = arriving.from;
                EXPECT_EQ(outcome.mark, LIMPET_MARK) << "the guard must know it";
            }
            EXPECT_EQ(outcome.verdict, Verdict::redirect);
            const auto wanted = leaving.build();
            EXPECT_EQ(outcome.frame, wanted) << difference(outcome.frame, wanted);
            EXPECT_EQ(checksums_right(outcome.frame), arriving.checksum == Checksum::right);
            EXPECT_EQ(flow.client_entry().packets, before.packets + 1);
            EXPECT_EQ(flow.client_entry().bytes, before.bytes + arriving.payload.size());
        }
        EXPECT_EQ(forwarded.since(), up ? 0U : 1U);
        EXPECT_EQ(passed_up.since(), up ? 1U : 0U);
        EXPECT_EQ(flow.client_state(), LIMPET_STATE_ACTIVE);
    }
};
LIMPET_BOTH_FAMILIES(Translation);

TEST_P(Translation, moves_numbers_whatever_the_payload) {
    const Row rows[] = {
        {"a pure ACK", usual, nothing, nothing},
        {"one byte of data, so that the sum has an odd length", usual,
         [](Packet& packet) { packet.payload = Bytes(1, 'x'); }, nothing},
        {"a full segment", usual,
         [](Packet& packet) {
             packet.payload = Bytes(1428, 0xe5);
             packet.flags = psh | ack;
             packet.options = stamps(40'100, 2'000'100);
         },
         with(moved_stamps(40'100, 2'000'100))},
        {"the sequence number wraps by the delta", [](Wanted& wanted) { wanted.moved = 0xffff'0000; },
         [](Packet& packet) { packet.sequence = 0xffff'fff0; }, nothing},
        {"the client's own numbers wrap", usual,
         [](Packet& packet) {
             packet.sequence = 0xffff'ffff;
             packet.acknowledgement = 0xffff'fffe;
             packet.payload = Bytes(10, 1);
         },
         nothing},
        {"hops go down by one", usual, [](Packet& packet) { packet.hops = 2; }, nothing},
        {"the most hops there are", usual, [](Packet& packet) { packet.hops = 255; }, nothing},
        {"the urgent pointer is relative and stays", usual,
         [](Packet& packet) {
             packet.flags = 0x20 | ack;
             packet.urgent = 3;
             packet.payload = Bytes(4, 1);
         },
         nothing},
        {"a segment without ACK keeps its acknowledgement field", usual,
         [](Packet& packet) {
             packet.flags = psh;
             packet.payload = Bytes(4, 1);
         },
         nothing},
        {"a wrong checksum stays as wrong as it came", usual,
         [](Packet& packet) { packet.checksum = Checksum::wrong; }, nothing},
    };
    for (const auto& row : rows) check(row);
}

TEST_P(Translation, moves_every_usual_layout_of_options) {
    const Row rows[] = {
        layout("timestamps", stamps(1, 2), moved_stamps(1, 2), false),
        layout("timestamps about to wrap", stamps(0xffff'fff0, 0xffff'ffff),
               moved_stamps(0xffff'fff0, 0xffff'ffff), false),
        layout("one SACK block", sack_alone(1), sack_alone(1, ack_delta), false),
        layout("two SACK blocks", sack_alone(2), sack_alone(2, ack_delta), false),
        layout("three SACK blocks", sack_alone(3), sack_alone(3, ack_delta), false),
        layout("four SACK blocks", sack_alone(4), sack_alone(4, ack_delta), false),
        layout("timestamps and one block", join({stamps(1, 2), sack_alone(1)}),
               join({moved_stamps(1, 2), sack_alone(1, ack_delta)}), false),
        layout("timestamps and two blocks", join({stamps(1, 2), sack_alone(2)}),
               join({moved_stamps(1, 2), sack_alone(2, ack_delta)}), false),
        layout("timestamps and three blocks", join({stamps(1, 2), sack_alone(3)}),
               join({moved_stamps(1, 2), sack_alone(3, ack_delta)}), false),
        layout("a SACK block across the wrap", join({option::nop(2), option::sack({{0xffff'fff0, 0x10}})}),
               join({option::nop(2), option::sack({{0xffff'fff0 + ack_delta, 0x10 + ack_delta}})}), false),
    };
    for (const auto& row : rows) check(row);
}

TEST_P(Translation, leaves_odd_layouts_to_tc_which_moves_them) {
    const auto stamp = option::timestamps(1, 2);
    const auto moved = option::timestamps(1 + tsval_delta, 2 + tsecr_delta);
    const auto block = option::sack(blocks(1));
    const auto moved_block = option::sack(blocks(1, ack_delta));
    const auto unknown = option::any(30, 5);
    const Row rows[] = {
        layout("timestamps first, without NOPs", join({stamp, option::nop(2)}), join({moved, option::nop(2)}),
               true),
        layout("timestamps behind one NOP: numbers at odd addresses",
               join({option::nop(1), stamp, option::nop(1)}), join({option::nop(1), moved, option::nop(1)}),
               true),
        layout("timestamps behind three NOPs", join({option::nop(3), stamp, option::nop(3)}),
               join({option::nop(3), moved, option::nop(3)}), true),
        layout("SACK first, without NOPs", join({block, option::nop(2)}), join({moved_block, option::nop(2)}),
               true),
        layout("SACK behind one NOP", join({option::nop(1), block, option::nop(1)}),
               join({option::nop(1), moved_block, option::nop(1)}), true),
        layout("four blocks behind one NOP", join({option::nop(1), option::sack(blocks(4)), option::nop(5)}),
               join({option::nop(1), option::sack(blocks(4, ack_delta)), option::nop(5)}), true),
        layout("SACK before timestamps", join({option::nop(2), block, option::nop(2), stamp}),
               join({option::nop(2), moved_block, option::nop(2), moved}), true),
        layout("timestamps and SACK without NOPs", join({stamp, block}), join({moved, moved_block}), true),
        layout("an unknown option before timestamps", join({unknown, stamp, option::nop(1)}),
               join({unknown, moved, option::nop(1)}), true),
        layout("an unknown option alone", join({unknown, option::nop(3)}), join({unknown, option::nop(3)}),
               true),
        layout("timestamps twice", join({stamp, stamp}), join({moved, moved}), true),
        layout("the usual timestamps twice", join({stamps(1, 2), stamps(3, 4)}),
               join({moved_stamps(1, 2), moved_stamps(3, 4)}), true),
        layout("timestamps of a wrong size are no timestamps", join({option::any(8, 8)}),
               join({option::any(8, 8)}), true),
        layout("only NOPs", option::nop(4), option::nop(4), true),
        layout("the list ends early: what follows is read by nobody",
               join({option::end(), stamp, option::end()}), join({option::end(), stamp, option::end()}),
               true),
        layout("the list ends behind timestamps", join({stamp, option::end(), Bytes{9}}),
               join({moved, option::end(), Bytes{9}}), true),
        layout("a length of zero ends the list", join({stamp, Bytes{30, 0}}), join({moved, Bytes{30, 0}}),
               true),
        layout("a length of one ends the list", join({Bytes{30, 1}, stamp}), join({Bytes{30, 1}, stamp}),
               true),
        layout("a length beyond the header ends the list", join({stamp, Bytes{5, 10}}),
               join({moved, Bytes{5, 10}}), true),
        layout("a kind without its length at the very end", join({stamp, option::nop(1), Bytes{5}}),
               join({moved, option::nop(1), Bytes{5}}), true),
        layout("forty bytes of options", join({stamp, option::nop(1), option::any(30, 21), option::nop(8)}),
               join({moved, option::nop(1), option::any(30, 21), option::nop(8)}), true),
        layout("timestamps at the very end of forty bytes", join({option::nop(30), stamp}),
               join({option::nop(30), moved}), true),
    };
    for (const auto& row : rows) check(row);
}

TEST_P(Translation, leaves_timestamps_alone_where_the_flow_has_none) {
    const auto without = [](Wanted& wanted) { wanted.flags = 0; };
    check({"in the usual layout", without, with(stamps(1, 2)), nothing});
    check({"in an odd one", without, with(join({option::timestamps(1, 2), option::nop(2)})), nothing, true});
}

TEST_P(Translation, moves_the_echo_only_with_ack) {
    const auto no_ack = [](Packet& packet) {
        packet.flags = psh;
        packet.payload = Bytes(2, 1);
        packet.options = stamps(1, 2);
    };
    check({"RFC 7323 3.2: TSecr is valid only with ACK", usual, no_ack, with(stamps(1 + tsval_delta, 2))});
    const auto odd_no_ack = [&](Packet& packet) {
        no_ack(packet);
        packet.options = join({option::timestamps(1, 2), option::nop(2)});
    };
    check({"in an odd layout as well", usual, odd_no_ack,
           with(join({option::timestamps(1 + tsval_delta, 2), option::nop(2)})), true});
}

TEST_P(Translation, reads_windows_in_the_scale_of_each_leg) {
    struct Window {
        const char* sentence;
        std::int8_t shift;
        std::uint16_t arrives, leaves;
    };
    const Window windows[] = {
        {"equal scales", 0, 0xffff, 0xffff},
        {"a finer scale makes the field larger", 3, 100, 800},
        {"a window that does not fit is clamped", 3, 8192, 65535},
        {"the last one that fits", 3, 8191, 65528},
        {"the largest shift", 14, 3, 49152},
        {"a coarser scale makes the field smaller", -5, 3200, 100},
        {"rounded down, never promising more than there is", -5, 3231, 100},
        {"an open window stays open", -5, 31, 1},
        {"the smallest window under the largest shift", -14, 1, 1},
        {"a closed window stays closed", -5, 0, 0},
        {"a closed window stays closed in a finer scale", 7, 0, 0},
    };
    for (const auto& window : windows)
        check({window.sentence, [&](Wanted& wanted) { wanted.client_shift = window.shift; },
               [&](Packet& packet) { packet.window = window.arrives; },
               [&](Packet& packet) { packet.window = window.leaves; }});
}

TEST_P(Translation, clears_ecn_where_one_leg_has_none) {
    const auto clear = [](Wanted& wanted) {
        wanted.flags = static_cast<std::uint8_t>(LIMPET_FLOW_CLEAR_ECN | LIMPET_FLOW_TIMESTAMPS);
    };
    for (std::uint8_t codepoint = 0; codepoint < 4; ++codepoint) {
        const auto arrives = [&](Packet& packet) {
            packet.traffic_class = static_cast<std::uint8_t>(0xb8 | codepoint);
            packet.flags = ack | ece | cwr;
        };
        check({"cleared, and DSCP kept", clear, arrives, [](Packet& packet) {
                   packet.traffic_class = 0xb8;
                   packet.flags = ack;
               }});
        check({"kept where both legs have it", usual, arrives, nothing});
    }
}

TEST_P(Translation, takes_no_padding_for_payload) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        flow.splice();
        auto arriving = flow.from_client();
        arriving.padding = 6;  // Ethernet's least frame is 60 bytes without its check sequence
        check_one(flow, program, false, arriving, flow.to_broker(arriving));
        EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next)
            << "padding would move the next sequence number";
    }
}

TEST_P(Translation, works_from_the_broker_to_the_client_as_well) {
    for (const auto program : both_programs) {
        SCOPED_TRACE(name_of(program));
        Flow flow(world(), family());
        Wanted wanted;
        wanted.broker_shift = -2;
        flow.splice(wanted);
        auto arriving = flow.from_broker();
        arriving.payload = Bytes(100, 'm');
        arriving.window = 400;
        arriving.options = stamps(2'000'001, 650'001);
        auto leaving = flow.to_client(arriving);
        leaving.window = 100;
        leaving.options = stamps(2'000'001 + wanted.broker_tsval_delta, 650'001 - wanted.client_tsval_delta);
        if (program == Program::tc) {
            leaving.to = arriving.to;
            leaving.from = arriving.from;
        }
        const auto outcome = flow.broker_sends(program, arriving);
        EXPECT_EQ(outcome.verdict, Verdict::redirect);
        EXPECT_EQ(outcome.frame, leaving.build()) << difference(outcome.frame, leaving.build());
        EXPECT_EQ(flow.broker_entry().bytes, 100U);
        EXPECT_EQ(flow.broker_entry().packets, 1U);
        EXPECT_EQ(flow.client_entry().packets, 0U) << "each direction counts its own";
    }
}

/// One frame written out in full, so that a mistake in the builder cannot hide one in the translator.
TEST(TranslationLiteral, moves_a_known_ipv4_packet) {
    auto* world = World::get();
    if (world == nullptr) GTEST_SKIP() << World::missing();
    Flow flow(*world, 4);
    flow.client.port = 0x9c40;
    flow.source.port = 0x2711;
    flow.client_key = dataplane::FlowKey::make(flow.client, flow.listener);
    flow.broker_key = dataplane::FlowKey::make(flow.broker, flow.source);
    flow.splice();
    const Bytes arriving{0x02, 0x00, 0x00, 0x00, 0x91, 0x01, 0x02, 0x00, 0x00, 0x00, 0x91, 0x02,
                         0x08, 0x00,                                                              //
                         0x45, 0x00, 0x00, 0x2a, 0x00, 0x01, 0x40, 0x00, 0x40, 0x06, 0x26, 0x15,  //
                         0x0a, 0x5b, 0x00, 0x02, 0x0a, 0x5b, 0x00, 0x01,                          //
                         0x9c, 0x40, 0x07, 0x5b, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x13, 0x88,  //
                         0x50, 0x18, 0x01, 0xf6, 0x1e, 0x10, 0x00, 0x00, 0xc0, 0x00};
    ASSERT_TRUE(checksums_right(arriving)) << "PINGREQ, as a client sends it";
    const auto outcome = world->run(Program::xdp, arriving, world->client().index);
    const Bytes leaving{0x02, 0x00, 0x00, 0x00, 0x92, 0x0b, 0x02, 0x00, 0x00, 0x00, 0x92, 0x01,
                        0x08, 0x00,                                                              //
                        0x45, 0x00, 0x00, 0x2a, 0x00, 0x01, 0x40, 0x00, 0x3f, 0x06, 0x27, 0x0a,  //
                        0x0a, 0x5c, 0x00, 0x01, 0x0a, 0x5c, 0x00, 0x0b,                          //
                        0x27, 0x11, 0x07, 0x5c, 0x00, 0x01, 0x5f, 0x90, 0x00, 0x00, 0x75, 0x30,  //
                        0x50, 0x18, 0x01, 0xf6, 0xd5, 0xe1, 0x00, 0x00, 0xc0, 0x00};
    EXPECT_EQ(outcome.verdict, Verdict::redirect);
    EXPECT_EQ(outcome.frame, leaving) << difference(outcome.frame, leaving);
}

/// Devices that sum whole packets (CHECKSUM_COMPLETE) and a receiver in a container believe that sum.
TEST_P(Translation, keeps_the_sum_of_a_device_that_gives_one) {
    Flow flow(world(), family());
    Wanted wanted;
    wanted.flags = static_cast<std::uint8_t>(LIMPET_FLOW_CLEAR_ECN | LIMPET_FLOW_TIMESTAMPS);
    wanted.client_shift = 1;
    flow.splice(wanted);
    auto arriving = flow.from_client();
    arriving.traffic_class = 0x02;
    arriving.payload = Bytes(33, 7);
    for (const auto& options :
         {Bytes{}, stamps(5, 6), join({option::nop(1), option::timestamps(5, 6), option::nop(1)})}) {
        arriving.options = options;
        const auto outcome = world().run_with_complete_sum(arriving.build(), world().client().index);
        if (outcome.error == EINVAL) GTEST_SKIP() << "the kernel's BPF_PROG_RUN cannot give a complete sum";
        EXPECT_EQ(outcome.error, 0) << (outcome.error == EBADMSG ? "skb->csum no longer fits the packet"
                                                                 : std::strerror(outcome.error));
        EXPECT_EQ(outcome.verdict, Verdict::redirect);
    }
}

}  // namespace
}  // namespace limpet::test
