// SPDX-License-Identifier: Apache-2.0
// Changes of state on the daemon's behalf: which are allowed, what they write, what they give back.
#include <set>

#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

class Transitions : public FlowTest {
  protected:
    /// Brings both legs of a new flow into `state`.
    static void bring(Flow& flow, std::uint8_t state) {
        flow.make_pending();
        if (state == LIMPET_STATE_PENDING) return;
        if (state == LIMPET_STATE_RETIRED) {
            ASSERT_EQ(flow.change(LIMPET_OPERATION_RETIRE).leg[0].result, LIMPET_RESULT_OK);
            return;
        }
        flow.be_noted();
        flow.hold();
        if (state == LIMPET_STATE_HOLD) return;
        flow.activate();
        if (state == LIMPET_STATE_CLOSING) {
            ASSERT_EQ(flow.change(LIMPET_OPERATION_CLOSE).leg[0].result, LIMPET_RESULT_OK);
        }
        ASSERT_EQ(flow.client_state(), state);
    }
};
LIMPET_BOTH_FAMILIES(Transitions);

TEST_P(Transitions, happen_exactly_where_they_are_allowed) {
    struct Allowed {
        int operation;
        std::set<int> from;
        int to;  ///< 0: the state stays
    };
    const int pending = LIMPET_STATE_PENDING, hold = LIMPET_STATE_HOLD, active = LIMPET_STATE_ACTIVE,
              closing = LIMPET_STATE_CLOSING, retired = LIMPET_STATE_RETIRED;
    const Allowed table[] = {
        {LIMPET_OPERATION_READ, {pending, hold, active, closing, retired}, 0},
        {LIMPET_OPERATION_HOLD, {pending, hold}, hold},
        {LIMPET_OPERATION_RELEASE, {hold}, pending},
        {LIMPET_OPERATION_ACTIVATE, {hold}, active},
        {LIMPET_OPERATION_RETIRE, {pending, hold, active, closing}, retired},
        {LIMPET_OPERATION_RENEW, {retired}, pending},
        {LIMPET_OPERATION_CLOSE, {active, closing}, closing},
        {LIMPET_OPERATION_MARK, {active, closing}, 0},
        {LIMPET_OPERATION_UNMARK, {active, closing}, 0},
        {LIMPET_OPERATION_REOPEN, {}, 0},
        {0, {}, 0},
        {99, {}, 0},
    };
    for (const auto& row : table)
        for (const int state : {pending, hold, active, closing, retired}) {
            SCOPED_TRACE("operation " + std::to_string(row.operation) + " from state " +
                         std::to_string(state));
            Flow flow(world(), family());
            bring(flow, static_cast<std::uint8_t>(state));
            const auto before = flow.client_entry();
            const auto done = flow.change(row.operation);
            const bool allowed = row.from.contains(state);
            const int wanted = allowed && row.to != 0 ? row.to : state;
            for (const auto& leg : done.leg) {
                EXPECT_EQ(leg.result, allowed ? LIMPET_RESULT_OK : LIMPET_RESULT_WRONG_STATE);
                EXPECT_EQ(leg.state, wanted) << "the answer says where the entry is";
            }
            EXPECT_EQ(flow.client_state(), wanted);
            EXPECT_EQ(flow.broker_state(), wanted);
            if (!allowed) {
                const auto after = flow.client_entry();
                EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0) << "a refusal changes nothing";
            }
        }
}

TEST_P(Transitions, say_which_leg_is_missing_and_change_the_other) {
    Flow flow(world(), family());
    flow.make_pending();
    ASSERT_TRUE(world().maps().retire(flow.broker_key, flow.broker_generation, LIMPET_REASON_NONE));
    ASSERT_TRUE(world().maps().remove(flow.broker_key, flow.broker_generation));
    const auto done = flow.change(LIMPET_OPERATION_HOLD);
    EXPECT_EQ(done.leg[1].result, LIMPET_RESULT_MISSING);
    EXPECT_EQ(done.leg[0].result, LIMPET_RESULT_OK);
}

TEST_P(Transitions, reopen_what_fins_closed_and_nothing_else) {
    for (const auto why : {LIMPET_REASON_END_FIN, LIMPET_REASON_END_RST}) {
        Flow flow(world(), family());
        bring(flow, LIMPET_STATE_ACTIVE);
        auto order = flow.command(LIMPET_OPERATION_MARK);
        for (auto& leg : order.leg) leg.flags = LIMPET_FLOW_FIN_SEEN | LIMPET_FLOW_DOUBTED;
        ASSERT_TRUE(world().maps().run(order));
        order = flow.command(LIMPET_OPERATION_CLOSE);
        for (auto& leg : order.leg) leg.close_reason = static_cast<std::uint8_t>(why);
        ASSERT_TRUE(world().maps().run(order));
        order = flow.command(LIMPET_OPERATION_REOPEN);
        order.leg[0].flags = LIMPET_FLOW_FIN_SEEN;
        ASSERT_TRUE(world().maps().run(order));
        const bool by_fin = why == LIMPET_REASON_END_FIN;
        for (const auto& leg : order.leg) {
            EXPECT_EQ(leg.result, by_fin ? LIMPET_RESULT_OK : LIMPET_RESULT_WRONG_STATE);
            EXPECT_EQ(leg.state, by_fin ? LIMPET_STATE_ACTIVE : LIMPET_STATE_CLOSING);
        }
        const auto mask = LIMPET_FLOW_FIN_SEEN | LIMPET_FLOW_DOUBTED;
        EXPECT_EQ(flow.client_entry().flags & mask, by_fin ? LIMPET_FLOW_DOUBTED : mask);
        EXPECT_EQ(flow.broker_entry().flags & mask, mask) << "only what was named is cleared";
    }
}

TEST_P(Transitions, activate_no_client_leg_whose_broker_leg_cannot_be) {
    for (const bool gone : {false, true}) {
        Flow flow(world(), family());
        bring(flow, LIMPET_STATE_HOLD);
        ASSERT_TRUE(
            world().maps().retire(flow.broker_key, flow.broker_generation, LIMPET_REASON_HOLD_EXPIRED));
        if (gone) {
            ASSERT_TRUE(world().maps().remove(flow.broker_key, flow.broker_generation));
        }
        const auto before = flow.client_entry();
        const auto done = flow.change(LIMPET_OPERATION_ACTIVATE);
        EXPECT_EQ(done.leg[1].result, gone ? LIMPET_RESULT_MISSING : LIMPET_RESULT_WRONG_STATE);
        EXPECT_NE(done.leg[0].result, LIMPET_RESULT_OK) << "the daemon is told that nothing was activated";
        const auto after = flow.client_entry();
        EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0) << "half a pair forwards to nobody";
    }
}

TEST_P(Transitions, leave_a_leg_alone_that_is_not_meant) {
    Flow flow(world(), family());
    flow.make_pending();
    auto order = flow.command(LIMPET_OPERATION_RETIRE);
    order.leg[0].present = 0;
    ASSERT_TRUE(world().maps().run(order));
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_PENDING);
    EXPECT_EQ(flow.broker_state(), LIMPET_STATE_RETIRED);
}

TEST_P(Transitions, refuse_a_command_of_no_family) {
    Flow flow(world(), family());
    flow.make_pending();
    auto order = flow.command(LIMPET_OPERATION_RETIRE);
    order.family = 5;
    EXPECT_FALSE(world().maps().run(order));
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_PENDING);
}

TEST_P(Transitions, read_gives_the_notes_of_both_legs) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    const auto done = flow.change(LIMPET_OPERATION_READ);
    EXPECT_EQ(done.leg[0].note_sequence_end, Flow::client_next);
    EXPECT_EQ(done.leg[0].note_ack, Flow::ours_to_client);
    EXPECT_EQ(done.leg[0].note_tsval, Flow::client_tsval);
    EXPECT_EQ(done.leg[0].flags, LIMPET_FLOW_CLIENT_LEG | LIMPET_FLOW_NOTE_SEEN | LIMPET_FLOW_TSVAL_SEEN);
    EXPECT_EQ(done.leg[0].created, flow.client_generation);
    EXPECT_EQ(done.leg[1].note_sequence_end, Flow::broker_next);
    EXPECT_EQ(done.leg[1].note_ack, Flow::ours_to_broker);
    EXPECT_EQ(done.leg[1].note_tsval, Flow::broker_tsval);
    EXPECT_EQ(done.leg[1].flags, LIMPET_FLOW_NOTE_SEEN | LIMPET_FLOW_TSVAL_SEEN);
}

TEST_P(Transitions, activate_writes_all_that_a_packet_and_an_operator_need) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold();
    auto order = flow.command(LIMPET_OPERATION_ACTIVATE);
    auto& leg = order.leg[0];
    leg.sequence_delta = 1;
    leg.acknowledgement_delta = 2;
    leg.tsval_delta = 3;
    leg.tsecr_delta = 4;
    leg.window_shift = -5;
    leg.flags = LIMPET_FLOW_TIMESTAMPS;
    leg.idle_ticks = 6;
    leg.egress_interface = 7;
    leg.stick_seconds = 8;
    leg.client_hash = 0x1122334455667788;
    leg.id_length = 300;
    std::memcpy(leg.source, flow.source.address.bytes.data(), 16);
    std::memcpy(leg.destination, flow.broker.address.bytes.data(), 16);
    leg.source_port = __builtin_bswap16(flow.source.port);
    leg.destination_port = __builtin_bswap16(flow.broker.port);
    const auto part = dataplane::id_part_size(family());
    for (std::size_t i = 0; i < part; ++i) leg.id_part[i] = static_cast<std::uint8_t>(i + 1);
    const auto earliest = dataplane::tick_now();
    ASSERT_TRUE(world().maps().run(order));
    ASSERT_EQ(leg.result, LIMPET_RESULT_OK);
    const auto entry = world().maps().read(flow.client_key);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->flow.sequence_delta, 1U);
    EXPECT_EQ(entry->flow.acknowledgement_delta, 2U);
    EXPECT_EQ(entry->flow.tsval_delta, 3U);
    EXPECT_EQ(entry->flow.tsecr_delta, 4U);
    EXPECT_EQ(entry->flow.window_shift, -5);
    EXPECT_EQ(entry->flow.flags, LIMPET_FLOW_CLIENT_LEG | LIMPET_FLOW_NOTE_SEEN | LIMPET_FLOW_TSVAL_SEEN |
                                     LIMPET_FLOW_TIMESTAMPS);
    EXPECT_EQ(entry->flow.idle_ticks, 6U);
    EXPECT_EQ(entry->flow.egress_interface, 7U);
    EXPECT_EQ(entry->flow.stick_seconds, 8U);
    EXPECT_EQ(entry->flow.client_hash, 0x1122334455667788U);
    EXPECT_EQ(entry->flow.id_length, 300);
    EXPECT_GE(entry->flow.tick, earliest) << "silence counts from now, not from the deadline of HOLD";
    EXPECT_LE(entry->flow.tick, dataplane::tick_now() + 1);
    EXPECT_EQ(entry->source, flow.source);
    EXPECT_EQ(entry->destination, flow.broker);
    EXPECT_TRUE(std::equal(leg.id_part, leg.id_part + part, entry->id_part.begin()));
    EXPECT_EQ(entry->flow.note_sequence_end, Flow::client_next) << "the notes go on";
}

TEST_P(Transitions, hold_takes_the_deadline_and_the_worker_and_may_be_renewed) {
    Flow flow(world(), family());
    flow.make_pending();
    auto order = flow.command(LIMPET_OPERATION_HOLD);
    order.worker = 9;
    order.leg[0].tick = order.leg[1].tick = 1234;
    ASSERT_TRUE(world().maps().run(order));
    EXPECT_EQ(flow.client_entry().tick, 1234U);
    EXPECT_EQ(flow.client_entry().worker, 9);
    order = flow.command(LIMPET_OPERATION_HOLD);
    order.leg[0].tick = order.leg[1].tick = 2345;
    ASSERT_TRUE(world().maps().run(order));
    EXPECT_EQ(flow.broker_entry().tick, 2345U);
}

TEST_P(Transitions, release_lets_packets_through_again) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold();
    auto packet = flow.from_client();
    packet.payload = Bytes(5, 1);
    ASSERT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::drop);
    ASSERT_EQ(flow.change(LIMPET_OPERATION_RELEASE).leg[0].result, LIMPET_RESULT_OK);
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::pass) << "the retransmission";
    EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next + 5);
    flow.hold();
    flow.activate();
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_ACTIVE) << "a second try can succeed";
}

TEST_P(Transitions, renew_forgets_the_old_connection) {
    Flow flow(world(), family());
    flow.splice();
    auto data = flow.from_client();
    data.payload = Bytes(5, 1);
    ASSERT_EQ(flow.client_sends(Program::tc, data).verdict, Verdict::redirect);
    ASSERT_EQ(flow.change(LIMPET_OPERATION_RETIRE).leg[0].result, LIMPET_RESULT_OK);
    std::uint32_t generation = 0;
    ASSERT_TRUE(world().maps().renew(flow.client_key, LIMPET_FLOW_CLIENT_LEG, generation));
    auto entry = flow.client_entry();
    EXPECT_EQ(entry.state, LIMPET_STATE_PENDING);
    EXPECT_EQ(entry.flags, LIMPET_FLOW_CLIENT_LEG) << "no note, no FIN, no timestamps of the old one";
    EXPECT_EQ(entry.bytes, 0U);
    EXPECT_EQ(entry.packets, 0U);
    EXPECT_EQ(entry.close_reason, LIMPET_REASON_NONE);
    EXPECT_EQ(entry.created, generation);
    ASSERT_TRUE(world().maps().retire(flow.client_key, 0, LIMPET_REASON_NONE));
    auto order = flow.command(LIMPET_OPERATION_RENEW);
    order.leg[1].present = 0;
    order.leg[0].flags = LIMPET_FLOW_CLIENT_LEG;
    order.leg[0].created = generation + 77;
    ASSERT_TRUE(world().maps().run(order));
    EXPECT_EQ(flow.client_entry().created, generation + 77);
    for (std::uint32_t life = 1; life <= 3; ++life) {  // each as short as a tick
        ASSERT_TRUE(world().maps().retire(flow.client_key, 0, LIMPET_REASON_NONE));
        order.operation = LIMPET_OPERATION_RENEW;
        order.leg[0].created = generation + 77;
        order.leg[0].flags = LIMPET_FLOW_CLIENT_LEG;
        ASSERT_TRUE(world().maps().run(order));
        EXPECT_EQ(order.leg[0].created, generation + 77 + life) << "the answer names it";
        EXPECT_EQ(flow.client_entry().created, generation + 77 + life)
            << "who ends the old connection must not end the new one";
    }
    auto packet = flow.from_client();
    packet.flags = syn;
    packet.sequence = 17;
    packet.acknowledgement = 0;
    EXPECT_EQ(flow.client_sends(Program::tc, packet).verdict, Verdict::pass);
    entry = flow.client_entry();
    EXPECT_EQ(entry.note_sequence_end, 18U) << "lower numbers than the old ones are noted all the same";
    EXPECT_FALSE(world().maps().renew(flow.client_key, LIMPET_FLOW_CLIENT_LEG, generation))
        << "only a retired entry may come back";
}

TEST_P(Transitions, mark_adds_flags_that_did_not_cross_the_data_path) {
    Flow flow(world(), family());
    flow.splice();
    auto order = flow.command(LIMPET_OPERATION_MARK);
    order.leg[1].flags = LIMPET_FLOW_FIN_SEEN;
    ASSERT_TRUE(world().maps().run(order));
    EXPECT_NE(flow.broker_entry().flags & LIMPET_FLOW_FIN_SEEN, 0);
    EXPECT_NE(flow.broker_entry().flags & LIMPET_FLOW_TIMESTAMPS, 0) << "the others stay";
    auto packet = flow.from_client();
    packet.flags = fin | ack;
    ASSERT_EQ(flow.client_sends(Program::xdp, packet).verdict, Verdict::redirect);
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_CLOSING) << "a parked FIN and a forwarded one are both FINs";
}

class Entries : public FlowTest {};
LIMPET_BOTH_FAMILIES(Entries);

TEST_P(Entries, are_made_once) {
    using Created = dataplane::FlowMaps::Created;
    Flow flow(world(), family());
    flow.make_pending();
    std::uint32_t generation = 0;
    EXPECT_EQ(world().maps().create(flow.client_key, 0, generation), Created::exists);
    EXPECT_NE(flow.client_entry().flags & LIMPET_FLOW_CLIENT_LEG, 0) << "the first one's entry is untouched";
}

TEST_P(Entries, are_deleted_only_when_retired_and_of_the_right_generation) {
    Flow flow(world(), family());
    flow.make_pending();
    EXPECT_FALSE(world().maps().remove(flow.client_key, flow.client_generation)) << "PENDING";
    EXPECT_FALSE(world().maps().retire(flow.client_key, flow.client_generation + 1, LIMPET_REASON_NONE))
        << "another generation's end";
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_PENDING);
    EXPECT_TRUE(world().maps().retire(flow.client_key, flow.client_generation, LIMPET_REASON_END_IDLE));
    EXPECT_EQ(flow.client_entry().close_reason, LIMPET_REASON_END_IDLE);
    EXPECT_FALSE(world().maps().remove(flow.client_key, flow.client_generation + 1));
    EXPECT_TRUE(world().maps().remove(flow.client_key, flow.client_generation));
    EXPECT_FALSE(world().maps().read(flow.client_key));
    EXPECT_FALSE(world().maps().remove(flow.client_key, 0)) << "deleted once";
}

TEST_P(Entries, are_visited_each_once_whatever_the_size_of_a_piece) {
    std::vector<std::unique_ptr<Flow>> flows;
    std::set<std::string> wanted;
    for (int i = 0; i < 300; ++i) {
        flows.push_back(std::make_unique<Flow>(world(), family()));
        flows.back()->make_pending();
        for (const auto& key : {flows.back()->client_key, flows.back()->broker_key})
            wanted.emplace(key.bytes.begin(), key.bytes.end());
    }
    for (const std::uint32_t piece : {16U, 100U, 4096U}) {
        std::multiset<std::string> seen;
        dataplane::FlowMaps::Cursor cursor;
        cursor.family = family();
        while (world().maps().visit(cursor, piece, [&](const auto& key, const auto& entry) {
            EXPECT_EQ(entry.flow.state, LIMPET_STATE_PENDING);
            seen.emplace(key.bytes.begin(), key.bytes.end());
            return true;
        })) {
        }
        EXPECT_EQ(seen.size(), wanted.size()) << "pieces of " << piece;
        EXPECT_TRUE(std::includes(seen.begin(), seen.end(), wanted.begin(), wanted.end()))
            << "pieces of " << piece;
    }
}

TEST_P(Entries, stop_at_the_size_of_the_map) {
    using Created = dataplane::FlowMaps::Created;
    auto small = dataplane::BpfObject::load(4, {});
    ASSERT_TRUE(small) << small.error().line();
    dataplane::FlowMaps maps(small->map("limpet_flows4"), small->map("limpet_flows6"),
                             small->program("limpet_transit"));
    Flow flow(world(), family());
    auto client = flow.client;
    std::uint32_t generation = 0;
    int made = 0;
    for (client.port = 1000; client.port < 1100; ++client.port) {
        const auto created = maps.create(dataplane::FlowKey::make(client, flow.listener), 0, generation);
        if (created == Created::full) break;
        ASSERT_EQ(created, Created::made);
        ++made;
    }
    EXPECT_EQ(made, 8) << "two entries a connection; a full map means a relay, never an evicted connection";
}

}  // namespace
}  // namespace limpet::test
