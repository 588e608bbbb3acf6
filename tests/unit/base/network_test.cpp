// SPDX-License-Identifier: Apache-2.0
#include "base/network.h"

#include <gtest/gtest.h>

namespace limpet {
namespace {

struct Membership {
    const char* network;
    const char* address;
    bool inside;
};

class NetworkOf : public testing::TestWithParam<Membership> {};

TEST_P(NetworkOf, contains_exactly_what_begins_alike) {
    const auto& row = GetParam();
    const auto network = Network::parse(row.network);
    ASSERT_TRUE(network) << network.error().line();
    EXPECT_EQ(network->contains(*IpAddress::parse(row.address)), row.inside)
        << row.address << " in " << row.network;
}

INSTANTIATE_TEST_SUITE_P(all, NetworkOf,
                         testing::Values(Membership{"10.0.0.0/8", "10.255.1.2", true},
                                         Membership{"10.0.0.0/8", "11.0.0.0", false},
                                         Membership{"192.0.2.128/25", "192.0.2.127", false},
                                         Membership{"192.0.2.128/25", "192.0.2.255", true},
                                         Membership{"192.0.2.1", "192.0.2.1", true},
                                         Membership{"192.0.2.1", "192.0.2.0", false},
                                         Membership{"0.0.0.0/0", "203.0.113.9", true},
                                         Membership{"0.0.0.0/0", "2001:db8::1", false},
                                         Membership{"2001:db8::/33", "2001:db8:7fff::1", true},
                                         Membership{"2001:db8::/33", "2001:db8:8000::1", false},
                                         Membership{"::/0", "10.0.0.1", false}));

TEST(Network, is_refused_where_it_is_none) {
    for (const auto* text : {"", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0/8", "/8",
                             "2001:db8::/129", "example.org/8"})
        EXPECT_FALSE(Network::parse(text)) << text;
}

TEST(Network, with_bits_behind_its_prefix_is_refused_and_mended) {
    const auto network = Network::parse("10.1.2.3/8");
    ASSERT_FALSE(network);
    EXPECT_EQ(network.error().line(),
              "\"10.1.2.3/8\" is an address in a network, not a network: write it as 10.0.0.0/8");
}

TEST(Network, reads_what_it_prints) {
    for (const auto* text : {"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "0.0.0.0/0"})
        EXPECT_EQ(Network::parse(text)->text(), text);
}

}  // namespace
}  // namespace limpet
