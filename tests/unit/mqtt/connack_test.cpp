// SPDX-License-Identifier: Apache-2.0
// CONNACK, the frame of any packet, and the refusals of our own.
#include <algorithm>

#include "bytes.h"

namespace limpet::mqtt::test {
namespace {

auto reader(Version version) {
    return [version](Bytes bytes) { return parse_connack(bytes, version); };
}

Connack expect_connack(const Buffer& bytes, Version version, std::string_view sentence) {
    SCOPED_TRACE(std::string(sentence) + ": " + hex(bytes));
    EXPECT_EQ(decided_after(bytes, reader(version)), bytes.size()) << "a prefix is incomplete";
    const auto parsed = parse_connack(bytes, version);
    EXPECT_EQ(parsed.status, Status::complete) << parsed.detail;
    EXPECT_EQ(parsed.consumed, bytes.size());
    EXPECT_TRUE(parse_connack(write_connack(parsed.packet, version), version).packet == parsed.packet);
    return parsed.packet;
}

void expect_no_connack(const Buffer& bytes, Version version, std::string_view sentence, std::size_t decided) {
    SCOPED_TRACE(std::string(sentence) + ": " + hex(bytes));
    EXPECT_EQ(decided_after(bytes, reader(version)), decided) << "judged as soon as it can be";
    const auto parsed = parse_connack(bytes, version);
    EXPECT_EQ(parsed.status, Status::invalid);
    EXPECT_EQ(parsed.reason, LIMPET_REASON_BROKER_PROTOCOL);
    EXPECT_FALSE(parsed.detail.empty());
    EXPECT_TRUE(parsed.packet == Connack{});
}

TEST(ConnackValid, literal_packets_of_each_version) {
    EXPECT_TRUE(expect_connack({0x20, 2, 0, 0}, Version::v31, "accepted") == Connack{});
    EXPECT_TRUE(expect_connack({0x20, 2, 0, 0}, Version::v311, "accepted") == Connack{});
    EXPECT_TRUE(expect_connack({0x20, 3, 0, 0, 0}, Version::v5, "accepted") == Connack{});
    EXPECT_TRUE(expect_connack({0x20, 2, 1, 0}, Version::v311, "a session is present").session_present);
    EXPECT_TRUE(expect_connack({0x20, 3, 1, 0, 0}, Version::v5, "a session is present").session_present);
    const Connack assigned =
        expect_connack({0x20, 16, 0, 0, 13, 0x12, 0, 4, 'a', 'u', 't', 'o', 0x13, 0, 30, 0x22, 0, 10},
                       Version::v5, "an assigned id and a keep-alive");
    EXPECT_EQ(assigned.properties.assigned_client_identifier, "auto");
    EXPECT_EQ(assigned.properties.server_keep_alive, 30);
    const Connack moved =
        expect_connack({0x20, 8, 0, 0x9D, 5, 0x1C, 0, 2, 'h', ':'}, Version::v5, "server moved");
    EXPECT_EQ(moved.code, 0x9D);
    EXPECT_EQ(moved.properties.server_reference, "h:");
}

TEST(ConnackValid, what_real_brokers_send_is_read) {
    EXPECT_EQ(expect_connack({0x20, 9, 0, 0, 6, 0x22, 0, 10, 0x21, 0, 20}, Version::v5, "mosquitto 2.0.11")
                  .properties.receive_maximum,
              20);
    EXPECT_EQ(expect_connack({0x20, 3, 0, 0x8C, 0}, Version::v5, "mosquitto, bad authentication method").code,
              0x8C);
}

TEST(ConnackValid, all_256_codes_are_judged_by_the_table_of_each_version) {
    constexpr std::uint8_t five[] = {0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
                                     0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F};
    for (unsigned value = 0; value < 0x100; ++value) {
        const auto code = static_cast<std::uint8_t>(value);
        const std::string sentence = "code " + std::to_string(value);
        for (const Version version : {Version::v31, Version::v311}) {
            if (value <= 5)
                EXPECT_EQ(expect_connack({0x20, 2, 0, code}, version, sentence).code, code);
            else
                expect_no_connack({0x20, 2, 0, code}, version, sentence, 4);
        }
        if (std::ranges::find(five, code) != std::end(five))
            EXPECT_EQ(expect_connack({0x20, 3, 0, code, 0}, Version::v5, sentence).code, code);
        else
            expect_no_connack({0x20, 3, 0, code, 0}, Version::v5, sentence, 4);
    }
}

TEST(ConnackValid, an_old_broker_refuses_mqtt_5_in_the_words_of_3_1_1) {
    EXPECT_EQ(expect_connack({0x20, 2, 0, 1}, Version::v5, "unacceptable protocol version").code, 1);
    expect_no_connack({0x20, 2, 0, 0}, Version::v5, "it cannot accept in them", 4);
    expect_no_connack({0x20, 2, 0, 0x88}, Version::v5, "a reason code wants properties behind it", 4);
    expect_no_connack({0x20, 3, 0, 1, 0}, Version::v5, "a return code wants none", 4);
}

TEST(ConnackValid, mqtt_3_1_reserves_the_first_byte_and_the_header_flags) {
    EXPECT_FALSE(expect_connack({0x20, 2, 1, 0}, Version::v31, "3.1 has no session present").session_present);
    expect_connack({0x2F, 2, 0xFF, 5}, Version::v31, "whatever they are");
}

TEST(ConnackInvalid, other_packets_and_wrong_lengths) {
    for (const Version version : versions) {
        const std::string name = version_name(version);
        for (unsigned first = 0; first < 0x100; ++first) {
            if (first == 0x20 || (version == Version::v31 && first >> 4 == 2)) continue;
            expect_no_connack({static_cast<std::uint8_t>(first), 2, 0, 0}, version, name + ": first byte", 1);
        }
        expect_no_connack({0x20, 0}, version, name + ": empty", 2);
        expect_no_connack({0x20, 1, 0}, version, name + ": no code", 2);
        expect_no_connack({0x20, 0x80, 0x80, 0x80, 0x80}, version, name + ": remaining length of five bytes",
                          5);
        if (version != Version::v5) {
            expect_no_connack({0x20, 3, 0, 0, 0}, version, name + ": one byte too many", 2);
            expect_connack({0x20, 0x82, 0, 0, 0}, version, name + ": a padded remaining length");
        }
    }
    expect_no_connack({0x20, 0x83, 0, 0, 0, 0}, Version::v5, "a padded remaining length", 3);
}

TEST(ConnackInvalid, flags_and_session_present) {
    for (const Version version : {Version::v311, Version::v5}) {
        const auto length = static_cast<std::uint8_t>(version == Version::v5 ? 3 : 2);
        for (unsigned flags = 2; flags < 0x100; ++flags)
            expect_no_connack(Buffer{0x20, length, static_cast<std::uint8_t>(flags), 0, 0}, version,
                              "reserved acknowledge flags (MQTT-3.2.2-1)", 3);
        const auto code = static_cast<std::uint8_t>(version == Version::v5 ? 0x88 : 3);
        Buffer refusal{0x20, length, 1, code};
        if (version == Version::v5) refusal.push_back(0);
        expect_no_connack(refusal, version, "session present in a refusal (MQTT-3.2.2-4)", 4);
    }
}

TEST(ConnackInvalid, a_property_length_that_does_not_fit) {
    expect_no_connack({0x20, 3, 0, 0, 1}, Version::v5, "more than there is", 5);
    expect_no_connack({0x20, 4, 0, 0, 0, 0}, Version::v5, "less than there is", 5);
    expect_no_connack({0x20, 3, 0, 0, 0x80}, Version::v5, "cut by the end of the packet", 5);
    expect_no_connack({0x20, 4, 0, 0, 0x80, 0}, Version::v5, "not in the fewest bytes", 6);
    expect_no_connack({0x20, 8, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0}, Version::v5, "of five bytes", 8);
}

TEST(ConnackInvalid, bytes_behind_the_packet_are_not_touched) {
    EXPECT_EQ(parse_connack(Buffer{0x20, 2, 0, 0, 0x30, 0xFF}, Version::v311).consumed, 4u);
    EXPECT_EQ(parse_connack(Buffer{0x20, 3, 0, 0, 0, 0x30, 0xFF}, Version::v5).consumed, 5u);
}

// ---- frames ----------------------------------------------------------------------------------------------

TEST(FrameOf, type_and_length_are_known_with_the_fixed_header) {
    struct Row {
        Buffer header;
        std::size_t length;
    };
    for (const Row& row :
         {Row{{0xF0, 0x00}, 2}, Row{{0xF0, 0x7F}, 129}, Row{{0xF0, 0x80, 0x01}, 131},
          Row{{0xF0, 0xFF, 0x7F}, 16386}, Row{{0xF0, 0x80, 0x80, 0x01}, 16388},
          Row{{0xF0, 0xFF, 0xFF, 0x7F}, 2097155}, Row{{0xF0, 0x80, 0x80, 0x80, 0x01}, 2097157},
          Row{{0xF0, 0xFF, 0xFF, 0xFF, 0x7F}, 268435460}, Row{{0xF0, 0x82, 0x00}, 5}}) {
        for (std::size_t have = 0; have < row.header.size(); ++have)
            EXPECT_EQ(parse_frame(Bytes(row.header).first(have)).status, Status::incomplete)
                << hex(row.header);
        const Frame frame = parse_frame(row.header + Buffer{0xFF});
        EXPECT_EQ(frame.status, Status::complete)
            << "never looks behind the fixed header: " << hex(row.header);
        EXPECT_EQ(frame.type, 15);
        EXPECT_EQ(frame.length, row.length);
    }
}

TEST(FrameOf, a_fifth_length_byte_and_type_0_are_invalid) {
    EXPECT_EQ(parse_frame(Buffer{0xF0, 0xFF, 0xFF, 0xFF, 0xFF}).status, Status::invalid);
    EXPECT_EQ(parse_frame(Buffer{0x00}).status, Status::invalid);
    EXPECT_EQ(parse_frame(Buffer{0x0F, 0x00}).status, Status::invalid);
}

// ---- refusals --------------------------------------------------------------------------------------------

TEST(RefusalOf, each_is_written_in_the_words_of_its_version) {
    struct Row {
        Refusal refusal;
        Buffer three;
        Buffer five;
    };
    const Row rows[] = {
        {Refusal::server_unavailable, {0x20, 2, 0, 3}, {0x20, 3, 0, 0x88, 0}},
        {Refusal::server_busy, {0x20, 2, 0, 3}, {0x20, 3, 0, 0x89, 0}},
        {Refusal::quota_exceeded, {0x20, 2, 0, 3}, {0x20, 3, 0, 0x97, 0}},
        {Refusal::rate_exceeded, {0x20, 2, 0, 3}, {0x20, 3, 0, 0x9F, 0}},
        {Refusal::use_another_server, {0x20, 2, 0, 3}, {0x20, 3, 0, 0x9C, 0}},
        {Refusal::malformed, {}, {0x20, 3, 0, 0x81, 0}},
        {Refusal::unsupported_version, {0x20, 2, 0, 1}, {0x20, 3, 0, 0x84, 0}},
        {Refusal::client_id_rejected, {0x20, 2, 0, 2}, {0x20, 3, 0, 0x85, 0}},
        {Refusal::packet_too_large, {}, {0x20, 3, 0, 0x95, 0}},
        {Refusal::not_authorized, {0x20, 2, 0, 5}, {0x20, 3, 0, 0x87, 0}},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(write_refusal(row.refusal, Version::v31), row.three);
        EXPECT_EQ(write_refusal(row.refusal, Version::v311), row.three);
        EXPECT_EQ(write_refusal(row.refusal, Version::v5), row.five);
        for (const Version version : versions) {
            const Buffer bytes = write_refusal(row.refusal, version);
            if (bytes.empty()) continue;
            EXPECT_FALSE(expect_connack(bytes, version, "a refusal is a CONNACK").session_present);
        }
    }
}

}  // namespace
}  // namespace limpet::mqtt::test
