// SPDX-License-Identifier: Apache-2.0
#include "tls/server_names.h"

#include <gtest/gtest.h>

namespace limpet::tls::test {
namespace {

constexpr int rsa = 1;
constexpr int ecdsa = 2;

using Set = ServerNames::Certificates;

Set found(const ServerNames& names, std::string_view name) {
    const auto* set = names.find(name);
    return set ? *set : Set{};
}

TEST(server_name, is_found_whatever_its_case_and_with_the_roots_dot) {
    ServerNames names;
    names.add("Broker.Example.Org", 3, rsa);
    EXPECT_EQ(found(names, "broker.example.org"), Set{3});
    EXPECT_EQ(found(names, "BROKER.example.ORG."), Set{3});
    EXPECT_EQ(found(names, "roker.example.org"), Set{});
    EXPECT_EQ(found(names, ""), Set{});
}

TEST(wildcard, stands_for_one_label_and_yields_to_the_exact_name) {
    ServerNames names;
    names.add("*.example.org", 1, rsa);
    names.add("exact.example.org", 2, rsa);
    EXPECT_EQ(found(names, "any.example.org"), Set{1});
    EXPECT_EQ(found(names, "exact.example.org"), Set{2});
    EXPECT_EQ(found(names, "two.labels.example.org"), Set{});
    EXPECT_EQ(found(names, "example.org"), Set{});
    EXPECT_EQ(found(names, ".example.org"), Set{});
}

TEST(certificates_of_two_kinds, stand_side_by_side_under_one_name) {
    ServerNames names;
    names.add("a.org", 0, ecdsa);
    names.add("a.org", 1, rsa);
    names.add("a.org", 2, rsa);
    names.add("b.org", 1, rsa);
    EXPECT_EQ(found(names, "a.org"), (Set{0, 1})) << "of two with the same kind the first counts";
    EXPECT_EQ(found(names, "b.org"), Set{1});
    EXPECT_EQ(names.sets(), (std::vector<Set>{{0, 1}, {1}}));
}

}  // namespace
}  // namespace limpet::tls::test
