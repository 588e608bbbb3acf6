// SPDX-License-Identifier: Apache-2.0
#include "judged.h"

namespace limpet::proxy_protocol::test {
namespace {

TEST(V2Header, says_who_is_there_in_both_families) {
    const Header ipv4 = expect_valid(v2(0x21, 0x11, ends4));
    EXPECT_EQ(ipv4.transport, Transport::stream);
    EXPECT_EQ(ipv4.addresses, (Addresses{endpoint("192.0.2.1:50000"), endpoint("198.51.100.7:1883")}));
    EXPECT_FALSE(ipv4.checksum);
    const Header ipv6 = expect_valid(v2(0x21, 0x21, ends6));
    EXPECT_EQ(ipv6.addresses, (Addresses{endpoint("[2001:db8::1]:50000"), endpoint("[2001:db8::2]:1883")}));
    EXPECT_EQ(expect_valid(v2(0x21, 0x12, ends4)).transport, Transport::datagram);
    EXPECT_EQ(expect_valid(v2(0x21, 0x22, ends6)).transport, Transport::datagram);
}

TEST(V2Header, says_the_paths_of_unix_sockets) {
    Buffer block = text("/run/a");
    block.resize(108);
    block = block + Buffer{0} + text("abstract");
    block.resize(216);
    for (const std::uint8_t family : Buffer{0x31, 0x32}) {
        const Header header = expect_valid(v2(0x21, family, block + tlv(0x01, text("mqtt"))));
        EXPECT_EQ(header.addresses, std::nullopt);
        EXPECT_EQ(header.paths, (UnixPaths{"/run/a", std::string("\0abstract", 9)}));
        EXPECT_EQ(header.alpn, "mqtt");
    }
    EXPECT_EQ(expect_valid(v2(0x21, 0x31, Buffer(216, 'x'))).paths->source, std::string(108, 'x'));
}

TEST(V2Header, of_local_and_unspecified_everything_is_skipped_unread) {
    const Buffer block = Buffer{0xFF, 0xFF, 0xFF, 0x03, 0x00, 0x04} + ends4;
    for (const std::uint8_t family : Buffer{0x00, 0x11, 0x21, 0x31, 0x44, 0xFF}) {
        const Header header = expect_valid(v2(0x20, family, block));
        EXPECT_EQ(header.command, Command::local);
        EXPECT_FALSE(header.addresses || header.paths || header.checksum);
    }
    for (const std::uint8_t family : Buffer{0x00, 0x01, 0x02, 0x10, 0x20, 0x30}) {
        const Header header = expect_valid(v2(0x21, family, block));
        EXPECT_EQ(header.command, Command::proxy);
        EXPECT_EQ(header.transport, Transport::unspecified);
        EXPECT_FALSE(header.addresses || header.paths || header.checksum);
    }
}

TEST(V2Header, version_command_and_family_are_judged_when_they_come) {
    for (unsigned byte = 0; byte < 0x100; ++byte) {
        const Buffer bytes = v2(static_cast<std::uint8_t>(byte), 0x11, ends4);
        if (byte >> 4 != 2)
            expect_invalid(bytes, Fault::v2_version, 13);
        else if ((byte & 15) > 1)
            expect_invalid(bytes, Fault::v2_command, 13);
        else
            expect_valid(bytes);
    }
    for (unsigned byte = 0; byte < 0x100; ++byte)
        if (byte >> 4 > 3 || (byte & 15) > 2)
            expect_invalid(v2(0x21, static_cast<std::uint8_t>(byte), Buffer(216)), Fault::v2_family, 14);
}

TEST(V2Header, the_length_must_hold_the_addresses_and_keep_to_the_maximum) {
    expect_invalid(v2(0x21, 0x11, Buffer(11)), Fault::v2_length, 16);
    expect_invalid(v2(0x21, 0x21, Buffer(35)), Fault::v2_length, 16);
    expect_invalid(v2(0x21, 0x31, Buffer(215)), Fault::v2_length, 16);
    const Accept small{.v1 = true, .v2 = true, .maximum_size = 31};
    expect_valid(v2(0x21, 0x11, ends4 + tlv(4, {})), small);
    expect_invalid(v2(0x21, 0x11, ends4 + tlv(4, {0})), Fault::v2_too_large, 16, small);
    expect_invalid(v2(0x20, 0x00, Buffer(16)), Fault::v2_too_large, 16, small);
    const Accept large{.v1 = true, .v2 = true, .maximum_size = 65'551};
    const Parsed largest = parse_header(v2(0x21, 0x11, ends4 + tlv(0xE0, Buffer(65'535 - 12 - 3))), large);
    EXPECT_EQ(largest.status, Status::complete);
    EXPECT_EQ(largest.consumed, 65'551U);
}

TEST(V2Header, vectors_of_unknown_types_are_kept_in_order_and_padding_is_not) {
    const Header header = expect_valid(v2(0x21, 0x11,
                                          ends4 + tlv(0xEA, text("vpce-1")) + tlv(0x04, Buffer(7)) +
                                              tlv(0xE0, {}) + tlv(0xEA, {1}) + tlv(0x04, {})));
    EXPECT_TRUE((header.others == std::vector<Tlv>{{0xEA, text("vpce-1")}, {0xE0, {}}, {0xEA, {1}}}));
}

TEST(V2Header, reads_every_known_vector) {
    const Buffer tls = Buffer{0x05, 0, 0, 0, 0x13} + tlv(0x21, text("TLSv1.2")) + tlv(0x22, text("cn")) +
                       tlv(0x2F, text("later")) + tlv(0x23, text("c")) + tlv(0x24, text("s")) +
                       tlv(0x25, text("k"));
    const Header header =
        expect_valid(v2(0x21, 0x11,
                        ends4 + tlv(0x01, text("mqtt")) + tlv(0x02, text("a.example")) +
                            tlv(0x05, Buffer(128, 7)) + tlv(0x20, tls) + tlv(0x30, text("ns"))));
    EXPECT_EQ(header.alpn, "mqtt");
    EXPECT_EQ(header.authority, "a.example");
    EXPECT_EQ(header.unique_id, Buffer(128, 7));
    EXPECT_EQ(header.network_namespace, "ns");
    EXPECT_EQ(header.tls, (Tls{5, 0x13, "TLSv1.2", "cn", "c", "s", "k"}));
}

TEST(V2Header, vectors_must_fit) {
    struct Row {
        Buffer tlvs;
        Fault fault;
    };
    const Buffer tls = Buffer(5);
    for (const Row& row : {
             Row{{0x01}, Fault::tlv_length},
             Row{{0x01, 0x00}, Fault::tlv_length},
             Row{{0x01, 0x00, 0x01}, Fault::tlv_length},
             Row{tlv(0x04, {}) + Buffer{0xE0, 0xFF, 0xFF, 0}, Fault::tlv_length},
             Row{tlv(0x20, tls + Buffer{0x21}), Fault::tlv_length},
             Row{tlv(0x20, tls + Buffer{0x21, 0, 2, 'x'}), Fault::tlv_length},
             Row{tlv(0x20, Buffer(4)), Fault::tlv_value},
             Row{tlv(0x20, {}), Fault::tlv_value},
             Row{tlv(0x05, Buffer(129)), Fault::tlv_value},
             Row{tlv(0x03, Buffer(3)), Fault::tlv_value},
             Row{tlv(0x03, Buffer(5)), Fault::tlv_value},
             Row{tlv(0x03, Buffer(4)), Fault::checksum},
             Row{tlv(0x03, Buffer(4)) + tlv(0x03, Buffer(4)), Fault::tlv_duplicate},
             Row{tlv(0x01, {1}) + tlv(0x01, {1}), Fault::tlv_duplicate},
             Row{tlv(0x02, {1}) + tlv(0x04, {}) + tlv(0x02, {2}), Fault::tlv_duplicate},
             Row{tlv(0x05, {}) + tlv(0x05, {}), Fault::tlv_duplicate},
             Row{tlv(0x20, tls) + tlv(0x20, tls), Fault::tlv_duplicate},
             Row{tlv(0x30, {}) + tlv(0x30, {}), Fault::tlv_duplicate},
             Row{tlv(0x20, tls + tlv(0x22, text("a")) + tlv(0x22, text("b"))), Fault::tlv_duplicate},
         })
        expect_invalid(v2(0x21, 0x11, ends4 + row.tlvs), row.fault);
}

}  // namespace
}  // namespace limpet::proxy_protocol::test
