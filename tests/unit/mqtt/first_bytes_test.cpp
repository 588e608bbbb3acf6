// SPDX-License-Identifier: Apache-2.0
#include "bytes.h"
#include "strings.h"

namespace limpet::mqtt::test {
namespace {

struct Stranger {
    std::string_view sentence;
    std::string_view bytes;
    Reason reason;
    std::size_t named_after;  ///< bytes
};

constexpr Stranger strangers[] = {
    {"a TLS 1.2 or 1.3 ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"sv,
     LIMPET_REASON_CLOSE_TLS, 2},
    {"an SSL 3.0 ClientHello", "\x16\x03\x00\x00\x2f\x01"sv, LIMPET_REASON_CLOSE_TLS, 2},
    {"GET", "GET / HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 3},
    {"POST", "POST /x HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 4},
    {"PUT", "PUT /x HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 3},
    {"HEAD", "HEAD / HTTP/1.0\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 4},
    {"OPTIONS", "OPTIONS * HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 7},
    {"DELETE", "DELETE /x HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 6},
    {"CONNECT of HTTP", "CONNECT a:443 HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 7},
    {"PATCH", "PATCH /x HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 5},
    {"TRACE", "TRACE / HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 5},
    {"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"sv, LIMPET_REASON_CLOSE_HTTP, 3},
    {"PROXY v1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 1883\r\n"sv, LIMPET_REASON_CLOSE_PROXY_V1, 5},
    {"PROXY v1 of an unknown client", "PROXY UNKNOWN\r\n"sv, LIMPET_REASON_CLOSE_PROXY_V1, 5},
    {"PROXY v2", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"sv, LIMPET_REASON_CLOSE_PROXY_V2, 8},
    {"SSH", "SSH-2.0-OpenSSH_9.2\r\n"sv, LIMPET_REASON_CLOSE_SSH, 4},
    {"SMTP EHLO", "EHLO example.org\r\n"sv, LIMPET_REASON_CLOSE_SMTP, 4},
    {"SMTP HELO", "HELO example.org\r\n"sv, LIMPET_REASON_CLOSE_SMTP, 4},
    {"SMTP in small letters", "ehlo example.org\r\n"sv, LIMPET_REASON_CLOSE_SMTP, 4},
    {"HTTP methods have no small letters", "get / HTTP/1.1\r\n"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"begins like POST, goes on otherwise", "POX"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 3},
    {"begins like PROXY, goes on otherwise", "PROXX"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 5},
    {"two empty lines of somebody's telnet", "\r\n\r\nhello"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 5},
    {"text", "hello\r\n"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 4},
    {"a zero byte", "\0\0\0\0"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"all ones", "\xff\xff"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"CONNACK first", "\x20\x02\0\0"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"PUBLISH first", "\x30\x05\0\x01ta"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"PUBREC first, which is also a P", "\x50\x02\0\x01"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 2},
    {"SUBSCRIBE first", "\x82\x06\0\x01\0\x01t\0"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"PINGREQ first", "\xc0\0"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"DISCONNECT first", "\xe0\0"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"AUTH first", "\xf0\0"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"a PostgreSQL client", "\0\0\0\x08\x04\xd2\x16\x2f"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
    {"an AMQP client", "AMQP\0\0\x09\x01"sv, LIMPET_REASON_CLOSE_NOT_MQTT, 1},
};

TEST(FirstBytes, strangers_are_named_as_early_as_they_can_be) {
    for (const Stranger& stranger : strangers) {
        expect_invalid(text(stranger.bytes), stranger.reason, stranger.sentence, stranger.named_after);
        EXPECT_EQ(read_connect(text(stranger.bytes)).version, std::nullopt)
            << stranger.sentence << ": nobody who does not speak MQTT is answered in it";
    }
}

TEST(FirstBytes, another_packet_in_place_of_connect_is_called_by_its_name) {
    EXPECT_EQ(read_connect(Buffer{0x30, 0x00}).detail, "PUBLISH before CONNECT (MQTT-3.1.0-1)");
    EXPECT_EQ(read_connect(Buffer{0x82, 0x00}).detail, "SUBSCRIBE before CONNECT (MQTT-3.1.0-1)");
    EXPECT_EQ(read_connect(Buffer{0x36, 0x00}).detail, "first byte 0x36: no MQTT packet")
        << "a PUBLISH of QoS 3 is none";
    EXPECT_EQ(read_connect(Buffer{0x80, 0x00}).detail, "first byte 0x80: no MQTT packet")
        << "flags that no SUBSCRIBE has";
}

TEST(FirstBytes, whatever_comes_first_is_judged_within_eight_bytes_or_is_a_connect) {
    for (unsigned first = 0; first < 0x100; ++first) {
        if (first >> 4 == 1) continue;
        for (unsigned second = 0; second < 0x100; ++second) {
            Buffer bytes{static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(second)};
            bytes.resize(8, 0);
            ASSERT_EQ(read_connect(bytes).status, Status::invalid) << first << ' ' << second;
        }
    }
}

TEST(FirstBytes, only_a_first_byte_that_may_be_something_by_name_is_waited_for) {
    for (unsigned first = 0; first < 0x100; ++first) {
        const bool named =
            std::string_view("GPHODCTSEeh\r").find(static_cast<char>(first)) != std::string_view::npos;
        const bool connect = first >> 4 == 1;
        const Buffer bytes{static_cast<std::uint8_t>(first)};
        EXPECT_EQ(read_connect(bytes).status, named || connect ? Status::incomplete : Status::invalid)
            << first;
    }
}

TEST(FirstBytes, nothing_is_incomplete) {
    EXPECT_EQ(read_connect({}).status, Status::incomplete);
    EXPECT_EQ(parse_connack({}, Version::v5).status, Status::incomplete);
    EXPECT_EQ(parse_frame({}).status, Status::incomplete);
}

TEST(FirstBytes, a_tls_record_and_a_connect_of_3_1_with_the_same_first_byte_are_told_apart) {
    Sketch drawn = sketch(Version::v31);
    drawn.first_byte = 0x16;
    expect_valid(drawn.bytes(), "3.1 does not use the flags of the fixed header");
}

}  // namespace
}  // namespace limpet::mqtt::test
