// SPDX-License-Identifier: Apache-2.0
#include "discovery/assignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace limpet::discovery {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

IpAddress ip(const std::string& text) {
    return *IpAddress::parse(text);
}

std::vector<Found> names(std::vector<std::string> addresses, const std::vector<Found>& before = {}) {
    std::vector<IpAddress> parsed;
    for (const auto& address : addresses) parsed.push_back(ip(address));
    return assign_addresses("b", 1883, parsed, 1, before);
}

std::vector<std::string> shown(const std::vector<Found>& brokers) {
    std::vector<std::string> lines;
    for (const auto& broker : brokers) lines.push_back(broker.name + "=" + broker.address.text());
    return lines;
}

TEST(Addresses, one_address_is_one_broker_under_its_own_name_wherever_it_moves) {
    const auto first = names({"10.0.0.1"});
    EXPECT_THAT(shown(first), ElementsAre("b=10.0.0.1:1883"));
    EXPECT_THAT(shown(names({"10.0.0.9"}, first)), ElementsAre("b=10.0.0.9:1883"));
}

TEST(Addresses, a_broker_keeps_its_name_when_others_come_and_go) {
    const auto one = names({"10.0.0.5"});
    const auto two = names({"10.0.0.1", "10.0.0.5"}, one);
    EXPECT_THAT(shown(two), ElementsAre("b/10.0.0.1=10.0.0.1:1883", "b=10.0.0.5:1883"));
    const auto three = names({"2001:db8::1", "10.0.0.5", "10.0.0.1"}, two);
    EXPECT_THAT(shown(three), ElementsAre("b/10.0.0.1=10.0.0.1:1883", "b=10.0.0.5:1883",
                                          "b/2001:db8::1=[2001:db8::1]:1883"));
    const auto without = names({"10.0.0.1", "2001:db8::1"}, three);
    EXPECT_THAT(shown(without), ElementsAre("b/10.0.0.1=10.0.0.1:1883", "b/2001:db8::1=[2001:db8::1]:1883"));
    EXPECT_THAT(shown(names({"10.0.0.1"}, without)), ElementsAre("b/10.0.0.1=10.0.0.1:1883"));
}

TEST(Addresses, the_order_of_an_answer_says_nothing_and_an_address_counts_once) {
    EXPECT_EQ(names({"10.0.0.2", "10.0.0.1", "10.0.0.2"}), names({"10.0.0.1", "10.0.0.2"}));
    EXPECT_THAT(shown(names({"10.0.0.2", "10.0.0.1"})),
                ElementsAre("b=10.0.0.1:1883", "b/10.0.0.2=10.0.0.2:1883"));
    EXPECT_THAT(names({}), IsEmpty());
}

Service service(const std::string& target, std::uint16_t priority, std::uint16_t weight,
                std::vector<std::string> addresses, std::uint16_t port = 1883) {
    Service made{target, port, priority, weight, {}};
    for (const auto& address : addresses) made.addresses.push_back(ip(address));
    return made;
}

TEST(Services, are_named_after_their_targets_wherever_those_move) {
    const auto first =
        assign_services("s", {service("b.x.", 0, 1, {"10.0.0.2"}), service("a.x", 0, 1, {"10.0.0.1"})}, {});
    EXPECT_THAT(shown(first), ElementsAre("s/a.x=10.0.0.1:1883", "s/b.x=10.0.0.2:1883"));
    const auto moved =
        assign_services("s", {service("b.x", 0, 1, {"10.0.0.7"}), service("a.x", 0, 1, {"10.0.0.1"})}, first);
    EXPECT_THAT(shown(moved), ElementsAre("s/a.x=10.0.0.1:1883", "s/b.x=10.0.0.7:1883"));
}

TEST(Services, of_several_addresses_a_target_keeps_the_one_that_it_had) {
    const auto first = assign_services("s", {service("a", 0, 1, {"10.0.0.2"})}, {});
    EXPECT_THAT(shown(assign_services("s", {service("a", 0, 1, {"10.0.0.1", "10.0.0.2"})}, first)),
                ElementsAre("s/a=10.0.0.2:1883"));
}

TEST(Services, a_target_that_has_no_address_now_keeps_its_last) {
    const auto first = assign_services("s", {service("a", 0, 1, {"10.0.0.2"})}, {});
    EXPECT_EQ(assign_services("s", {service("a", 0, 1, {})}, first), first);
    EXPECT_THAT(assign_services("s", {}, first), IsEmpty()) << "one that has left is gone";
}

TEST(Services, ports_tell_apart_what_one_target_has) {
    EXPECT_THAT(
        shown(assign_services(
            "s", {service("a", 0, 1, {"10.0.0.1"}, 1884), service("a", 0, 1, {"10.0.0.1"}, 1883)}, {})),
        ElementsAre("s/a:1883=10.0.0.1:1883", "s/a:1884=10.0.0.1:1884"));
}

TEST(Services, weights_are_shares_and_priorities_are_ranks) {
    const auto found =
        assign_services("s",
                        {service("spare", 20, 5, {"10.0.0.3"}), service("large", 10, 3, {"10.0.0.1"}),
                         service("small", 10, 0, {"10.0.0.2"}), service("lost", 10, 9, {})},
                        {});
    ASSERT_EQ(found.size(), 3U) << "a target without an address is nobody";
    EXPECT_EQ(found[0].weight, 300U);
    EXPECT_EQ(found[1].weight, 1U) << "RFC 2782: a very small chance";
    EXPECT_EQ(found[0].rank, 0);
    EXPECT_EQ(found[1].rank, 0);
    EXPECT_EQ(found[2].rank, 1);
}

}  // namespace
}  // namespace limpet::discovery
