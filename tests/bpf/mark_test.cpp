// SPDX-License-Identifier: Apache-2.0
// Transparent pools: which packets are marked for the host, and the rule that delivers what is marked.
#include <bpf/bpf.h>

#include "dataplane/policy_routing.h"
#include "dataplane/settings.h"
#include "handoff/tcp_socket.h"
#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

class Marks : public FlowTest {
  protected:
    void SetUp() override {
        FlowTest::SetUp();
        if (IsSkipped()) return;
        static std::uint16_t port = 60'000;
        client_ = at(family() == 4 ? "10.91.0.2:1" : "[2001:db8:91::2]:1");
        broker_ = at(family() == 4 ? "10.92.0.11:1885" : "[2001:db8:92::b]:1885");
        client_.port = port++;
        switch_marks(true);
    }
    void TearDown() override {
        if (!IsSkipped()) switch_marks(false);
    }
    void switch_marks(bool on) {
        const std::uint32_t zero = 0;
        limpet_settings settings{};
        const int map = world().object().map("limpet_setting");
        ASSERT_EQ(bpf_map_lookup_elem(map, &zero, &settings), 0);
        settings.transparent = on ? 1 : 0;
        ASSERT_EQ(bpf_map_update_elem(map, &zero, &settings, BPF_ANY), 0);
    }
    /// A socket with the client's address that has sent its SYN to the broker.
    [[nodiscard]] Fd connect_as_client() const {
        auto socket = handoff::make_broker_socket(client_, 0, handoff::Source::client);
        if (!socket) {
            ADD_FAILURE() << socket.error().line();
            return Fd{};
        }
        sockaddr_storage storage;
        const auto length = broker_.to_sockaddr(storage);
        const int result = ::connect(socket->get(), reinterpret_cast<const sockaddr*>(&storage), length);
        EXPECT_TRUE(result < 0 && errno == EINPROGRESS) << std::strerror(errno);
        return std::move(*socket);
    }
    [[nodiscard]] Packet answer() const {
        Packet packet;
        packet.source = broker_;
        packet.destination = client_;
        packet.to = world().broker().gateway;
        packet.from = world().broker().neighbour;
        packet.flags = syn | ack;
        return packet;
    }
    /// What a router says of a packet that the socket sent; `quoted` is that packet.
    [[nodiscard]] Bytes error(std::uint8_t type, const Packet& quoted) const {
        auto outer = answer();
        outer.protocol = family() == 4 ? 1 : 58;
        Bytes body{type, 4, 0, 0, 0, 0, 5, 0};
        const auto segment = build_segment(quoted);
        put(body,
            family() == 4 ? build_header4(quoted, segment.size()) : build_header6(quoted, segment.size()));
        put(body, std::span(segment).first(8));
        Bytes frame;
        put(frame, outer.to);
        put(frame, outer.from);
        put16(frame, family() == 4 ? 0x0800 : 0x86dd);
        put(frame, family() == 4 ? build_header4(outer, body.size()) : build_header6(outer, body.size()));
        put(frame, body);
        return frame;
    }
    [[nodiscard]] Packet request() const {
        Packet packet;
        packet.source = client_;
        packet.destination = broker_;
        return packet;
    }
    std::uint32_t mark_of(const Bytes& frame) {
        const auto outcome = world().run(Program::tc, frame, world().broker().index);
        EXPECT_EQ(outcome.error, 0);
        EXPECT_EQ(outcome.verdict, Verdict::pass);
        EXPECT_EQ(outcome.frame, frame) << "a mark is all that changes";
        return outcome.mark;
    }

    Endpoint client_;
    Endpoint broker_;
};
LIMPET_BOTH_FAMILIES(Marks);

TEST_P(Marks, stand_on_answers_for_a_socket_with_the_clients_address) {
    const auto socket = connect_as_client();
    EXPECT_EQ(mark_of(answer().build()), LIMPET_MARK_TRANSPARENT);
    auto other = answer();
    other.destination.port ^= 1;
    EXPECT_EQ(mark_of(other.build()), 0U) << "nobody here has this connection";
    other = answer();
    other.source.port ^= 1;
    EXPECT_EQ(mark_of(other.build()), 0U) << "nor this one";
}

TEST_P(Marks, end_with_the_socket) {
    connect_as_client().reset();
    EXPECT_EQ(mark_of(answer().build()), 0U);
}

TEST_P(Marks, are_nobodys_where_no_pool_is_transparent) {
    switch_marks(false);
    const auto socket = connect_as_client();
    EXPECT_EQ(mark_of(answer().build()), 0U);
}

TEST_P(Marks, are_not_for_sockets_that_listen) {
    // Bound to any address, it would match whatever crosses this host to its port.
    const Fd listening(::socket(family() == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Endpoint any;
    any.address.family = family();
    any.port = client_.port;
    sockaddr_storage storage;
    const auto length = any.to_sockaddr(storage);
    ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
    ASSERT_EQ(::listen(listening.get(), 1), 0);
    auto packet = answer();
    packet.flags = syn;
    EXPECT_EQ(mark_of(packet.build()), 0U);
    const auto socket = connect_as_client();
    EXPECT_TRUE(socket) << "a client's port is a client's, whatever listens on it here";
    EXPECT_EQ(mark_of(answer().build()), LIMPET_MARK_TRANSPARENT);
}

TEST_P(Marks, stand_on_errors_that_quote_the_sockets_packets) {
    const auto socket = connect_as_client();
    const std::uint8_t unreachable = family() == 4 ? 3 : 1;
    EXPECT_EQ(mark_of(error(unreachable, request())), LIMPET_MARK_TRANSPARENT);
    EXPECT_EQ(mark_of(error(family() == 4 ? 11 : 2, request())), LIMPET_MARK_TRANSPARENT);
    EXPECT_EQ(mark_of(error(family() == 4 ? 8 : 128, request())), 0U) << "an echo request quotes nothing";
    auto stranger = request();
    stranger.source.port ^= 1;
    EXPECT_EQ(mark_of(error(unreachable, stranger)), 0U);
}

TEST_P(Marks, stand_on_what_a_pending_entry_notes) {
    const auto socket = connect_as_client();
    const auto key = dataplane::FlowKey::make(broker_, client_);
    std::uint32_t generation = 0;
    ASSERT_EQ(world().maps().create(key, 0, generation), dataplane::FlowMaps::Created::made);
    EXPECT_EQ(mark_of(answer().build()), LIMPET_MARK_TRANSPARENT);
    const auto entry = world().maps().read(key);
    ASSERT_TRUE(entry);
    EXPECT_NE(entry->flow.flags & LIMPET_FLOW_NOTE_SEEN, 0);
    world().maps().retire(key, 0, LIMPET_REASON_NONE);
    EXPECT_EQ(mark_of(answer().build()), LIMPET_MARK_TRANSPARENT) << "the socket goes on as a relay";
    world().maps().remove(key, 0);
    EXPECT_EQ(mark_of(answer().build()), LIMPET_MARK_TRANSPARENT);
}

TEST_P(Marks, leave_packets_alone_that_are_cut_short) {
    const auto socket = connect_as_client();
    for (const auto& whole : {answer().build(), error(family() == 4 ? 3 : 1, request())})
        for (std::size_t length = ethernet_header + 1; length < whole.size(); ++length) {
            const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            const auto outcome = world().run(Program::tc, cut, world().broker().index);
            EXPECT_TRUE(outcome.error != 0 || outcome.verdict == Verdict::pass) << length;
        }
}

TEST_P(Marks, a_tuple_is_not_shared_by_two_sockets) {
    const auto socket = connect_as_client();
    auto second = handoff::make_broker_socket(client_, 0, handoff::Source::client);
    ASSERT_TRUE(second) << second.error().line();
    sockaddr_storage storage;
    const auto length = broker_.to_sockaddr(storage);
    EXPECT_NE(::connect(second->get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
    EXPECT_EQ(errno, EADDRNOTAVAIL);
}

TEST_P(Marks, are_delivered_by_a_rule_that_is_added_once_and_goes_whole) {
    const dataplane::Families families{family() == 4, family() == 6};
    const auto first = dataplane::add_policy(families);
    ASSERT_TRUE(first) << first.error().line();
    EXPECT_TRUE(*first);
    EXPECT_TRUE(dataplane::policy_rules().value());
    const auto second = dataplane::add_policy(families);
    ASSERT_TRUE(second) << second.error().line();
    EXPECT_FALSE(*second) << "nothing was missing";
    dataplane::remove_policy();
    EXPECT_FALSE(dataplane::policy_rules().value());
    dataplane::remove_policy();
    EXPECT_TRUE(dataplane::add_policy(families).value()) << "and may be added again";
    dataplane::remove_policy();
}

}  // namespace
}  // namespace limpet::test
