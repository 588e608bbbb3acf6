// SPDX-License-Identifier: Apache-2.0
// The properties of MQTT 5 in CONNECT, in its will, and in CONNACK.
#include "bytes.h"
#include "strings.h"

namespace limpet::mqtt::test {
namespace {

enum class Kind { byte, two, four, string, binary, pair, integer };

/// The table of 2.2.2.2 once more, all of it: also those that no packet of ours may carry.
struct Row {
    std::uint8_t identifier;
    std::string_view name;
    Kind kind;
    bool connect, will, connack;
    bool boolean = false;
    bool not_zero = false;
};

constexpr Row rows[] = {
    {0x01, "payload format indicator", Kind::byte, false, true, false, true},
    {0x02, "message expiry interval", Kind::four, false, true, false},
    {0x03, "content type", Kind::string, false, true, false},
    {0x08, "response topic", Kind::string, false, true, false},
    {0x09, "correlation data", Kind::binary, false, true, false},
    {0x0B, "subscription identifier", Kind::integer, false, false, false},
    {0x11, "session expiry interval", Kind::four, true, false, true},
    {0x12, "assigned client identifier", Kind::string, false, false, true},
    {0x13, "server keep alive", Kind::two, false, false, true},
    {0x15, "authentication method", Kind::string, true, false, true},
    {0x16, "authentication data", Kind::binary, true, false, true},
    {0x17, "request problem information", Kind::byte, true, false, false, true},
    {0x18, "will delay interval", Kind::four, false, true, false},
    {0x19, "request response information", Kind::byte, true, false, false, true},
    {0x1A, "response information", Kind::string, false, false, true},
    {0x1C, "server reference", Kind::string, false, false, true},
    {0x1F, "reason string", Kind::string, false, false, true},
    {0x21, "receive maximum", Kind::two, true, false, true, false, true},
    {0x22, "topic alias maximum", Kind::two, true, false, true},
    {0x23, "topic alias", Kind::two, false, false, false},
    {0x24, "maximum QoS", Kind::byte, false, false, true, true},
    {0x25, "retain available", Kind::byte, false, false, true, true},
    {0x26, "user property", Kind::pair, true, true, true},
    {0x27, "maximum packet size", Kind::four, true, false, true, false, true},
    {0x28, "wildcard subscription available", Kind::byte, false, false, true, true},
    {0x29, "subscription identifier available", Kind::byte, false, false, true, true},
    {0x2A, "shared subscription available", Kind::byte, false, false, true, true},
};

const Row* row_of(unsigned identifier) {
    for (const Row& row : rows)
        if (row.identifier == identifier) return &row;
    return nullptr;
}

Buffer value_of(Kind kind, std::string_view words = "x") {
    switch (kind) {
        case Kind::byte:
        case Kind::integer:
            return {1};
        case Kind::two:
            return {1, 2};
        case Kind::four:
            return {1, 2, 3, 4};
        case Kind::string:
        case Kind::binary:
            return field(words);
        case Kind::pair:
            return field(words) + field(words);
    }
    return {};
}

Buffer property(const Row& row) {
    return Buffer{row.identifier} + value_of(row.kind);
}

// The same properties in each of the three places; a judge says whether the packet is valid.
struct PlaceOf {
    std::string_view name;
    bool Row::* allowed;
    Buffer (*packet)(const Buffer& properties);
    Buffer before;  ///< what must stand before 0x16 to be legal
    bool connack = false;

    void expect(bool valid, const Buffer& properties, const std::string& sentence) const {
        const std::string why = std::string(name) + ": " + sentence;
        const Buffer bytes = packet(properties);
        if (connack) {
            const auto parse = [](Bytes some) { return parse_connack(some, Version::v5); };
            const auto parsed = parse(bytes);
            EXPECT_EQ(parsed.status, valid ? Status::complete : Status::invalid)
                << why << ": " << parsed.detail;
            EXPECT_EQ(decided_after(bytes, parse), bytes.size())
                << why << ": what it holds is read as a whole";
            if (valid)
                EXPECT_TRUE(parse(write_connack(parsed.packet, Version::v5)).packet == parsed.packet) << why;
            else
                EXPECT_EQ(parsed.reason, LIMPET_REASON_BROKER_PROTOCOL) << why;
        } else if (valid) {
            expect_valid(bytes, why);
        } else {
            expect_invalid(bytes, LIMPET_REASON_CLOSE_MALFORMED, why, at_the_end);
        }
    }
};

Buffer connect_with(const Buffer& properties) {
    Sketch drawn = sketch(Version::v5);
    drawn.properties = section(properties);
    return drawn.bytes();
}
Buffer will_with(const Buffer& properties) {
    Sketch drawn = sketch(Version::v5);
    drawn.flags = 0x06;
    drawn.rest = section(properties) + field("t") + field("p");
    return drawn.bytes();
}
Buffer connack_with(const Buffer& properties) {
    return packet(0x20, Buffer{0, 0} + section(properties));
}

const PlaceOf places[] = {
    {"CONNECT", &Row::connect, connect_with, Buffer{0x15} + field("m"), false},
    {"will", &Row::will, will_with, {}, false},
    {"CONNACK", &Row::connack, connack_with, {}, true},
};

TEST(Properties, each_of_the_256_identifiers_is_allowed_just_where_the_text_allows_it) {
    for (const PlaceOf& place : places) {
        for (unsigned identifier = 0; identifier < 0x80; ++identifier) {
            const Row* row = row_of(identifier);
            const Buffer first = identifier == 0x16 ? place.before : Buffer{};
            if (row != nullptr)
                place.expect(row->*place.allowed, first + property(*row), std::string(row->name));
            else
                place.expect(false, Buffer{static_cast<std::uint8_t>(identifier), 1, 2, 3, 4},
                             "unknown identifier " + std::to_string(identifier));
        }
        for (unsigned identifier = 0x80; identifier < 0x100; ++identifier)
            place.expect(false, Buffer{static_cast<std::uint8_t>(identifier), 1, 0, 0},
                         "an identifier of two bytes");
        place.expect(false, Buffer{0x80 | 0x11, 0, 0, 0, 0, 1},
                     "a known identifier in two bytes (MQTT-1.5.5-1)");
        place.expect(false, Buffer{0xFF, 0xFF, 0xFF, 0xFF, 0x01}, "an identifier of five bytes");
    }
}

TEST(Properties, each_may_be_there_once_but_user_properties_any_number_of_times) {
    for (const PlaceOf& place : places) {
        for (const Row& row : rows) {
            if (!(row.*place.allowed)) continue;
            const Buffer first = row.identifier == 0x16 ? place.before : Buffer{};
            const Buffer between = Buffer{0x26} + field("k") + field("v");
            place.expect(row.kind == Kind::pair, first + property(row) + property(row),
                         std::string(row.name) + " twice");
            place.expect(row.kind == Kind::pair, first + property(row) + between + property(row),
                         std::string(row.name) + " twice, not side by side");
        }
    }
}

TEST(Properties, each_that_is_cut_short_is_malformed) {
    for (const PlaceOf& place : places) {
        for (const Row& row : rows) {
            if (!(row.*place.allowed)) continue;
            const Buffer first = row.identifier == 0x16 ? place.before : Buffer{};
            const Buffer whole = property(row);
            for (std::size_t length = 1; length < whole.size(); ++length)
                place.expect(
                    false, first + Buffer(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)),
                    std::string(row.name) + " cut to " + std::to_string(length));
        }
    }
}

TEST(Properties, flags_are_0_or_1_and_limits_are_not_0) {
    for (const PlaceOf& place : places) {
        for (const Row& row : rows) {
            if (!(row.*place.allowed)) continue;
            if (row.boolean) {
                for (unsigned value = 0; value < 0x100; ++value)
                    place.expect(value < 2, Buffer{row.identifier, static_cast<std::uint8_t>(value)},
                                 std::string(row.name) + " " + std::to_string(value));
            } else if (row.kind == Kind::two || row.kind == Kind::four) {
                const std::size_t width = row.kind == Kind::two ? 2 : 4;
                place.expect(!row.not_zero, Buffer{row.identifier} + Buffer(width, 0x00),
                             std::string(row.name) + " 0");
                place.expect(true, Buffer{row.identifier} + Buffer(width, 0xFF),
                             std::string(row.name) + " largest");
            }
        }
    }
}

TEST(Properties, strings_are_utf8_and_binary_data_is_not_asked) {
    for (const PlaceOf& place : places) {
        for (const Row& row : rows) {
            if (!(row.*place.allowed) || row.kind < Kind::string || row.kind > Kind::pair) continue;
            const Buffer first = row.identifier == 0x16 ? place.before : Buffer{};
            for (const auto& [sentence, value] : bad_strings) {
                const std::string why = std::string(row.name) + ": " + std::string(sentence);
                if (row.kind == Kind::pair) {
                    place.expect(false, Buffer{0x26} + field(value) + field("v"), why + " in the key");
                    place.expect(false, Buffer{0x26} + field("k") + field(value), why + " in the value");
                } else {
                    place.expect(row.kind == Kind::binary, first + Buffer{row.identifier} + field(value),
                                 why);
                }
            }
            for (const auto& [sentence, value] : good_strings)
                place.expect(true, first + Buffer{row.identifier} + value_of(row.kind, value),
                             std::string(row.name) + ": " + std::string(sentence));
        }
    }
}

TEST(Properties, a_response_topic_is_a_topic_name) {
    for (const auto topic : {""sv, "#"sv, "a/+"sv})
        places[1].expect(false, Buffer{0x08} + field(topic), "response topic '" + std::string(topic) + "'");
}

TEST(Properties, authentication_data_wants_a_method_in_connect_only) {
    places[0].expect(false, Buffer{0x16} + field("d"), "data without method (3.1.2.11.10)");
    places[0].expect(true, Buffer{0x16} + field("d") + Buffer{0x15} + field("m"), "in either order");
    places[0].expect(true, Buffer{0x15} + field("m"), "a method alone");
    places[2].expect(true, Buffer{0x16} + field("d"), "CONNACK has no such rule");
}

TEST(Properties, the_order_of_user_properties_is_kept_with_equal_keys) {
    const Buffer properties = Buffer{0x26} + field("b") + field("1") + Buffer{0x26} + field("a") +
                              field("2") + Buffer{0x26} + field("b") + field("1") + Buffer{0x26} + field("") +
                              field("");
    const Connect read = expect_valid(connect_with(properties), "four user properties");
    const std::vector<std::pair<std::string, std::string>> want{{"b", "1"}, {"a", "2"}, {"b", "1"}, {"", ""}};
    EXPECT_EQ(read.properties.user_properties, want);
}

TEST(Properties, values_are_read_in_network_byte_order) {
    const Connect read = expect_valid(
        connect_with(Buffer{0x11, 0x12, 0x34, 0x56, 0x78, 0x21, 0xAB, 0xCD, 0x22, 0,
                            7,    0x27, 0,    1,    0,    0,    0x17, 0,    0x19, 1} +
                     Buffer{0x15} + field("SCRAM") + Buffer{0x16} + field(std::string_view("\0\xFF", 2))),
        "all of CONNECT");
    EXPECT_EQ(read.properties.session_expiry_interval, 0x12345678u);
    EXPECT_EQ(read.properties.receive_maximum, 0xABCDu);
    EXPECT_EQ(read.properties.topic_alias_maximum, 7u);
    EXPECT_EQ(read.properties.maximum_packet_size, 65536u);
    EXPECT_EQ(read.properties.request_problem_information, 0u);
    EXPECT_EQ(read.properties.request_response_information, 1u);
    EXPECT_EQ(read.properties.authentication_method, "SCRAM");
    EXPECT_EQ(read.properties.authentication_data, (Buffer{0, 0xFF}));
}

TEST(Properties, a_length_that_does_not_fit_is_known_before_the_properties_come) {
    Sketch drawn = sketch(Version::v5);
    const std::size_t at = bytes_up_to_level(drawn) + 3;
    drawn.properties = {3};
    expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "leaves no room for the client id", at + 1);
    drawn.properties = {0x80, 0x00};
    expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "not in the fewest bytes", at + 2);
    drawn.properties = {0xFF, 0xFF, 0xFF, 0xFF};
    drawn.rest = Buffer(300, 0);
    expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "of five bytes", at + 4 + 1);
    drawn.properties = {0xFF, 0xFF, 0x7F};
    expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "longer than the packet", at + 3 + 1);
}

TEST(Properties, a_section_of_more_than_127_and_16383_bytes_is_read) {
    for (const std::size_t size : {100u, 127u, 128u, 5000u, 16383u, 40000u}) {
        const std::string big(size, 'v');
        const Buffer one = Buffer{0x26} + field("k") + field(big);
        for (const auto& make : {connect_with, will_with}) {
            const auto parsed = read_connect(make(one));
            EXPECT_EQ(parsed.status, Status::complete) << size << ": " << parsed.detail;
            EXPECT_EQ(write_connect(parsed.packet), make(one));
        }
    }
}

}  // namespace
}  // namespace limpet::mqtt::test
