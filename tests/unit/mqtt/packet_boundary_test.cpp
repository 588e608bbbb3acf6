// SPDX-License-Identifier: Apache-2.0
#include "mqtt/packet_boundary.h"

#include <gtest/gtest.h>

#include <vector>

namespace limpet::mqtt {
namespace {

std::vector<std::uint8_t> publish(std::size_t body) {
    std::vector<std::uint8_t> packet{0x30};
    for (auto left = body;; left /= 128) {
        packet.push_back(static_cast<std::uint8_t>(left % 128 | (left >= 128 ? 0x80 : 0)));
        if (left < 128) break;
    }
    packet.resize(packet.size() + body, 0xFF);
    return packet;
}

TEST(packet_boundary, is_found_in_any_split) {
    std::vector<std::uint8_t> stream;
    std::vector<bool> between{true};  // in front of each byte
    for (const std::size_t body : {0U, 1U, 127U, 128U, 20000U, 0U}) {
        const auto packet = publish(body);
        stream.insert(stream.end(), packet.begin(), packet.end());
        between.resize(stream.size(), false);
        between.push_back(true);
    }
    for (const std::size_t step : {1U, 2U, 3U, 7U, 1000U, 65536U}) {
        PacketBoundary boundary;
        for (std::size_t at = 0; at < stream.size(); at += step) {
            ASSERT_EQ(boundary.between(), between[at]) << "byte " << at << " in steps of " << step;
            boundary.take(Bytes(stream).subspan(at, std::min(step, stream.size() - at)));
        }
        EXPECT_TRUE(boundary.between());
    }
}

TEST(packet_boundary, is_lost_for_good_behind_a_malformed_length) {
    PacketBoundary boundary;
    const std::vector<std::uint8_t> wrong{0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xC0, 0x00};
    boundary.take(wrong);
    EXPECT_FALSE(boundary.between());
    boundary.take(publish(3));
    EXPECT_FALSE(boundary.between());
}

}  // namespace
}  // namespace limpet::mqtt
