// SPDX-License-Identifier: Apache-2.0
// The flows of a broker are ended at the pace that was ordered, and nobody else's.
#include "dataplane/flow_ending.h"

#include <set>

#include "world.h"

namespace limpet::test {
namespace {

using dataplane::EndOrder;
using dataplane::FlowEnding;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Ending : public FlowTest {
  protected:
    void make(int count, const char* broker4, const char* broker6) {
        for (int i = 0; i < count; ++i) {
            auto& flow = flows_.emplace_back(std::make_unique<Flow>(world(), family()));
            flow->broker = broker(broker4, broker6);
            flow->broker_key = dataplane::FlowKey::make(flow->broker, flow->source);
            flow->splice();
        }
    }
    [[nodiscard]] Endpoint broker(const char* four, const char* six) const {
        return packet::at(family() == 4 ? four : six);
    }
    /// Steps over this much time, a piece at a time; how many flows were ended in it.
    std::size_t steps(FlowEnding& ending, milliseconds time, milliseconds piece = milliseconds(20)) {
        const auto before = ended_.size();
        for (milliseconds done{0}; done < time; done += piece) {
            now_ += piece;
            ending.step(now_, [this](const dataplane::FlowKey& key, Reason reason) {
                reasons_.insert(reason);
                return ended_.insert(key.source().port).second;
            });
        }
        return ended_.size() - before;
    }

    std::vector<std::unique_ptr<Flow>> flows_;
    std::set<std::uint16_t> ended_;
    std::set<Reason> reasons_;
    FlowEnding::Clock::time_point now_ = FlowEnding::Clock::now();
};
LIMPET_BOTH_FAMILIES(Ending);

TEST_P(Ending, goes_at_its_pace_and_spares_other_brokers) {
    make(40, "10.92.0.61:1883", "[2001:db8:92::61]:1883");
    make(10, "10.92.0.62:1883", "[2001:db8:92::62]:1883");
    FlowEnding ending(world().maps());
    const auto id = ending.order({.broker = broker("10.92.0.61:1883", "[2001:db8:92::61]:1883"),
                                  .reason = LIMPET_REASON_END_DRAINED,
                                  .per_second = 10});
    now_ = FlowEnding::Clock::now();  // the pace counts from the order; on a slow machine making the flows
                                      // took long
    EXPECT_TRUE(ending.busy());
    const auto first = steps(ending, seconds(1));
    EXPECT_GE(first, 9U);
    EXPECT_LE(first, 11U) << "ten a second";
    EXPECT_LE(steps(ending, seconds(5), seconds(5)), 11U)
        << "of what was not ended in time no more than a second's worth is made up for";
    EXPECT_FALSE(ending.progress(id)->done);
    steps(ending, seconds(4));
    EXPECT_TRUE(ending.progress(id)->done);
    EXPECT_EQ(ending.progress(id)->ended, 40U);
    EXPECT_FALSE(ending.busy());
    EXPECT_EQ(reasons_, std::set<Reason>{LIMPET_REASON_END_DRAINED});
    for (std::size_t i = 0; i < 40; ++i) EXPECT_TRUE(ended_.contains(flows_[i]->client.port));
}

TEST_P(Ending, without_a_pace_it_is_done_at_once_and_no_more_than_wanted) {
    make(20, "10.92.0.63:1883", "[2001:db8:92::63]:1883");
    const auto at = broker("10.92.0.63:1883", "[2001:db8:92::63]:1883");
    FlowEnding ending(world().maps());
    const auto some = ending.order({.broker = at, .reason = LIMPET_REASON_END_REBALANCED, .most = 7});
    EXPECT_EQ(steps(ending, milliseconds(100)), 7U);
    EXPECT_TRUE(ending.progress(some)->done);
    const auto all = ending.order({.broker = at, .reason = LIMPET_REASON_END_BROKER_DOWN});
    EXPECT_EQ(steps(ending, milliseconds(100)), 13U);
    EXPECT_TRUE(ending.progress(all)->done);
}

TEST_P(Ending, can_be_cancelled_and_replaced) {
    make(10, "10.92.0.64:1883", "[2001:db8:92::64]:1883");
    const auto at = broker("10.92.0.64:1883", "[2001:db8:92::64]:1883");
    FlowEnding ending(world().maps());
    const auto slow = ending.order({.broker = at, .reason = LIMPET_REASON_END_DRAINED, .per_second = 1});
    steps(ending, seconds(2));
    const auto before = ended_.size();
    const auto other = ending.order({.broker = at, .reason = LIMPET_REASON_END_DRAINED, .per_second = 1});
    EXPECT_TRUE(ending.progress(slow)->done) << "replaced";
    ending.cancel(other);
    EXPECT_EQ(steps(ending, seconds(20)), 0U);
    EXPECT_EQ(ended_.size(), before);
    EXPECT_FALSE(ending.progress(999)) << "never ordered";
}

}  // namespace
}  // namespace limpet::test
