// SPDX-License-Identifier: Apache-2.0
// The TC program on a device, with packets that BPF_PROG_RUN cannot make: partial checksums and the
// super-packets of GRO and TSO, whose payload lies outside the linear part.
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>

#include "world.h"

#ifndef PACKET_VNET_HDR
#define PACKET_VNET_HDR 15
#endif

namespace limpet::test {
namespace {

using namespace packet;

/// What packet sockets say of a packet's offloads (linux/virtio_net.h, which is no C++).
struct Offload {
    std::uint8_t flags;
    std::uint8_t gso_type;
    std::uint16_t hdr_len;
    std::uint16_t gso_size;
    std::uint16_t csum_start;
    std::uint16_t csum_offset;
};
constexpr std::uint8_t needs_checksum = 1;
constexpr std::uint8_t cut_tcp4 = 1;
constexpr std::uint8_t cut_tcp6 = 4;

/// A packet socket on one device that sends and receives a packet's offloads with it.
class Tap {
  public:
    explicit Tap(int interface_index)
        : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
        const int on = 1;
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = interface_index;
        ready_ = ::setsockopt(socket_.get(), SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) == 0 &&
                 ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    [[nodiscard]] bool ready() const { return ready_; }

    void send(const Offload& header, const Bytes& frame) {
        Bytes whole(sizeof header);
        std::memcpy(whole.data(), &header, sizeof header);
        put(whole, frame);
        ASSERT_EQ(::send(socket_.get(), whole.data(), whole.size(), 0), static_cast<ssize_t>(whole.size()))
            << std::strerror(errno);
    }

    /// The next frame of TCP from this port; empty when none comes within two seconds.
    Bytes receive(std::uint16_t port, Offload& header) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
        Bytes buffer(70'000);
        while (std::chrono::steady_clock::now() < until) {
            pollfd waiting{socket_.get(), POLLIN, 0};
            if (::poll(&waiting, 1, 100) <= 0) continue;
            const auto size = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
            if (size < static_cast<ssize_t>(sizeof header + 54)) continue;
            std::memcpy(&header, buffer.data(), sizeof header);
            Bytes frame(buffer.begin() + sizeof header, buffer.begin() + size);
            const std::size_t tcp = get16(frame, 12) == 0x0800 ? 34 : 54;
            if (frame.size() >= tcp + 20 && get16(frame, tcp) == port) return frame;
        }
        return {};
    }

  private:
    Fd socket_;
    bool ready_ = false;
};

/// limpet_ingress on the client side's device for the length of a test.
class Attached {
  public:
    explicit Attached(World& world) {
        hook_.sz = sizeof hook_;
        hook_.ifindex = world.client().index;
        hook_.attach_point = BPF_TC_INGRESS;
        bpf_tc_hook_create(&hook_);
        auto options = bpf_tc_opts();
        options.sz = sizeof options;
        options.handle = options.priority = 1;
        options.prog_fd = world.object().program("limpet_ingress");
        error_ = -bpf_tc_attach(&hook_, &options);
    }
    ~Attached() {
        hook_.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
        bpf_tc_hook_destroy(&hook_);
    }
    Attached(const Attached&) = delete;
    Attached& operator=(const Attached&) = delete;
    [[nodiscard]] int error() const { return error_; }

  private:
    bpf_tc_hook hook_ = bpf_tc_hook();  // value-initialized: libbpf wants the padding zero
    int error_ = 0;
};

class Live : public FlowTest {
  protected:
    void SetUp() override {
        FlowTest::SetUp();
        if (IsSkipped()) return;
        attached_ = std::make_unique<Attached>(world());
        client_ = std::make_unique<Tap>(world().client().far_index);
        broker_ = std::make_unique<Tap>(world().broker().far_index);
        if (attached_->error() != 0)
            GTEST_SKIP() << "no clsact, so the TC program cannot be attached: "
                         << std::strerror(attached_->error());
        if (!client_->ready() || !broker_->ready()) GTEST_SKIP() << "no packet sockets with PACKET_VNET_HDR";
    }

    /// What a sender's stack says of a packet whose checksum, and cutting, it leaves to the device.
    [[nodiscard]] Offload offload(const Packet& packet, std::uint16_t segment) const {
        Offload header{};
        header.flags = needs_checksum;
        header.csum_start = family() == 4 ? 34 : 54;
        header.csum_offset = 16;
        header.hdr_len = static_cast<std::uint16_t>(header.csum_start + 20 + packet.options.size());
        header.gso_size = segment;
        if (segment != 0) header.gso_type = family() == 4 ? cut_tcp4 : cut_tcp6;
        return header;
    }

    void check(std::uint8_t flags, const Packet& arriving_options, std::size_t payload,
               std::uint16_t segment) {
        Flow flow(world(), family());
        Flow::Wanted wanted;
        wanted.flags = flags;
        flow.splice(wanted);
        auto arriving = flow.from_client();
        arriving.options = arriving_options.options;
        arriving.payload = Bytes(payload, 0x6d);
        arriving.checksum = Checksum::partial;
        auto leaving = flow.to_broker(arriving);
        leaving.options = arriving_options.payload;  // how the options must leave
        const Counted forwarded(world(), LIMPET_REASON_FORWARDED_TC);
        client_->send(offload(arriving, segment), arriving.build());
        Offload header{};
        const auto seen = broker_->receive(flow.source.port, header);
        const auto expected = leaving.build();
        EXPECT_EQ(seen, expected) << difference(seen, expected);
        EXPECT_NE(header.flags & needs_checksum, 0) << "still partial: the last device sums it";
        EXPECT_EQ(header.csum_start, family() == 4 ? 34 : 54);
        EXPECT_EQ(header.gso_size, segment) << "a super-packet stays one";
        EXPECT_EQ(forwarded.since(), 1U);
        EXPECT_EQ(flow.client_entry().bytes, payload);
        EXPECT_EQ(flow.client_entry().note_sequence_end, Flow::client_next + payload);
    }

    std::unique_ptr<Attached> attached_;
    std::unique_ptr<Tap> client_;
    std::unique_ptr<Tap> broker_;
};
LIMPET_BOTH_FAMILIES(Live);

/// The options of a packet as they arrive, and as they must leave in `payload`.
Packet options(Bytes arrive, Bytes leave) {
    Packet packet;
    packet.options = std::move(arrive);
    packet.payload = std::move(leave);
    return packet;
}

Packet usual_options() {
    return options(join({option::nop(2), option::timestamps(1, 2)}),
                   join({option::nop(2), option::timestamps(610'001, 2 - 0xffecc000U)}));
}

TEST_P(Live, a_partial_checksum_moves_by_the_addresses_alone) {
    check(LIMPET_FLOW_TIMESTAMPS, usual_options(), 100, 0);
    check(LIMPET_FLOW_TIMESTAMPS, options({}, {}), 0, 0);
}

TEST_P(Live, a_super_packet_is_translated_once_and_stays_whole) {
    check(LIMPET_FLOW_TIMESTAMPS, usual_options(), 20'000, 1400);
    check(0, options({}, {}), 60'000, 1400);
}

TEST_P(Live, an_odd_layout_in_a_super_packet_is_translated) {
    check(LIMPET_FLOW_TIMESTAMPS,
          options(join({option::nop(1), option::timestamps(1, 2), option::nop(1)}),
                  join({option::nop(1), option::timestamps(610'001, 2 - 0xffecc000U), option::nop(1)})),
          20'000, 1400);
}

TEST_P(Live, a_super_packet_in_hold_is_parked_whole) {
    Flow flow(world(), family());
    flow.make_pending();
    flow.be_noted();
    flow.hold();
    world().parking().expect(flow.client_key);
    auto packet = flow.from_client();
    packet.checksum = Checksum::partial;
    std::vector<Bytes> sent;
    const Counted parked(world(), LIMPET_REASON_PARKED);
    for (const std::size_t payload : {std::size_t{10'000}, std::size_t{30'000}, std::size_t{65'000}}) {
        packet.payload = Bytes(payload, 0x70);
        sent.push_back(packet.build());
        client_->send(offload(packet, 1400), sent.back());
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (parked.since() < sent.size() && std::chrono::steady_clock::now() < until)
        world().parking().collect();
    std::uint64_t left = 0;
    auto frames = world().parking().take(flow.client_key, left);
    ASSERT_EQ(frames.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i)
        EXPECT_EQ(Bytes(frames[i].frame(), frames[i].frame() + frames[i].length()), sent[i]) << "frame " << i;
}

}  // namespace
}  // namespace limpet::test
