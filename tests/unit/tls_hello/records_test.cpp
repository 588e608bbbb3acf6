// SPDX-License-Identifier: Apache-2.0
// From the stream to the message: records, fragments, limits, and what is no ClientHello.
#include "hellos.h"

namespace limpet::tls_hello::test {
namespace {

Buffer named_message() {
    Sketch sketch;
    sketch.extensions = sni(host_name("b1.example.com")) + alpn(vector8(text("mqtt")));
    return sketch.message();
}

TEST(Records, the_message_may_be_split_over_any) {
    const Buffer message = named_message();
    for (std::size_t piece = 1; piece <= message.size(); ++piece) {
        ClientHelloReader reader;
        const Buffer bytes = records(message, piece);
        EXPECT_EQ(reader.read(bytes), Status::complete) << piece;
        EXPECT_EQ(reader.consumed(), bytes.size()) << piece;
        EXPECT_EQ(reader.hello().server_name, "b1.example.com") << piece;
    }
    for (const std::size_t piece : {1U, 3U, 4U, 5U, 50U})
        EXPECT_EQ(expect_valid(records(message, piece)).server_name, "b1.example.com") << piece;
}

TEST(Records, the_minor_version_says_nothing) {
    for (const std::uint8_t minor : Buffer{0, 1, 2, 3, 4, 255})
        expect_valid(records(named_message(), 16'384, minor));
}

TEST(Records, what_is_behind_the_message_is_left) {
    const Buffer hello = records(named_message());
    ClientHelloReader reader;
    EXPECT_EQ(reader.read(hello + from_hex("140303000101")), Status::complete);
    EXPECT_EQ(reader.consumed(), hello.size());
    // In the same record too: what it means, the server behind will say.
    ClientHelloReader second;
    EXPECT_EQ(second.read(records(named_message() + Buffer{1, 0, 0, 0})), Status::complete);
    EXPECT_EQ(second.consumed(), hello.size());
    EXPECT_EQ(second.read(Buffer{0xFF}), Status::complete) << "and stays so";
}

TEST(Records, what_is_no_tls_is_known_by_its_first_byte) {
    for (const std::string_view first :
         {"\x10\x0c", "GET / HTTP/1.1\r\n", "PROXY TCP4", "SSH-2.0", "\x80\x2e\x01"})
        expect_invalid(text(first), Fault::not_tls, 1);
    expect_invalid({20, 3, 3, 0, 1, 1}, Fault::not_tls, 1);
    expect_invalid({21, 3, 3, 0, 2, 2, 40}, Fault::not_tls, 1);
    expect_invalid({23, 3, 3, 0, 1, 1}, Fault::not_tls, 1);
    expect_invalid({22, 2, 0, 0, 1, 1}, Fault::record_version, 2);
    expect_invalid({22, 254, 253, 0, 1, 1}, Fault::record_version, 2);
}

TEST(Records, empty_and_oversized_ones_are_refused) {
    expect_invalid({22, 3, 1, 0, 0}, Fault::record_length, 5);
    expect_invalid({22, 3, 1, 0x40, 0x01}, Fault::record_length, 5, 100'000);
    expect_invalid(Buffer{22, 3, 1, 0, 1, 1} + Buffer{22, 3, 1, 0, 0}, Fault::record_length, 11);
}

TEST(Records, nothing_may_come_between) {
    const Buffer message = named_message();
    const Buffer begin(message.begin(), message.begin() + 20);
    const Buffer start = records(begin);
    for (const std::uint8_t type : Buffer{20, 21, 23, 24, 0})
        expect_invalid(start + Buffer{type, 3, 3, 0, 1, 1}, Fault::record_interleaved, start.size() + 1);
    expect_invalid(start + Buffer{22, 9}, Fault::record_version);
}

TEST(Records, other_handshake_messages_are_named_by_their_first_byte) {
    for (unsigned type = 0; type < 256; ++type) {
        Sketch sketch;
        sketch.type = static_cast<std::uint8_t>(type);
        if (type != 1) expect_invalid(records(sketch.message()), Fault::not_client_hello, 6);
    }
}

TEST(Limits, the_message_must_end_within_the_maximum) {
    const Buffer bytes = records(named_message());
    expect_valid(bytes, bytes.size());
    expect_invalid(bytes, Fault::too_large, 9, bytes.size() - 1);
    const Buffer two = records(named_message(), 60);
    expect_valid(two, two.size());
    expect_invalid(two, Fault::too_large, 5 + 60 + 5, two.size() - 1);
    expect_invalid(bytes, Fault::too_large, 5, 8);
    expect_invalid({22, 3, 1, 0, 4, 1, 0, 0x40, 0}, Fault::too_large, 9);
    expect_invalid({22, 3, 1, 0, 4, 1, 0xFF, 0xFF, 0xFF}, Fault::too_large, 9);
}

TEST(Limits, headers_of_records_count_too) {
    Sketch sketch;
    sketch.extensions = extension(21, Buffer(3000));
    const Buffer message = sketch.message();
    expect_valid(records(message, 1), 6 * message.size());
    ClientHelloReader reader(4096);
    EXPECT_EQ(reader.read(records(message)), Status::complete);
    ClientHelloReader crumbs(4096);
    EXPECT_EQ(crumbs.read(records(message, 1)), Status::invalid);
    EXPECT_EQ(crumbs.fault(), Fault::too_large);
}

TEST(Limits, a_long_message_is_read_where_it_is_allowed) {
    Sketch sketch;
    sketch.extensions = extension(21, Buffer(30'000)) + sni(host_name("far.example.com"));
    ClientHelloReader reader(65'536);
    EXPECT_EQ(reader.read(records(sketch.message())), Status::complete);
    EXPECT_EQ(reader.hello().server_name, "far.example.com");
}

}  // namespace
}  // namespace limpet::tls_hello::test
