// SPDX-License-Identifier: Apache-2.0
#include "session/rules.h"

#include <gtest/gtest.h>

namespace limpet::session {
namespace {

using std::chrono::seconds;

TEST(pattern, stands_for_what_it_says) {
    struct Case {
        const char* pattern;
        const char* text;
        bool fits;
    };
    for (const auto& [pattern, text, wanted] : std::vector<Case>{{"", "", true},
                                                                 {"", "a", false},
                                                                 {"abc", "abc", true},
                                                                 {"abc", "abcd", false},
                                                                 {"abc", "ab", false},
                                                                 {"Abc", "abc", false},
                                                                 {"*", "", true},
                                                                 {"*", "anything", true},
                                                                 {"eu-*", "eu-", true},
                                                                 {"eu-*", "eu-7", true},
                                                                 {"eu-*", "us-eu-7", false},
                                                                 {"*-7", "eu-7-7", true},
                                                                 {"*-7", "eu-7-8", false},
                                                                 {"a*b*c", "a-b-b-c-c", true},
                                                                 {"a*b*c", "a-c-b", false},
                                                                 {"a?c", "abc", true},
                                                                 {"a?c", "ac", false},
                                                                 {"??", "é", true},
                                                                 {"a\\*", "a*", true},
                                                                 {"a\\*", "ab", false},
                                                                 {"a\\?", "ab", false},
                                                                 {"*\\*", "ab*", true},
                                                                 {"a\\\\", "a\\", true},
                                                                 {"**a**", "xay", true}})
        EXPECT_EQ(fits(pattern, text), wanted) << pattern << " and " << text;
}

TEST(pattern, of_many_stars_ends_soon) {
    const std::string text(60'000, 'a');
    EXPECT_FALSE(fits("*a*a*a*a*a*a*a*b", text));
}

mqtt::Connect connect(std::string id, std::optional<std::string> user = {}, std::uint16_t keep_alive = 60,
                      mqtt::Version version = mqtt::Version::v311) {
    mqtt::Connect connect;
    connect.client_id = std::move(id);
    connect.user_name = std::move(user);
    connect.keep_alive = keep_alive;
    connect.version = version;
    return connect;
}

const IpAddress here = *IpAddress::parse("10.1.2.3");

TEST(rule, without_conditions_is_for_everybody) {
    EXPECT_TRUE(fits(Conditions{}, connect(""), here));
}

TEST(rule, fits_where_all_that_it_says_is_true) {
    Conditions rule;
    rule.sources = {*Network::parse("10.0.0.0/8"), *Network::parse("2001:db8::/32")};
    rule.usernames = {"eu-*", "test"};
    EXPECT_TRUE(fits(rule, connect("any", "eu-berlin"), here));
    EXPECT_TRUE(fits(rule, connect("any", "test"), *IpAddress::parse("2001:db8::9")));
    EXPECT_FALSE(fits(rule, connect("any", "us-1"), here));
    EXPECT_FALSE(fits(rule, connect("any"), here));
    EXPECT_FALSE(fits(rule, connect("any", "eu-berlin"), *IpAddress::parse("11.1.2.3")));
    rule.client_ids = {"sensor-*"};
    EXPECT_FALSE(fits(rule, connect("any", "eu-berlin"), here));
    EXPECT_TRUE(fits(rule, connect("sensor-", "eu-berlin"), here));
    rule.versions = {mqtt::Version::v5};
    EXPECT_FALSE(fits(rule, connect("sensor-", "eu-berlin"), here));
    EXPECT_TRUE(fits(rule, connect("sensor-", "eu-berlin", 60, mqtt::Version::v5), here));
}

TEST(rule, of_an_empty_user_name_is_for_clients_without_one) {
    Conditions rule;
    rule.usernames = {""};
    EXPECT_TRUE(fits(rule, connect("a"), here));
    EXPECT_TRUE(fits(rule, connect("a", ""), here));
    EXPECT_FALSE(fits(rule, connect("a", "b"), here));
}

TEST(rule, of_keep_alive_is_for_those_outside_its_bounds) {
    Conditions rule;
    rule.keep_alive_below = seconds{10};
    EXPECT_TRUE(fits(rule, connect("a", {}, 9), here));
    EXPECT_FALSE(fits(rule, connect("a", {}, 10), here));
    EXPECT_FALSE(fits(rule, connect("a", {}, 0), here)) << "no keep-alive is a long one";
    rule.keep_alive_above = seconds{600};
    EXPECT_TRUE(fits(rule, connect("a", {}, 9), here));
    EXPECT_FALSE(fits(rule, connect("a", {}, 600), here));
    EXPECT_TRUE(fits(rule, connect("a", {}, 601), here));
    EXPECT_TRUE(fits(rule, connect("a", {}, 0), here));
}

}  // namespace
}  // namespace limpet::session
