// SPDX-License-Identifier: Apache-2.0
#include <random>

#include "judged.h"

namespace limpet::proxy_protocol::test {
namespace {

const Accept any_size{.v1 = true, .v2 = true, .maximum_size = 65'551};

Header plain(std::string_view source, std::string_view destination) {
    Header header;
    header.addresses = Addresses{endpoint(source), endpoint(destination)};
    return header;
}

Buffer written(const Header& header, std::size_t padding = 0) {
    auto bytes = write_v2(header, padding);
    EXPECT_TRUE(bytes) << bytes.error().line();
    return bytes.value_or(Buffer{});
}

TEST(V2Writer, writes_what_the_text_says) {
    EXPECT_EQ(written(plain("192.0.2.1:50000", "198.51.100.7:1883")), v2(0x21, 0x11, ends4));
    EXPECT_EQ(written(plain("[2001:db8::1]:50000", "[2001:db8::2]:1883")), v2(0x21, 0x21, ends6));
    Header full = plain("192.0.2.1:50000", "198.51.100.7:1883");
    full.transport = Transport::datagram;
    full.alpn = "mqtt";
    full.authority = "a.example";
    full.unique_id = text("id");
    full.tls = Tls{3, 0x01020304, "TLSv1.3", "cn", "c", "s", "k"};
    full.network_namespace = "ns";
    full.others = {{0xE0, {9}}, {0xEF, {}}};
    const Buffer tls = Buffer{3, 1, 2, 3, 4} + tlv(0x21, text("TLSv1.3")) + tlv(0x22, text("cn")) +
                       tlv(0x23, text("c")) + tlv(0x24, text("s")) + tlv(0x25, text("k"));
    EXPECT_EQ(written(full, 5), v2(0x21, 0x12,
                                   ends4 + tlv(0x01, text("mqtt")) + tlv(0x02, text("a.example")) +
                                       tlv(0x05, text("id")) + tlv(0x20, tls) + tlv(0x30, text("ns")) +
                                       tlv(0xE0, {9}) + tlv(0xEF, {}) + tlv(0x04, Buffer(2))));
}

TEST(V2Writer, maps_a_lone_ipv4_address) {
    const Header read = expect_valid(written(plain("192.0.2.1:50000", "[2001:db8::2]:1883")));
    EXPECT_EQ(read.addresses->source, endpoint("[::ffff:192.0.2.1]:50000"));
    EXPECT_EQ(read.addresses->destination, endpoint("[2001:db8::2]:1883"));
}

TEST(V2Writer, local_is_always_the_bare_head) {
    Header local = plain("192.0.2.1:50000", "198.51.100.7:1883");
    local.command = Command::local;
    local.alpn = "mqtt";
    local.checksum = true;
    EXPECT_EQ(written(local, 7), v2(0x20, 0x00, {}));
}

TEST(V2Writer, refuses_what_cannot_be_written) {
    const Header good = plain("192.0.2.1:50000", "198.51.100.7:1883");
    EXPECT_FALSE(write_v2(Header{})) << "no addresses";
    Header header = good;
    header.transport = Transport::unspecified;
    EXPECT_FALSE(write_v2(header));
    header = good;
    header.unique_id = Buffer(129);
    EXPECT_FALSE(write_v2(header));
    for (const std::uint8_t type : Buffer{0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30}) {
        header = good;
        header.others = {{type, {0, 0, 0, 0}}};
        EXPECT_FALSE(write_v2(header)) << "has a field of its own: " << int{type};
    }
    header = good;
    header.authority = std::string(65'536, 'x');
    EXPECT_FALSE(write_v2(header));
    header.authority = std::string(65'535, 'x');
    EXPECT_FALSE(write_v2(header)) << "fits its own length but not the header's";
    header.authority = std::string(65'535 - 12 - 3, 'x');
    EXPECT_EQ(written(header).size(), 65'551U);
    header = good;
    header.tls = Tls{};
    header.tls->common_name = std::string(65'536, 'x');
    EXPECT_FALSE(write_v2(header));
    for (const std::size_t padding : {std::size_t{1}, std::size_t{2}, std::size_t{65'536}})
        EXPECT_FALSE(write_v2(good, padding));
}

class Random {
  public:
    explicit Random(unsigned seed) : random_(seed) {}

    Header header() {
        Header header;
        header.addresses = Addresses{endpoint(4), endpoint(4)};
        if (one_in(2)) header.addresses = Addresses{endpoint(6), endpoint(6)};
        if (one_in(4)) header.transport = Transport::datagram;
        header.checksum = one_in(2);
        maybe(header.alpn);
        maybe(header.authority);
        if (one_in(2)) header.unique_id = bytes<Buffer>(128);
        if (one_in(2)) tls(header.tls.emplace());
        maybe(header.network_namespace);
        for (unsigned left = number(4); left > 0; --left)
            header.others.push_back({static_cast<std::uint8_t>(0x80 + number(0x80)), bytes<Buffer>(300)});
        return header;
    }
    unsigned number(unsigned below) { return static_cast<unsigned>(random_() % below); }

  private:
    bool one_in(unsigned of) { return number(of) == 0; }

    template <class Container>
    Container bytes(unsigned longest) {
        Container filled(number(longest + 1), 0);
        for (auto& byte : filled) byte = static_cast<typename Container::value_type>(number(256));
        return filled;
    }
    void maybe(std::optional<std::string>& into) {
        if (one_in(2)) into = bytes<std::string>(70);
    }
    void tls(Tls& into) {
        into.client = static_cast<std::uint8_t>(number(256));
        into.verify = static_cast<std::uint32_t>(random_());
        for (auto* field :
             {&into.version, &into.common_name, &into.cipher, &into.signature_algorithm, &into.key_algorithm})
            maybe(*field);
    }
    Endpoint endpoint(std::uint8_t family) {
        Endpoint end;
        end.address.family = family;
        for (std::size_t index = 0; index < (family == 4 ? 4 : 16); ++index)
            end.address.bytes[index] = static_cast<std::uint8_t>(number(256));
        end.port = static_cast<std::uint16_t>(number(65'536));
        return end;
    }

    std::mt19937 random_;
};

TEST(V2Writer, what_it_writes_reads_back_the_same_however_it_is_cut) {
    for (unsigned seed = 0; seed < 300; ++seed) {
        Random random(seed);
        const Header header = random.header();
        const std::size_t padding = seed % 3 == 0 ? 3 + random.number(40) : 0;
        EXPECT_TRUE(expect_valid(written(header, padding), any_size) == header) << seed;
    }
}

}  // namespace
}  // namespace limpet::proxy_protocol::test
