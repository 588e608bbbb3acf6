// SPDX-License-Identifier: Apache-2.0
#include "mqtt/utf8.h"

#include "bytes.h"
#include "strings.h"

namespace limpet::mqtt::test {
namespace {

TEST(Utf8, every_good_string_is_good) {
    for (const auto& [sentence, value] : good_strings) EXPECT_TRUE(is_mqtt_string(text(value))) << sentence;
}

TEST(Utf8, every_bad_string_is_bad) {
    for (const auto& [sentence, value] : bad_strings) EXPECT_FALSE(is_mqtt_string(text(value))) << sentence;
}

TEST(Utf8, nul_is_a_character_of_utf8_but_not_of_a_string) {
    EXPECT_TRUE(is_utf8(text(std::string_view("a\0b", 3))));
    EXPECT_FALSE(is_mqtt_string(text(std::string_view("a\0b", 3))));
}

/// The other way round: encode by RFC 3629's table, bit by bit.
Buffer encode(std::uint32_t point) {
    const auto tail = [&](int shift) { return static_cast<std::uint8_t>(0x80 | (point >> shift & 0x3F)); };
    if (point < 0x80) return {static_cast<std::uint8_t>(point)};
    if (point < 0x800) return {static_cast<std::uint8_t>(0xC0 | point >> 6), tail(0)};
    if (point < 0x10000) return {static_cast<std::uint8_t>(0xE0 | point >> 12), tail(6), tail(0)};
    return {static_cast<std::uint8_t>(0xF0 | point >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, exactly_the_scalar_values_of_unicode_are_accepted) {
    for (std::uint32_t point = 0; point < 0x1F0000; ++point) {
        const bool scalar = point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
        const Buffer encoded = encode(point);
        ASSERT_EQ(is_utf8(encoded), scalar) << std::hex << point;
        for (std::size_t length = 1; length < encoded.size(); ++length)
            ASSERT_FALSE(is_utf8(Bytes(encoded).first(length))) << "cut short: " << std::hex << point;
    }
}

TEST(Utf8, no_two_bytes_are_a_second_spelling_of_a_character) {
    // Overlong forms show up as more valid strings of one length than there are characters of it.
    std::size_t pairs = 0;
    for (unsigned first = 0x80; first < 0x100; ++first)
        for (unsigned second = 0; second < 0x100; ++second)
            pairs += is_utf8(Buffer{static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(second)});
    EXPECT_EQ(pairs, 0x800u - 0x80u);
    std::size_t triples = 0;
    for (unsigned first = 0xE0; first < 0xF0; ++first)
        for (unsigned rest = 0; rest < 0x10000; ++rest)
            triples += is_utf8(Buffer{static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(rest >> 8),
                                      static_cast<std::uint8_t>(rest)});
    // Those of one three-byte character; an ASCII or two-byte beginning is excluded by the first byte.
    EXPECT_EQ(triples, 0x10000u - 0x800u - 0x800u);
}

TEST(TopicName, has_a_character_and_no_wildcard) {
    EXPECT_TRUE(is_topic_name("a"));
    EXPECT_TRUE(is_topic_name("/"));
    EXPECT_TRUE(is_topic_name("$SYS/broker/connection/x/state"));
    EXPECT_TRUE(is_topic_name(" "));
    EXPECT_FALSE(is_topic_name("")) << "MQTT-4.7.3-1";
    EXPECT_FALSE(is_topic_name("a/+/b")) << "MQTT-4.7.1-1";
    EXPECT_FALSE(is_topic_name("a/#"));
    EXPECT_FALSE(is_topic_name("a+b")) << "a wildcard in the middle of a level is no better";
}

}  // namespace
}  // namespace limpet::mqtt::test
