// SPDX-License-Identifier: Apache-2.0
#include "dataplane/broker_offers.h"

#include <gtest/gtest.h>
#include <limpet/flow_abi.h>

namespace limpet::dataplane {
namespace {

constexpr std::uint8_t every = LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_SACK | LIMPET_SYN_NO_WINDOW_SCALE;

Endpoint at(const char* text) {
    return Endpoint::parse(text).value();
}

TEST(BrokerOffers, what_one_does_not_do_is_missing_from_all) {
    BrokerOffers offers;
    const std::array brokers{at("10.0.0.1:1883"), at("10.0.0.2:1883"), at("10.0.0.3:1883")};
    EXPECT_EQ(offers.common(brokers), (Offer{0, 0})) << "of who is not known everything is expected";
    offers.learn(brokers[0], {0, 1460}, every);
    offers.learn(brokers[1], {LIMPET_SYN_NO_TIMESTAMPS, 1220}, every);
    EXPECT_EQ(offers.common(brokers), (Offer{LIMPET_SYN_NO_TIMESTAMPS, 1220}));
    offers.learn(brokers[2], {LIMPET_SYN_NO_SACK, 1460}, every);
    EXPECT_EQ(offers.common(brokers), (Offer{LIMPET_SYN_NO_TIMESTAMPS | LIMPET_SYN_NO_SACK, 1220}));
    EXPECT_EQ(offers.common(std::span(brokers).first(1)), (Offer{0, 1460}));
}

TEST(BrokerOffers, nothing_is_learned_of_what_was_not_offered) {
    BrokerOffers offers;
    const std::array broker{at("[2001:db8::1]:1883")};
    EXPECT_FALSE(offers.knows(broker[0]));
    offers.learn(broker[0], {every, 1440}, every & ~LIMPET_SYN_NO_TIMESTAMPS);
    EXPECT_TRUE(offers.knows(broker[0]));
    EXPECT_EQ(offers.common(broker).missing, every & ~LIMPET_SYN_NO_TIMESTAMPS);
    offers.learn(broker[0], {0, 0}, LIMPET_SYN_NO_SACK);
    EXPECT_EQ(offers.common(broker), (Offer{LIMPET_SYN_NO_WINDOW_SCALE, 1440}))
        << "it does SACK now; the rest stands";
}

TEST(BrokerOffers, names_what_is_missing) {
    EXPECT_TRUE(missing_names({0, 1460}).empty());
    EXPECT_EQ(missing_names({every, 0}).size(), 3U);
    EXPECT_EQ(missing_names({LIMPET_SYN_NO_SACK, 0}).front(), "selective acknowledgements");
}

}  // namespace
}  // namespace limpet::dataplane
