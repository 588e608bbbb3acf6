// SPDX-License-Identifier: Apache-2.0
#include "balancer/siphash.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "pools.h"

namespace limpet::balancer {
namespace {

// The key 00 01 … 0f of the reference implementation's vectors.
constexpr SipKey reference_key{0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};

std::string counting_bytes(std::size_t length) {
    std::string text;
    for (std::size_t i = 0; i < length; ++i) text.push_back(static_cast<char>(i));
    return text;
}

TEST(SipHash, equals_the_example_of_the_paper) {
    EXPECT_EQ(siphash(reference_key, counting_bytes(15)), 0xa129ca6149be45e5ULL)
        << "SipHash paper, appendix A";
}

TEST(SipHash, equals_the_vectors_of_the_reference_implementation) {
    constexpr std::array<std::uint64_t, 9> vectors{
        0x726fdb47dd0e0e31ULL, 0x74f839c593dc67fdULL, 0x0d6c8009d9a94f5aULL,
        0x85676696d7fb7e2dULL, 0xcf2794e0277187b7ULL, 0x18765564cd99a68dULL,
        0xcbc9466e58fee3ceULL, 0xab0200f58b01d137ULL, 0x93f5f5799a932462ULL};
    for (std::size_t length = 0; length < vectors.size(); ++length)
        EXPECT_EQ(siphash(reference_key, counting_bytes(length)), vectors[length]) << length << " bytes";
}

TEST(HashKey, is_keyed_by_the_seed_and_zero_only_for_no_key) {
    const auto spec = test::pool_of(Strategy::sticky, test::equal(3));
    const Pool one(spec, 1);
    const Pool same(spec, 1);
    const Pool other(spec, 2);
    EXPECT_EQ(one.hash_key("device-1"), same.hash_key("device-1"))
        << "the daemon keeps the seed to find ids again";
    EXPECT_NE(one.hash_key("device-1"), other.hash_key("device-1")) << "nobody may foresee collisions";
    EXPECT_NE(one.hash_key("device-1"), one.hash_key("device-2"));
    EXPECT_EQ(one.hash_key(""), 0U) << "no key";
    EXPECT_NE(one.hash_key(std::string_view("\0", 1)), 0U) << "a NUL is a text";
}

}  // namespace
}  // namespace limpet::balancer
