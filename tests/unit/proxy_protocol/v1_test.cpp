// SPDX-License-Identifier: Apache-2.0
#include "judged.h"

namespace limpet::proxy_protocol::test {
namespace {

using namespace std::string_view_literals;

TEST(V1Line, says_who_is_there) {
    const Header header = expect_valid(text("PROXY TCP4 192.0.2.1 198.51.100.7 50000 1883\r\n"));
    EXPECT_EQ(header.version, Version::v1);
    EXPECT_EQ(header.command, Command::proxy);
    EXPECT_EQ(header.transport, Transport::stream);
    EXPECT_EQ(header.addresses, (Addresses{endpoint("192.0.2.1:50000"), endpoint("198.51.100.7:1883")}));
}

TEST(V1Line, takes_every_form_that_the_text_allows) {
    for (const auto line : {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"sv,
                            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"sv, "PROXY TCP6 ::1 2001:DB8::A 1 2\r\n"sv,
                            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"sv})
        EXPECT_TRUE(expect_valid(text(line)).addresses) << line;
}

TEST(V1Line, unknown_is_accepted_and_the_rest_of_it_ignored) {
    for (const auto line :
         {"PROXY UNKNOWN\r\n"sv, "PROXY UNKNOWN \r\n"sv, "PROXY UNKNOWN what ever \r \xFF\r\n"sv,
          "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "65535 "
          "65535\r\n"sv}) {
        const Header header = expect_valid(text(line));
        EXPECT_EQ(header.transport, Transport::unspecified);
        EXPECT_EQ(header.addresses, std::nullopt) << line;
    }
}

TEST(V1Line, ends_within_107_bytes_or_never) {
    const Buffer longest = text("PROXY UNKNOWN ") + Buffer(107 - 14 - 2, 'x') + text("\r\n");
    ASSERT_EQ(longest.size(), 107U);
    expect_valid(longest);
    expect_invalid(text("PROXY UNKNOWN ") + Buffer(107 - 14 - 1, 'x') + text("\r\n"), Fault::v1_line_too_long,
                   107);
    expect_invalid(text("PROXY ") + Buffer(2000, 'T'), Fault::v1_line_too_long, 107);
}

TEST(V1Line, must_match_exactly) {
    struct Row {
        std::string_view line;
        Fault fault;
    };
    for (const Row& row : {
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000 1883\n"sv, Fault::v1_line_ending},
             Row{"PROXY \n"sv, Fault::v1_line_ending},
             Row{"PROXY \r\n"sv, Fault::v1_protocol},
             Row{"PROXY TCP5 192.0.2.1 198.51.100.7 50000 1883\r\n"sv, Fault::v1_protocol},
             Row{"PROXY tcp4 192.0.2.1 198.51.100.7 50000 1883\r\n"sv, Fault::v1_protocol},
             Row{"PROXY UDP4 192.0.2.1 198.51.100.7 50000 1883\r\n"sv, Fault::v1_protocol},
             Row{"PROXY UNKNOWNX\r\n"sv, Fault::v1_protocol},
             Row{"PROXY  TCP4 192.0.2.1 198.51.100.7 50000 1883\r\n"sv, Fault::v1_protocol},
             Row{"PROXY TCP4\r\n"sv, Fault::v1_fields},
             Row{"PROXY TCP4 \r\n"sv, Fault::v1_fields},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000\r\n"sv, Fault::v1_fields},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000 1883 1\r\n"sv, Fault::v1_fields},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000 1883 \r\n"sv, Fault::v1_fields},
             Row{"PROXY TCP4 192.0.2.1  198.51.100.7 50000 1883\r\n"sv, Fault::v1_fields},
             Row{"PROXY TCP4 192.0.2.1  50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP4 192.0.2.256 198.51.100.7 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP4 192.0.02.1 198.51.100.7 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP4 192.0.2 198.51.100.7 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP4 192.0.2.1\0 198.51.100.7 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP4 ::1 ::1 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP6 192.0.2.1 198.51.100.7 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP6 ::1 fe80::1%eth0 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP6 ::1 1::2::3 50000 1883\r\n"sv, Fault::v1_address},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 050000 1883\r\n"sv, Fault::v1_port},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 65536 1883\r\n"sv, Fault::v1_port},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000 \r\n"sv, Fault::v1_port},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000 -1\r\n"sv, Fault::v1_port},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 50000 1883\r\r\n"sv, Fault::v1_port},
             Row{"PROXY TCP4 192.0.2.1 198.51.100.7 00 1883\r\n"sv, Fault::v1_port},
         })
        expect_invalid(text(row.line), row.fault);
}

TEST(FirstBytes, name_what_is_no_header_at_once) {
    expect_invalid({0x10, 0x0C}, Fault::not_proxy_protocol, 1);
    expect_invalid({0x16, 0x03, 0x01}, Fault::not_proxy_protocol, 1);
    expect_invalid(text("GET / HTTP/1.1\r\n"), Fault::not_proxy_protocol, 1);
    expect_invalid(text("POST / HTTP/1.1\r\n"), Fault::not_proxy_protocol, 2);
    expect_invalid(text("PROXYTCP4"), Fault::not_proxy_protocol, 6);
    expect_invalid(text("\r\n\r\nGET"), Fault::not_proxy_protocol, 5);
    expect_invalid(from_hex("0d0a0d0a000d0a515549540d20"), Fault::not_proxy_protocol, 12);
    EXPECT_EQ(parse_header({}).status, Status::incomplete);
}

TEST(FirstBytes, a_version_may_be_declined) {
    const Buffer line = text("PROXY UNKNOWN\r\n");
    const Buffer binary = v2(0x21, 0x11, ends4);
    const Accept only_v1{.v1 = true, .v2 = false, .maximum_size = 4096};
    const Accept only_v2{.v1 = false, .v2 = true, .maximum_size = 4096};
    expect_valid(line, only_v1);
    expect_valid(binary, only_v2);
    expect_invalid(binary, Fault::version_not_accepted, 12, only_v1);
    expect_invalid(line, Fault::version_not_accepted, 6, only_v2);
}

}  // namespace
}  // namespace limpet::proxy_protocol::test
