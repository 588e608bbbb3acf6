// SPDX-License-Identifier: Apache-2.0
// Headers that haproxy 2.6.12 wrote on loopback: `send-proxy`, `send-proxy-v2` and `check-send-proxy` on a
// server line, with `proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id`,
// the client a Python ssl socket with and without a certificate (CN=meter-17).
#include <gmock/gmock.h>

#include "judged.h"

namespace limpet::proxy_protocol::test {
namespace {

const Buffer with_certificate = from_hex(
    "0d0a0d0a000d0a515549540a211100947f0000017f0000018cf670e50300047bbea06c0100046d71747402001262726f6b6572"
    "2e6578616d706c652e636f6d0500106c6d70742d3132372e302e302e312d3020004f0700000000210007544c5376312e332200"
    "086d657465722d3137250005454332353624001165636473612d776974682d534841323536230016544c535f4145535f323536"
    "5f47434d5f534841333834");

TEST(Haproxy, tells_of_a_client_with_a_certificate) {
    const Header header = expect_valid(with_certificate);
    EXPECT_EQ(header.version, Version::v2);
    EXPECT_EQ(header.command, Command::proxy);
    EXPECT_EQ(header.transport, Transport::stream);
    ASSERT_TRUE(header.addresses && header.tls && header.unique_id);
    EXPECT_EQ(header.addresses->source, endpoint("127.0.0.1:36086"));
    EXPECT_EQ(header.addresses->destination, endpoint("127.0.0.1:28901"));
    EXPECT_TRUE(header.checksum);
    EXPECT_EQ(header.alpn, "mqtt");
    EXPECT_EQ(header.authority, "broker.example.com");
    EXPECT_EQ(*header.unique_id, text("lmpt-127.0.0.1-0"));
    EXPECT_EQ(header.tls->client,
              client_used_tls | client_certificate_on_connection | client_certificate_in_session);
    EXPECT_EQ(header.tls->verify, 0U);
    EXPECT_EQ(header.tls->version, "TLSv1.3");
    EXPECT_EQ(header.tls->common_name, "meter-17");
    EXPECT_EQ(header.tls->cipher, "TLS_AES_256_GCM_SHA384");
    EXPECT_EQ(header.tls->signature_algorithm, "ecdsa-with-SHA256");
    EXPECT_EQ(header.tls->key_algorithm, "EC256");
    EXPECT_THAT(header.others, testing::IsEmpty());
}

TEST(Haproxy, tells_of_a_client_without_a_certificate) {
    const Header header =
        expect_valid(from_hex("0d0a0d0a000d0a515549540a211100897f0000017f0000018cfe70e50300043139144b0100046d"
                              "71747402001262726f6b6572"
                              "2e6578616d706c652e636f6d0500106c6d70742d3132372e302e302e312d312000440100000000"
                              "210007544c5376312e332500"
                              "05454332353624001165636473612d776974682d534841323536230016544c535f4145535f3235"
                              "365f47434d5f534841333834"));
    ASSERT_TRUE(header.tls);
    EXPECT_EQ(header.tls->client, client_used_tls);
    EXPECT_EQ(header.tls->verify, 0U) << "which is why it says nothing without a certificate's bit";
    EXPECT_EQ(header.tls->common_name, std::nullopt);
}

TEST(Haproxy, writes_plain_connections_of_both_families) {
    const Header ipv4 =
        expect_valid(from_hex("0d0a0d0a000d0a515549540a211100137f0000017f000001d91a70e6030004c48137de"));
    ASSERT_TRUE(ipv4.addresses && ipv4.checksum);
    EXPECT_EQ(ipv4.addresses->source, endpoint("127.0.0.1:55578"));
    const Header ipv6 = expect_valid(from_hex(
        "0d0a0d0a000d0a515549540a2121002b0000000000000000000000000000000100000000000000000000000000000001"
        "d65e70e70300049a4fbd38"));
    ASSERT_TRUE(ipv6.addresses && ipv6.checksum);
    EXPECT_EQ(ipv6.addresses->source, endpoint("[::1]:54878"));
    EXPECT_EQ(ipv6.addresses->destination, endpoint("[::1]:28903"));
}

TEST(Haproxy, writes_version_1_of_both_families) {
    const Header ipv4 = expect_valid(
        from_hex("50524f58592054435034203132372e302e302e31203132372e302e302e312034393031342032383930340d0a"));
    EXPECT_EQ(ipv4.version, Version::v1);
    ASSERT_TRUE(ipv4.addresses);
    EXPECT_EQ(ipv4.addresses->source, endpoint("127.0.0.1:49014"));
    EXPECT_EQ(ipv4.addresses->destination, endpoint("127.0.0.1:28904"));
    const Header ipv6 =
        expect_valid(from_hex("50524f58592054435036203a3a31203a3a312034343832382032383930350d0a"));
    ASSERT_TRUE(ipv6.addresses);
    EXPECT_EQ(ipv6.addresses->source, endpoint("[::1]:44828"));
}

TEST(Haproxy, checks_health_with_the_local_header_that_we_write) {
    const Buffer check = from_hex("0d0a0d0a000d0a515549540a20000000");
    EXPECT_EQ(expect_valid(check).command, Command::local);
    Header local;
    local.command = Command::local;
    EXPECT_EQ(write_v2(local), check);
}

TEST(Haproxy, a_flipped_bit_anywhere_is_seen) {
    for (std::size_t at = 0; at < with_certificate.size(); ++at)
        for (int bit = 0; bit < 8; ++bit) {
            Buffer flipped = with_certificate;
            flipped[at] ^= static_cast<std::uint8_t>(1 << bit);
            const Parsed parsed = parse_header(flipped);
            // PROXY becomes LOCAL, or UNSPEC: nothing is read then, the sum neither.
            const bool nothing_read = parsed.status == Status::complete && !parsed.header.addresses;
            // The type of the sum itself becomes another: then there is none.
            const bool no_sum = parsed.status == Status::complete && !parsed.header.checksum && at == 28;
            EXPECT_TRUE(parsed.status != Status::complete || nothing_read || no_sum) << at << " " << bit;
        }
}

TEST(Haproxy, reads_back_the_same_from_our_writer) {
    const Header header = expect_valid(with_certificate);
    const auto written = write_v2(header);
    ASSERT_TRUE(written) << written.error().line();
    EXPECT_EQ(written->size(), with_certificate.size());
    EXPECT_TRUE(expect_valid(*written) == header);
}

}  // namespace
}  // namespace limpet::proxy_protocol::test
