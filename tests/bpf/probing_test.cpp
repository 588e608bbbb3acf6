// SPDX-License-Identifier: Apache-2.0
// Ends are asked whether they are still there, and what follows from their answers and from their silence.
#include "dataplane/probing.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <thread>

#include "world.h"

namespace limpet::test {
namespace {

using dataplane::Probing;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Asking : public FlowTest {
  protected:
    void SetUp() override {
        FlowTest::SetUp();
        if (IsSkipped()) return;
        auto sender = dataplane::RawSender::open();
        ASSERT_TRUE(sender) << sender.error().line();
        sender_.emplace(std::move(*sender));
        probing_.emplace(world().maps(), *sender_, [this](Reason reason) {
            EXPECT_EQ(reason, LIMPET_REASON_PROBED);
            ++sent_;
        });
    }
    [[nodiscard]] static dataplane::FlowPair pair_of(const Flow& flow) {
        return {flow.client_key, flow.broker_key};
    }
    void step(milliseconds later) {
        now_ += later;
        probing_->step(now_, [this](const dataplane::FlowPair&) { ++unanswered_; });
    }
    /// The data path marks a doubt before the daemon hears of it.
    void doubt(Flow& flow) {
        auto order = flow.command(LIMPET_OPERATION_MARK);
        order.leg[0].flags = LIMPET_FLOW_DOUBTED;
        ASSERT_TRUE(world().maps().run(order));
        ASSERT_TRUE(probing_->begin(pair_of(flow), Probing::Cause::doubt, now_));
    }

    std::optional<dataplane::RawSender> sender_;
    std::optional<Probing> probing_;
    Probing::Clock::time_point now_ = Probing::Clock::now();
    unsigned sent_ = 0;
    unsigned unanswered_ = 0;
};
LIMPET_BOTH_FAMILIES(Asking);

TEST_P(Asking, ends_that_answer_settle_the_doubt) {
    Flow flow(world(), family());
    flow.splice();
    doubt(flow);
    EXPECT_FALSE(probing_->begin(pair_of(flow), Probing::Cause::doubt, now_)) << "it is asked already";
    step(milliseconds(100));
    EXPECT_EQ(sent_, 0U) << "what is on its way may still arrive";
    step(milliseconds(200));
    EXPECT_EQ(sent_, 2U) << "both ends are asked";
    flow.client_sends(Program::tc, flow.from_client());
    step(seconds(1));
    EXPECT_EQ(sent_, 3U) << "only who has not answered is asked again";
    flow.broker_sends(Program::xdp, flow.from_broker());
    step(seconds(2));
    EXPECT_EQ(sent_, 3U);
    EXPECT_TRUE(probing_->empty());
    EXPECT_EQ(unanswered_, 0U);
    EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_DOUBTED, 0) << "the next doubt counts again";
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_ACTIVE);
}

TEST_P(Asking, silence_after_a_doubt_ends_nothing) {
    Flow flow(world(), family());
    flow.splice();
    doubt(flow);
    for (int second = 0; second < 40; ++second) step(seconds(1));
    EXPECT_EQ(sent_, 2 * std::size(dataplane::probe_waits));
    EXPECT_TRUE(probing_->empty());
    EXPECT_EQ(unanswered_, 0U) << "a sleeping device must not be lost to a forged RST";
    EXPECT_EQ(flow.client_entry().flags & LIMPET_FLOW_DOUBTED, 0);
}

TEST_P(Asking, without_keep_alive_who_does_not_answer_is_gone) {
    Flow flow(world(), family());
    flow.splice();
    ASSERT_TRUE(probing_->begin(pair_of(flow), Probing::Cause::silence, now_));
    for (int second = 0; second < 31; ++second) {
        step(seconds(1));
        flow.broker_sends(Program::tc, flow.from_broker());
        ASSERT_EQ(unanswered_, 0U) << "after " << second << " s";
    }
    step(seconds(2));
    EXPECT_EQ(unanswered_, 1U) << "the broker answers, the client does not";
    EXPECT_TRUE(probing_->empty());
}

/// The ACK number of the last question that the far end of the client's link got.
class Far {
  public:
    explicit Far(int index)
        : socket_(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = index;
        EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    [[nodiscard]] std::optional<std::uint32_t> question(const Flow& flow) const {
        const std::size_t tcp = flow.family == 4 ? 34 : 54;
        for (int look = 0; look < 200; ++look) {
            packet::Bytes frame(2048);
            const auto size = ::recv(socket_.get(), frame.data(), frame.size(), 0);
            if (size < 0) std::this_thread::sleep_for(milliseconds(5));
            if (size >= static_cast<ssize_t>(tcp + 20) && packet::get16(frame, tcp + 2) == flow.client.port &&
                frame[tcp + 13] == packet::ack)
                return packet::get32(frame, tcp + 8);
        }
        return std::nullopt;
    }

  private:
    Fd socket_;
};

TEST_P(Asking, only_who_was_asked_knows_the_answer_of_a_lost_connection) {
    Flow flow(world(), family());
    flow.splice();
    const Far far(world().client().far_index);
    doubt(flow);
    step(milliseconds(300));
    const auto question = far.question(flow);
    ASSERT_TRUE(question) << "the probe is on the wire";
    const auto next = flow.client_entry().note_sequence_end;
    EXPECT_NE(*question, next) << "what everybody could guess";
    EXPECT_LT(next - *question, 0x4000'0001U) << "an ACK of long ago: no stack minds";
    EXPECT_TRUE(probing_->is_answer(pair_of(flow), flow.client_key, *question));
    EXPECT_FALSE(probing_->is_answer(pair_of(flow), flow.broker_key, *question))
        << "the broker was asked otherwise";
    EXPECT_FALSE(probing_->is_answer(pair_of(flow), flow.client_key, *question + 1));
    EXPECT_FALSE(probing_->is_answer(pair_of(flow), flow.client_key, 0));
    world().events();
    auto packet = flow.from_client();
    packet.flags = packet::rst;
    packet.sequence = *question;
    flow.client_sends(Program::tc, packet);
    const auto events = world().events();
    ASSERT_EQ(events.size(), 1U) << "asked about, a RST is told of again";
    EXPECT_EQ(events[0].sequence, *question);
    EXPECT_EQ(flow.client_state(), LIMPET_STATE_ACTIVE) << "the daemon ends it, not the data path";
}

TEST_P(Asking, a_flow_that_ends_meanwhile_is_forgotten) {
    Flow flow(world(), family());
    flow.splice();
    ASSERT_TRUE(probing_->begin(pair_of(flow), Probing::Cause::silence, now_));
    step(milliseconds(300));
    auto packet = flow.from_client();
    packet.flags = packet::rst | packet::ack;
    flow.broker_sends(Program::tc, flow.from_broker());
    flow.client_sends(Program::tc, packet);
    ASSERT_EQ(flow.client_state(), LIMPET_STATE_CLOSING) << "the answer of an end that lost the connection";
    step(seconds(1));
    EXPECT_TRUE(probing_->empty());
    EXPECT_EQ(unanswered_, 0U);
}

}  // namespace
}  // namespace limpet::test
