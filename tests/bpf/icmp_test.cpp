// SPDX-License-Identifier: Apache-2.0
// ICMP about active flows: what routers and ends say reaches the end that it is for, with the packet quoted
// as that end sent it; what the gateway itself must say is said, and no more often than it may.
#include <thread>

#include "world.h"

namespace limpet::test {
namespace {

using namespace packet;

constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_icmp6 = 58;

/// An ICMP error as a router sends it: type, code, the word behind them, and the packet that it quotes.
struct IcmpError {
    IpAddress source;
    IpAddress destination;
    std::uint8_t type = 3;
    std::uint8_t code = 4;
    std::uint32_t rest = 1400;
    Bytes quote;
    std::uint8_t hops = 60;
    Mac to{};
    Mac from{};

    [[nodiscard]] Bytes build() const;
};

std::uint16_t icmp_sum(const IcmpError& error, const Bytes& body) {
    if (error.source.family == 4) return folded_sum(body);
    Bytes pseudo;
    put(pseudo, error.source.bytes);
    put(pseudo, error.destination.bytes);
    put32(pseudo, static_cast<std::uint32_t>(body.size()));
    put32(pseudo, protocol_icmp6);
    return folded_sum(body, folded_sum(pseudo));
}

Bytes IcmpError::build() const {
    Bytes body{type, code, 0, 0};
    put32(body, rest);
    put(body, quote);
    const auto field = 0xffffU ^ icmp_sum(*this, body);
    body[2] = static_cast<std::uint8_t>(field >> 8);
    body[3] = static_cast<std::uint8_t>(field);
    Packet header;
    header.source.address = source;
    header.destination.address = destination;
    header.hops = hops;
    header.protocol = source.family == 4 ? protocol_icmp : protocol_icmp6;
    Bytes frame;
    put(frame, to);
    put(frame, from);
    put16(frame, source.family == 4 ? 0x0800 : 0x86dd);
    put(frame, source.family == 4 ? build_header4(header, body.size()) : build_header6(header, body.size()));
    put(frame, body);
    return frame;
}

/// The checksums of an ICMP error, outer and, for IPv4, of both IP headers, read from the frame alone.
bool icmp_right(std::span<const std::uint8_t> frame) {
    const auto ip = frame.subspan(ethernet_header);
    if (get16(frame, 12) == 0x0800)
        return folded_sum(ip.first(20)) == 0xffff && folded_sum(ip.subspan(20)) == 0xffff &&
               folded_sum(ip.subspan(28, 20)) == 0xffff;
    Bytes pseudo;
    put(pseudo, ip.subspan(8, 32));
    put32(pseudo, static_cast<std::uint32_t>(ip.size() - 40));
    put32(pseudo, protocol_icmp6);
    return folded_sum(ip.subspan(40), folded_sum(pseudo)) == 0xffff;
}

/// The first bytes of a packet behind its Ethernet header, as errors quote them.
Bytes quoted(const Packet& packet, std::size_t of_tcp) {
    const auto frame = packet.build();
    const std::size_t size = (packet.family() == 4 ? 20 : 40) + of_tcp;
    return {frame.begin() + ethernet_header,
            frame.begin() + ethernet_header + static_cast<std::ptrdiff_t>(size)};
}

class Icmp : public FlowTest {
  protected:
    [[nodiscard]] IpAddress router() const {
        return at(family() == 4 ? "10.92.0.99:1" : "[2001:db8:92::99]:1").address;
    }
    [[nodiscard]] std::uint8_t too_big() const { return family() == 4 ? 3 : 2; }
    [[nodiscard]] std::uint8_t too_big_code() const { return family() == 4 ? 4 : 0; }
    [[nodiscard]] IcmpError error_about(const Packet& packet, std::size_t of_tcp = 8) const {
        IcmpError error;
        error.source = router();
        error.destination = packet.source.address;
        error.type = too_big();
        error.code = too_big_code();
        error.quote = quoted(packet, of_tcp);
        error.to = world().broker().gateway;
        error.from = world().broker().neighbour;
        return error;
    }
    /// The beginning of a tick, in which nothing was said yet.
    static void await_tick() {
        const auto now = dataplane::tick_now();
        while (dataplane::tick_now() == now) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    /// What the gateway itself says about a packet that the client sent.
    void expect_complaint(Flow& flow, const Packet& packet, std::uint8_t type, std::uint8_t code,
                          std::uint32_t rest) {
        await_tick();
        const Counted sent(world(), LIMPET_REASON_ICMP_SENT);
        const auto up = flow.client_sends(Program::xdp, packet);
        EXPECT_EQ(up.verdict, Verdict::pass) << "TC answers";
        EXPECT_EQ(up.frame, packet.build());
        const auto before = flow.client_entry();
        const auto outcome = flow.client_sends(Program::tc, packet);
        ASSERT_EQ(outcome.verdict, Verdict::redirect) << "never to the host";
        EXPECT_EQ(outcome.mark, LIMPET_MARK);
        EXPECT_EQ(sent.since(), 1U);
        const std::span<const std::uint8_t> frame(outcome.frame);
        const std::size_t header = family() == 4 ? 20 : 40;
        const auto ip = frame.subspan(ethernet_header);
        ASSERT_EQ(frame.size(), ethernet_header + header + 8 + header + 20);
        EXPECT_TRUE(icmp_right(frame));
        EXPECT_TRUE(std::ranges::equal(frame.first(6), packet.from)) << "back to whom it came from";
        EXPECT_TRUE(std::ranges::equal(frame.subspan(6, 6), packet.to));
        const std::ptrdiff_t size = family() == 4 ? 4 : 16;
        const std::ptrdiff_t addresses = family() == 4 ? 12 : 8;
        EXPECT_TRUE(std::equal(flow.listener.address.bytes.begin(),
                               flow.listener.address.bytes.begin() + size, ip.begin() + addresses))
            << "the gateway speaks";
        EXPECT_TRUE(std::equal(flow.client.address.bytes.begin(), flow.client.address.bytes.begin() + size,
                               ip.begin() + addresses + size));
        EXPECT_EQ(ip[header], type);
        EXPECT_EQ(ip[header + 1], code);
        EXPECT_EQ(get32(ip, header + 4), rest);
        const auto quote = quoted(packet, 8);
        EXPECT_TRUE(std::ranges::equal(ip.subspan(header + 8, quote.size()), quote))
            << "as the client sent it";
        EXPECT_EQ(flow.client_entry().note_sequence_end, before.note_sequence_end) << "it went nowhere";
    }
};
LIMPET_BOTH_FAMILIES(Icmp);

TEST_P(Icmp, a_router_behind_the_gateway_is_heard_by_the_client) {
    Flow flow(world(), family());
    flow.splice();
    auto data = flow.from_client();
    data.payload = Bytes(100, 'd');
    const auto left = flow.to_broker(data);
    for (const std::size_t of_tcp : {std::size_t{8}, std::size_t{20}, std::size_t{80}}) {
        SCOPED_TRACE(of_tcp);
        const Counted counted(world(), LIMPET_REASON_ICMP_TRANSLATED);
        auto error = error_about(left, of_tcp);
        const auto outcome = world().run(Program::tc, error.build(), world().broker().index);
        ASSERT_EQ(outcome.verdict, Verdict::redirect);
        EXPECT_EQ(counted.since(), 1U);
        auto wanted = error;
        wanted.destination = flow.client.address;
        wanted.hops--;
        // Ports, numbers and addresses as the client sent them; what is quoted behind them nobody reads.
        auto quote = error.quote;
        const auto original = quoted(data, 8);
        const std::size_t header = family() == 4 ? 20 : 40;
        std::copy(original.begin() + static_cast<std::ptrdiff_t>(header), original.end(),
                  quote.begin() + static_cast<std::ptrdiff_t>(header));
        const std::size_t addresses = family() == 4 ? 12 : 8;
        std::copy_n(original.begin() + static_cast<std::ptrdiff_t>(addresses), header - addresses,
                    quote.begin() + static_cast<std::ptrdiff_t>(addresses));
        if (family() == 4) {  // the quoted header had one hop less
            quote[10] = quote[11] = 0;
            const auto field = 0xffffU ^ folded_sum(std::span(quote).first(20));
            quote[10] = static_cast<std::uint8_t>(field >> 8);
            quote[11] = static_cast<std::uint8_t>(field);
        }
        wanted.quote = quote;
        EXPECT_EQ(outcome.frame, wanted.build()) << difference(outcome.frame, wanted.build());
        EXPECT_TRUE(icmp_right(outcome.frame));
        EXPECT_EQ(flow.client_state(), LIMPET_STATE_ACTIVE);
    }
}

TEST_P(Icmp, a_router_before_the_gateway_is_heard_by_the_broker) {
    Flow flow(world(), family());
    flow.splice();
    auto data = flow.from_broker();
    data.payload = Bytes(100, 'd');
    auto error = error_about(flow.to_client(data));
    error.source = at(family() == 4 ? "10.91.0.99:1" : "[2001:db8:91::99]:1").address;
    error.to = world().client().gateway;
    const auto outcome = world().run(Program::tc, error.build(), world().client().index);
    ASSERT_EQ(outcome.verdict, Verdict::redirect);
    EXPECT_TRUE(icmp_right(outcome.frame));
    const auto ip = std::span<const std::uint8_t>(outcome.frame).subspan(ethernet_header);
    const std::size_t header = family() == 4 ? 20 : 40;
    const auto original = quoted(data, 8);
    EXPECT_TRUE(std::ranges::equal(ip.subspan(header + 8 + header, 8), std::span(original).last(8)))
        << "ports and sequence number as the broker sent them";
}

TEST_P(Icmp, an_end_that_speaks_of_itself_is_known_by_our_address) {
    Flow flow(world(), family());
    flow.splice();
    auto error = error_about(flow.to_broker(flow.from_client()));
    error.source = flow.broker.address;
    error.type = family() == 4 ? 3 : 1;
    error.code = family() == 4 ? 3 : 4;  // port unreachable
    const auto outcome = world().run(Program::tc, error.build(), world().broker().index);
    ASSERT_EQ(outcome.verdict, Verdict::redirect);
    EXPECT_TRUE(icmp_right(outcome.frame));
    const auto ip = std::span<const std::uint8_t>(outcome.frame).subspan(ethernet_header);
    const std::ptrdiff_t size = family() == 4 ? 4 : 16;
    EXPECT_TRUE(std::equal(flow.listener.address.bytes.begin(), flow.listener.address.bytes.begin() + size,
                           ip.begin() + (family() == 4 ? 12 : 8)));
}

TEST_P(Icmp, what_concerns_no_active_flow_is_the_hosts) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    auto about = flow.from_client();
    about.source = flow.source;
    about.destination = flow.broker;
    const auto check = [&](const IcmpError& error, const char* sentence) {
        const auto outcome = world().run(Program::tc, error.build(), world().broker().index);
        EXPECT_EQ(outcome.verdict, Verdict::pass) << sentence;
        EXPECT_EQ(outcome.frame, error.build()) << sentence;
    };
    check(error_about(about), "the host's TCP still has the leg");
    about.source.port++;
    check(error_about(about), "nobody's");
    Flow active(world(), family());
    active.splice();
    auto echo = error_about(active.to_broker(active.from_client()));
    echo.type = family() == 4 ? 8 : 128;
    check(echo, "no error");
    auto truncated = error_about(active.to_broker(active.from_client()));
    truncated.quote.resize(truncated.quote.size() - 4);
    check(truncated, "too short to tell whose it is");
}

TEST_P(Icmp, a_packet_larger_than_the_link_is_answered_with_its_size) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.payload = Bytes(1600, 'l');
    const Counted counted(world(), LIMPET_REASON_DROP_TOO_BIG);
    expect_complaint(flow, packet, too_big(), too_big_code(), 1500);
    EXPECT_EQ(counted.since(), 1U);
}

TEST_P(Icmp, a_segment_still_to_be_summed_is_answered_right_as_well) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.payload = Bytes(1600, 'l');
    packet.checksum = Checksum::partial;
    expect_complaint(flow, packet, too_big(), too_big_code(), 1500);
}

TEST_P(Icmp, the_last_hop_is_answered_as_by_a_router) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    for (const std::uint8_t hops : {std::uint8_t{1}, std::uint8_t{0}}) {
        packet.hops = hops;
        const Counted counted(world(), LIMPET_REASON_DROP_TTL);
        expect_complaint(flow, packet, family() == 4 ? 11 : 3, 0, 0);
        EXPECT_EQ(counted.since(), 1U);
    }
}

TEST_P(Icmp, without_a_route_the_sender_is_told) {
    Flow flow(world(), family());
    flow.broker = at(family() == 4 ? "198.51.100.1:1884" : "[2001:db8:ffff::1]:1884");
    flow.broker_key = dataplane::FlowKey::make(flow.broker, flow.source);
    flow.splice();
    const Counted counted(world(), LIMPET_REASON_DROP_NO_ROUTE);
    expect_complaint(flow, flow.from_client(), family() == 4 ? 3 : 1, 0, 0);
    EXPECT_EQ(counted.since(), 1U);
}

TEST_P(Icmp, a_flood_is_not_answered_packet_by_packet) {
    Flow flow(world(), family());
    flow.splice();
    auto packet = flow.from_client();
    packet.hops = 1;
    const Counted sent(world(), LIMPET_REASON_ICMP_SENT);
    const Counted paced(world(), LIMPET_REASON_ICMP_PACED);
    for (int i = 0; i < 2000; ++i) EXPECT_NE(flow.client_sends(Program::tc, packet).verdict, Verdict::pass);
    EXPECT_EQ(sent.since() + paced.since(), 2000U);
    EXPECT_GT(paced.since(), 0U) << "some 1,000 a second, and these came in a few milliseconds";
}

}  // namespace
}  // namespace limpet::test
