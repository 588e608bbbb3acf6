// SPDX-License-Identifier: Apache-2.0
// Clients are not offered what the brokers behind their listener do not do: their SYNs lose those options
// before the host sees them.
#include <bpf/bpf.h>

#include <cstring>

#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

class Offers : public FlowTest {
  protected:
    void TearDown() override {
        if (World::get() == nullptr) return;
        for (const auto& key : keys_) bpf_map_delete_elem(map(), &key);
    }
    [[nodiscard]] int map() const { return world().object().map("limpet_offers"); }
    void hold_back(const Endpoint& listener, std::uint8_t missing) {
        limpet_offer_key key{};
        key.family = listener.address.family;
        key.port = __builtin_bswap16(listener.port);
        std::memcpy(key.address, listener.address.bytes.data(), sizeof key.address);
        limpet_offer offer{};
        offer.syn_edit = missing;
        ASSERT_EQ(bpf_map_update_elem(map(), &key, &offer, BPF_ANY), 0);
        keys_.push_back(key);
    }
    /// A SYN as Linux sends it to a listener that no flow of these tests has.
    [[nodiscard]] Packet syn_packet(std::uint16_t port) const {
        Packet packet;
        packet.source = at(family() == 4 ? "10.91.0.2:50000" : "[2001:db8:91::2]:50000");
        packet.destination = at(family() == 4 ? "10.91.0.1:1" : "[2001:db8:91::1]:1");
        packet.destination.port = port;
        packet.to = world().client().gateway;
        packet.flags = syn;
        packet.acknowledgement = 0;
        packet.options = offered();
        return packet;
    }
    static Bytes offered() {
        return join({option::segment_size(1460), option::sack_permitted(), option::timestamps(77, 0),
                     option::nop(), option::window_scale(7)});
    }
    void expect_offer(const Packet& packet, const Bytes& options, const char* sentence) {
        auto wanted = packet;
        wanted.options = options;
        const auto outcome = world().run(Program::tc, packet.build(), world().client().index);
        EXPECT_EQ(outcome.verdict, Verdict::pass) << sentence;
        EXPECT_EQ(outcome.frame, wanted.build()) << sentence << difference(outcome.frame, wanted.build());
        const auto up = world().run(Program::xdp, packet.build(), world().client().index);
        EXPECT_EQ(up.verdict, Verdict::pass) << "XDP leaves SYNs to TC";
        EXPECT_EQ(up.frame, packet.build());
    }

  private:
    std::vector<limpet_offer_key> keys_;
};
LIMPET_BOTH_FAMILIES(Offers);

TEST_P(Offers, each_option_alone_and_all_together_are_held_back) {
    const auto packet = syn_packet(2001);
    expect_offer(packet, offered(), "nothing is known of this listener");
    hold_back(packet.destination, LIMPET_SYN_NO_TIMESTAMPS);
    expect_offer(packet,
                 join({option::segment_size(1460), option::sack_permitted(), option::nop(11),
                       option::window_scale(7)}),
                 "no timestamps");
    hold_back(packet.destination, LIMPET_SYN_NO_SACK);
    expect_offer(packet,
                 join({option::segment_size(1460), option::nop(2), option::timestamps(77, 0), option::nop(),
                       option::window_scale(7)}),
                 "no selective acknowledgements");
    hold_back(packet.destination, LIMPET_SYN_NO_WINDOW_SCALE);
    expect_offer(packet,
                 join({option::segment_size(1460), option::sack_permitted(), option::timestamps(77, 0),
                       option::nop(4)}),
                 "no window scaling");
    hold_back(packet.destination, 7);
    expect_offer(packet, join({option::segment_size(1460), option::nop(16)}), "nothing at all");
}

TEST_P(Offers, a_listener_on_every_address_is_found_by_its_port) {
    const auto packet = syn_packet(2002);
    auto any = packet.destination;
    any.address.bytes = {};
    hold_back(any, LIMPET_SYN_NO_SACK | LIMPET_SYN_NO_TIMESTAMPS);
    const Counted counted(world(), LIMPET_REASON_SYN_EDITED);
    expect_offer(packet, join({option::segment_size(1460), option::nop(13), option::window_scale(7)}), "");
    EXPECT_EQ(counted.since(), 1U);
    expect_offer(syn_packet(2003), offered(), "another port");
}

TEST_P(Offers, only_what_opens_a_connection_is_edited) {
    auto packet = syn_packet(2004);
    hold_back(packet.destination, 7);
    packet.flags = syn | ack;
    expect_offer(packet, offered(), "an answer, not an offer");
    packet.flags = ack;
    packet.options = join({option::nop(2), option::timestamps(1, 2)});
    expect_offer(packet, packet.options, "of no flow of ours");
}

TEST_P(Offers, a_syn_that_ends_a_closing_flow_is_edited_too) {
    Flow flow(world(), family());
    flow.splice();
    hold_back(flow.listener, LIMPET_SYN_NO_TIMESTAMPS);
    auto order = flow.command(LIMPET_OPERATION_CLOSE);
    ASSERT_TRUE(world().maps().run(order));
    auto packet = flow.from_client();
    packet.flags = syn;
    packet.acknowledgement = 0;
    packet.options = offered();
    auto wanted = packet;
    wanted.options = join(
        {option::segment_size(1460), option::sack_permitted(), option::nop(11), option::window_scale(7)});
    for (const auto* sentence : {"the tuple is taken for a new connection", "and is the host's since"}) {
        const auto outcome = flow.client_sends(Program::tc, packet);
        EXPECT_EQ(outcome.verdict, Verdict::pass) << sentence;
        EXPECT_EQ(outcome.frame, wanted.build()) << sentence << difference(outcome.frame, wanted.build());
        EXPECT_EQ(flow.client_state(), LIMPET_STATE_RETIRED);
    }
}

}  // namespace
}  // namespace limpet::test
