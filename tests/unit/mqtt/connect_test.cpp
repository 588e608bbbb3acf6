// SPDX-License-Identifier: Apache-2.0
// CONNECT apart from its properties: header, name, level, flags, fields, sizes.
#include "bytes.h"
#include "strings.h"

namespace limpet::mqtt::test {
namespace {

Buffer raw(std::initializer_list<int> bytes) {
    Buffer out;
    for (const int byte : bytes) out.push_back(static_cast<std::uint8_t>(byte));
    return out;
}

TEST(ConnectValid, a_literal_packet_of_each_version_is_read_field_by_field) {
    Connect want;
    want.version = Version::v31;
    want.keep_alive = 60;
    want.client_id = "id";
    EXPECT_TRUE(
        expect_valid(raw({0x10, 0x10, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 60, 0, 2, 'i', 'd'}),
                     "3.1") == want);
    want.version = Version::v311;
    EXPECT_TRUE(expect_valid(raw({0x10, 0x0E, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 2, 'i', 'd'}),
                             "3.1.1") == want);
    want.version = Version::v5;
    EXPECT_TRUE(expect_valid(raw({0x10, 0x0F, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 2, 'i', 'd'}),
                             "5") == want);
}

TEST(ConnectValid, a_literal_packet_with_everything_is_read_field_by_field) {
    const Buffer bytes = raw({0x10, 0x2B, 0, 4,    'M', 'Q', 'T', 'T', 5,    0xF4, 1,   0, 5,   0x11, 0,
                              0,    0,    9, 0,    2,   'i', 'd', 5,   0x18, 0,    0,   0, 7,   0,    1,
                              't',  0,    2, 0xFF, 0,   0,   1,   'u', 0,    4,    'p', 0, 's', 0xFE});
    Connect want;
    want.version = Version::v5;
    want.clean_start = false;
    want.keep_alive = 256;
    want.client_id = "id";
    want.properties.session_expiry_interval = 9;
    want.will = Will{.topic = "t", .payload = {0xFF, 0}, .qos = 2, .retain = true, .properties = {}};
    want.will->properties.will_delay_interval = 7;
    want.user_name = "u";
    want.password = Buffer{'p', 0, 's', 0xFE};
    Buffer right = bytes;
    right[1] = static_cast<std::uint8_t>(bytes.size() - 2);
    EXPECT_TRUE(expect_valid(right, "will of QoS 2 and retain, user name, binary password") == want);
}

TEST(ConnectValid, the_bytes_behind_the_packet_are_not_touched) {
    for (const Version version : versions) {
        const Buffer bytes = sketch(version).bytes();
        const Buffer more = bytes + raw({0x82, 0x06, 0, 1, 0, 1, 't', 0, 0x10, 0xFF, 0xFF, 0xFF, 0xFF});
        EXPECT_EQ(read_connect(more).consumed, bytes.size()) << "pipelining is legal, even of nonsense";
    }
}

TEST(ConnectValid, mosquitto_bridges_are_known_by_the_top_bit_of_the_level) {
    for (const Version version : {Version::v31, Version::v311}) {
        Sketch drawn = sketch(version);
        drawn.level = static_cast<std::uint8_t>(drawn.level | 0x80);
        const Connect bridge = expect_valid(drawn.bytes(), "bridge of " + version_name(version));
        EXPECT_TRUE(bridge.bridge);
        EXPECT_EQ(bridge.version, version);
    }
}

TEST(ConnectValid, long_and_odd_client_ids_are_kept_byte_for_byte) {
    for (const Version version : versions) {
        for (const std::size_t length :
             {1u, 23u, 24u, 32u, 33u, 126u, 127u, 128u, 255u, 256u, 16384u, 65535u}) {
            Sketch drawn = sketch(version);
            std::string id(length, 'x');
            id.back() = 'y';
            drawn.id = field(id);
            const auto parsed = read_connect(drawn.bytes());
            EXPECT_EQ(parsed.status, Status::complete) << length << parsed.detail;
            EXPECT_EQ(parsed.packet.client_id, id) << "no id is cut, however long: " << length;
        }
        for (const auto& [sentence, value] : good_strings) {
            Sketch drawn = sketch(version);
            drawn.id = field(value);
            EXPECT_EQ(expect_valid(drawn.bytes(), sentence).client_id, value);
        }
    }
}

TEST(ConnectValid, empty_fields_are_fields) {
    for (const Version version : versions) {
        Sketch drawn = sketch(version);
        drawn.flags = 0xC6;
        drawn.rest = field("t") + field("") + field("") + field("");
        if (version == Version::v5) drawn.rest = Buffer{0} + drawn.rest;
        const Connect read = expect_valid(drawn.bytes(), "empty will payload, user name and password");
        ASSERT_TRUE(read.will && read.user_name && read.password) << "empty is not absent";
        EXPECT_TRUE(read.will->payload.empty() && read.user_name->empty() && read.password->empty());
    }
}

TEST(ConnectValid, mqtt_3_1_may_announce_a_user_name_that_is_not_there) {
    Sketch drawn = sketch(Version::v31);
    drawn.flags = 0x82;
    EXPECT_FALSE(expect_valid(drawn.bytes(), "the remaining length takes precedence").user_name);
    drawn.flags = 0xC2;
    EXPECT_FALSE(expect_valid(drawn.bytes(), "neither user name nor password").password);
    drawn.rest = field("u");
    const Connect read = expect_valid(drawn.bytes(), "a user name, no password");
    EXPECT_EQ(read.user_name, "u");
    EXPECT_FALSE(read.password);
}

TEST(ConnectValid, a_remaining_length_in_more_bytes_than_needed_is_legal_before_mqtt_5) {
    for (const Version version : versions) {
        const Buffer body = sketch(version).body();
        const auto length = static_cast<std::uint8_t>(body.size());
        for (const Buffer& padded : {raw({0x10, length | 0x80, 0}), raw({0x10, length | 0x80, 0x80, 0}),
                                     raw({0x10, length | 0x80, 0x80, 0x80, 0})}) {
            if (version == Version::v5)
                expect_invalid(padded + body, LIMPET_REASON_CLOSE_MALFORMED, "MQTT-1.5.5-1",
                               padded.size() + 7);
            else
                expect_valid(padded + body, "3.x has no rule about it, and mosquitto takes it");
        }
    }
}

// ---- empty client id -------------------------------------------------------------------------------------

TEST(ConnectEmptyId, each_version_has_its_own_rule) {
    for (const Version version : versions) {
        for (const bool clean : {false, true}) {
            Sketch drawn = sketch(version);
            drawn.id = field("");
            drawn.flags = clean ? 0x02 : 0x00;
            const bool legal = version == Version::v5 || (version == Version::v311 && clean);
            const std::string sentence = version_name(version) + (clean ? ", clean" : ", not clean");
            if (legal) {
                EXPECT_EQ(expect_valid(drawn.bytes(), sentence).client_id, "");
            } else {
                expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_EMPTY_ID, sentence, at_the_end);
                EXPECT_EQ(read_connect(drawn.bytes()).version, version)
                    << "to be answered with return code 2";
            }
        }
    }
}

TEST(ConnectEmptyId, is_refused_before_the_rest_has_come) {
    Sketch drawn = sketch(Version::v311);
    drawn.flags = 0x80;
    drawn.id = field("");
    drawn.rest = field(std::string(5000, 'u'));
    expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_EMPTY_ID, "a long user name follows", 1 + 2 + 10 + 2);
}

// ---- fixed header ----------------------------------------------------------------------------------------

TEST(ConnectHeader, flags_are_free_in_3_1_and_reserved_later) {
    for (std::uint8_t flags = 1; flags < 16; ++flags) {
        for (const Version version : versions) {
            Sketch drawn = sketch(version);
            drawn.first_byte = static_cast<std::uint8_t>(0x10 | flags);
            const std::string sentence = version_name(version) + ", first byte 1" + std::to_string(flags);
            if (version == Version::v31)
                expect_valid(drawn.bytes(), sentence);
            else
                expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, sentence, 4);
        }
    }
}

TEST(ConnectHeader, a_remaining_length_is_malformed_with_its_fifth_byte_and_not_before) {
    for (const Buffer& bytes : {raw({0x10}), raw({0x10, 0x80}), raw({0x10, 0xFF, 0xFF}),
                                raw({0x10, 0x80, 0x80, 0x80}), raw({0x10, 0xFF, 0xFF, 0xFF, 0x7F})})
        EXPECT_EQ(read_connect(bytes).status, Status::incomplete) << "cut right behind a byte of it";
    expect_invalid(raw({0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}), LIMPET_REASON_CLOSE_MALFORMED,
                   "the fourth byte announces a fifth", 5);
    expect_invalid(raw({0x10, 0x80, 0x80, 0x80, 0x80, 0x00}), LIMPET_REASON_CLOSE_MALFORMED,
                   "a padded one with five bytes", 5);
}

TEST(ConnectHeader, a_remaining_length_too_short_for_any_connect_is_known_at_once) {
    for (std::uint8_t length = 0; length < 12; ++length) {
        if (length == 3) continue;  // with 0x16 before it this is TLS; with 0x10 it is tested below
        expect_invalid(raw({0x10, length}) + Buffer(length, 0), LIMPET_REASON_CLOSE_MALFORMED,
                       "remaining length " + std::to_string(length), 2);
    }
    expect_invalid(raw({0x10, 3, 0, 4, 'M'}), LIMPET_REASON_CLOSE_MALFORMED, "remaining length 3", 2);
    EXPECT_EQ(read_connect(raw({0x10, 12})).status, Status::incomplete) << "3.1.1 with an empty id has 12";
}

TEST(ConnectHeader, a_remaining_length_too_short_for_its_version_is_known_with_the_name_or_level) {
    expect_invalid(raw({0x10, 13, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 0, 0}),
                   LIMPET_REASON_CLOSE_MALFORMED, "3.1 has at least 14", 4);
    expect_invalid(raw({0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0}), LIMPET_REASON_CLOSE_MALFORMED,
                   "5 has at least 13", 9);
}

// ---- name and level --------------------------------------------------------------------------------------

struct WrongName {
    std::string_view sentence;
    std::string_view name;
    std::size_t decided;  ///< bytes of the packet, whose fixed header has two
};

TEST(ConnectVersion, a_name_is_compared_byte_for_byte) {
    constexpr WrongName rows[] = {
        {"small letters", "mqtt"sv, 5},
        {"one small letter", "MQTt"sv, 8},
        {"3.1 in capitals", "MQISDP"sv, 8},
        {"3.1 in small letters", "mqisdp"sv, 5},
        {"empty", ""sv, 4},
        {"cut", "MQT"sv, 4},
        {"one too many", "MQTTT"sv, 4},
        {"3.1 cut", "MQIsd"sv, 4},
        {"3.1 one too many", "MQIsdpp"sv, 4},
        {"six letters", "MQTTSN"sv, 7},
        {"NUL at its end", "MQT\0"sv, 8},
        {"longer than 255", "\0"sv, 3},
    };
    for (const WrongName& row : rows) {
        for (const Version numbered : versions) {
            Sketch drawn = sketch(Version::v311);
            drawn.name = field(row.name);
            if (row.decided == 3) drawn.name = {1, 4};
            drawn.level = static_cast<std::uint8_t>(numbered);
            drawn.id = field("a longer client identifier");
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_VERSION, row.sentence, row.decided);
            EXPECT_EQ(read_connect(drawn.bytes()).version, Version::v311) << "answered with return code 1";
        }
    }
}

TEST(ConnectVersion, a_wrong_name_under_reserved_flags_is_malformed) {
    Sketch drawn = sketch(Version::v31);
    drawn.first_byte = 0x12;
    drawn.name = field("MQIsdq");
    expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "neither 3.1 nor free of flags", 10);
}

TEST(ConnectVersion, name_and_level_belong_together) {
    for (const Version named : {Version::v31, Version::v311}) {
        for (unsigned level = 0; level < 0x100; ++level) {
            Sketch drawn = sketch(named);
            drawn.level = static_cast<std::uint8_t>(level);
            if (named == Version::v311 && level == 5) drawn.properties = {0};
            const bool legal = named == Version::v31 ? level == 3 || level == 0x83
                                                     : level == 4 || level == 0x84 || level == 5;
            const std::string sentence = version_name(named) + " with level " + std::to_string(level);
            if (legal) {
                expect_valid(drawn.bytes(), sentence);
                continue;
            }
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_VERSION, sentence, bytes_up_to_level(drawn));
            const Version words = named == Version::v31 ? Version::v31
                                  : (level & 0x7F) >= 5 ? Version::v5
                                                        : Version::v311;
            EXPECT_EQ(read_connect(drawn.bytes()).version, words) << sentence;
        }
    }
}

// ---- connect flags ---------------------------------------------------------------------------------------

/// The rules of 3.1.2 written once more, as plainly as can be.
std::string_view broken_flag_rule(std::uint8_t flags, Version version) {
    const bool reserved = flags & 1, will = flags & 4, retain = flags & 32, password = flags & 64,
               user = flags & 128;
    const int qos = flags >> 3 & 3;
    if (reserved && version != Version::v31) return "bit 0 is reserved";
    if (qos == 3) return "will QoS 3";
    if (!will && qos != 0) return "will QoS without will";
    if (!will && retain) return "will retain without will";
    if (password && !user && version != Version::v5) return "password without user name";
    return {};
}

TEST(ConnectFlags, all_256_are_judged_by_the_rules_of_each_version) {
    for (const Version version : versions) {
        for (unsigned value = 0; value < 0x100; ++value) {
            Sketch drawn = sketch(version);
            drawn.flags = static_cast<std::uint8_t>(value);
            if (value & 4) {
                if (version == Version::v5) drawn.rest = {0};
                drawn.rest = drawn.rest + field("will/topic") + field("gone");
            }
            if (value & 128) drawn.rest = drawn.rest + field("user");
            if (value & 64) drawn.rest = drawn.rest + field("pass");
            const std::string sentence = version_name(version) + " with flags " + std::to_string(value);
            if (const auto broken = broken_flag_rule(drawn.flags, version); !broken.empty()) {
                expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                               sentence + ": " + std::string(broken), bytes_up_to_level(drawn) + 1);
                EXPECT_EQ(read_connect(drawn.bytes()).version, version);
                continue;
            }
            const Connect read = expect_valid(drawn.bytes(), sentence);
            EXPECT_EQ(read.clean_start, (value & 2) != 0);
            EXPECT_EQ(read.will.has_value(), (value & 4) != 0);
            EXPECT_EQ(read.user_name, value & 128 ? std::optional<std::string>("user") : std::nullopt);
            EXPECT_EQ(read.password.has_value(), (value & 64) != 0);
            if (read.will) {
                EXPECT_EQ(read.will->qos, value >> 3 & 3);
                EXPECT_EQ(read.will->retain, (value & 32) != 0);
                EXPECT_EQ(read.will->topic, "will/topic");
            }
        }
    }
}

TEST(ConnectFlags, a_remaining_length_too_short_for_the_flags_is_known_with_them) {
    for (const Version version : versions) {
        for (unsigned value : {0x06u, 0x82u, 0xC2u, 0xC6u}) {
            if (version == Version::v31 && (value & 4) == 0) continue;  // may leave both out
            Sketch drawn = sketch(version);
            drawn.flags = static_cast<std::uint8_t>(value);
            drawn.id = field("");
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                           version_name(version) + ": no room for what the flags announce",
                           bytes_up_to_level(drawn) + 1);
        }
    }
}

// ---- fields ----------------------------------------------------------------------------------------------

Sketch with_everything(Version version) {
    Sketch drawn = sketch(version);
    drawn.flags = 0xC6;
    drawn.rest = field("topic") + field("payload") + field("user") + field("password");
    if (version == Version::v5) drawn.rest = Buffer{0} + drawn.rest;
    return drawn;
}

TEST(ConnectFields, the_packet_is_consumed_exactly) {
    for (const Version version : versions) {
        for (const std::size_t more : {1u, 2u, 7u, 200u}) {
            Sketch drawn = with_everything(version);
            drawn.rest = drawn.rest + Buffer(more, 0);
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "bytes behind the password");
            drawn = sketch(version);
            drawn.rest = Buffer(more, 'x');
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "bytes behind the client id",
                           drawn.bytes().size() - more - 2);  // known from its length
        }
    }
}

TEST(ConnectFields, every_shorter_body_is_malformed) {
    for (const Version version : versions) {
        const Buffer body = with_everything(version).body();
        for (std::size_t length = 0; length < body.size(); ++length) {
            const Buffer shorter(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(length));
            // 3.1 may end before the user name or the password.
            const bool legal =
                version == Version::v31 && (body.size() - length == 16 || body.size() - length == 10);
            const std::string sentence = version_name(version) + " cut to " + std::to_string(length);
            if (legal)
                expect_valid(packet(0x10, shorter), sentence);
            else
                expect_invalid(packet(0x10, shorter), LIMPET_REASON_CLOSE_MALFORMED, sentence);
        }
    }
}

TEST(ConnectFields, a_field_that_reaches_beyond_the_packet_is_known_from_its_length) {
    for (const Version version : versions) {
        Sketch drawn = sketch(version);
        drawn.id = number16(3) + text("id");
        expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "client id one byte too long",
                       drawn.bytes().size() - 2);
        drawn = sketch(version);
        drawn.flags = 0x82;
        drawn.rest = number16(65535) + text("u");
        expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "user name far too long",
                       drawn.bytes().size() - 1);
        drawn = sketch(version);
        drawn.flags = 0x06;
        drawn.rest = field("t") + number16(2) + text("p");
        if (version == Version::v5) drawn.rest = Buffer{0} + drawn.rest;
        expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED, "will payload one byte too long",
                       drawn.bytes().size() - 1);
        drawn.rest = number16(2) + text("t") + field("");
        if (version == Version::v5) drawn.rest = Buffer{0} + drawn.rest;
        expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                       "will topic that eats the payload's length");
    }
}

TEST(ConnectFields, text_is_utf8_wherever_mqtt_says_so) {
    for (const Version version : versions) {
        for (const auto& [sentence, value] : bad_strings) {
            Sketch drawn = sketch(version);
            drawn.id = field(value);
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                           "client id: " + std::string(sentence), at_the_end);
            drawn = with_everything(version);
            const Buffer properties = version == Version::v5 ? Buffer{0} : Buffer{};
            drawn.rest = properties + field(value) + field("payload") + field("user") + field("password");
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                           "will topic: " + std::string(sentence), at_the_end);
            drawn.rest = properties + field("topic") + field("payload") + field(value) + field("password");
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                           "user name: " + std::string(sentence), at_the_end);
            drawn.rest = properties + field("topic") + field(value) + field("user") + field(value);
            const Connect read = expect_valid(drawn.bytes(), "will payload and password are bytes");
            EXPECT_EQ(read.password, text(value)) << sentence;
            EXPECT_EQ(read.will->payload, text(value)) << sentence;
        }
    }
}

TEST(ConnectFields, a_will_topic_is_a_topic_name) {
    for (const Version version : versions) {
        for (const auto topic : {""sv, "#"sv, "+"sv, "a/#"sv, "a/+/b"sv, "a#b"sv}) {
            Sketch drawn = sketch(version);
            drawn.flags = 0x06;
            drawn.rest = field(topic) + field("gone");
            if (version == Version::v5) drawn.rest = Buffer{0} + drawn.rest;
            expect_invalid(drawn.bytes(), LIMPET_REASON_CLOSE_MALFORMED,
                           "will topic '" + std::string(topic) + "'", at_the_end);
        }
    }
}

// ---- sizes -----------------------------------------------------------------------------------------------

TEST(ConnectSize, the_maximum_counts_the_whole_packet_and_is_inclusive) {
    for (const Version version : versions) {
        const Buffer bytes = sketch(version).bytes();
        EXPECT_EQ(parse_connect(bytes, bytes.size()).status, Status::complete);
        const auto refused = parse_connect(bytes, bytes.size() - 1);
        EXPECT_EQ(refused.status, Status::invalid);
        EXPECT_EQ(refused.reason, LIMPET_REASON_CLOSE_TOO_LARGE);
        EXPECT_EQ(refused.version, version);
    }
}

TEST(ConnectSize, a_packet_above_the_maximum_is_refused_with_its_level_in_its_own_words) {
    for (const Version version : versions) {
        Sketch drawn = sketch(version);
        const Buffer head = Buffer{0x10, 0xFF, 0xFF, 0xFF, 0x7F} + drawn.name + Buffer{drawn.level};
        const auto parse = [](Bytes bytes) { return parse_connect(bytes, 65536); };
        EXPECT_EQ(decided_after(head, parse), head.size()) << "the level is waited for, nothing else";
        EXPECT_EQ(parse(head).reason, LIMPET_REASON_CLOSE_TOO_LARGE);
        EXPECT_EQ(parse(head).version, version);
    }
}

TEST(ConnectSize, sixty_four_kib_and_more_are_read_whole) {
    for (const Version version : versions) {
        Sketch drawn = sketch(version);
        drawn.flags = 0xC6;
        const std::string big(65535, 'b');
        drawn.rest = field("t") + field(big) + field(big) + field(big);
        if (version == Version::v5) drawn.rest = Buffer{0} + drawn.rest;
        const Buffer bytes = drawn.bytes();
        const auto parsed = read_connect(bytes);
        ASSERT_EQ(parsed.status, Status::complete) << parsed.detail;
        EXPECT_EQ(parsed.consumed, bytes.size());
        EXPECT_EQ(parsed.packet.user_name, big);
        EXPECT_EQ(write_connect(parsed.packet), bytes);
        EXPECT_EQ(read_connect(Bytes(bytes).first(bytes.size() - 1)).status, Status::incomplete);
    }
}

TEST(ConnectSize, the_version_of_an_incomplete_packet_is_known_from_the_level_on) {
    for (const Version version : versions) {
        const Sketch drawn = sketch(version);
        const Buffer bytes = drawn.bytes();
        const std::size_t level = bytes_up_to_level(drawn);
        EXPECT_EQ(read_connect(Bytes(bytes).first(level - 1)).version, std::nullopt);
        EXPECT_EQ(read_connect(Bytes(bytes).first(level)).version, version);
    }
}

}  // namespace
}  // namespace limpet::mqtt::test
