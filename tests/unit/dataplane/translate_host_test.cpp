// SPDX-License-Identifier: Apache-2.0
// The translator of bpf/, as the host has it: against a slow model of the RFCs, and on every broken length.
#include "dataplane/translate_host.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "translate_model.h"

namespace limpet::dataplane {
namespace {

using namespace packet;
using model::Constants;

/// A frame in a heap block of its exact size, two bytes behind a multiple of four, so that a sanitizer sees
/// every byte that is read or written beside it.
class Frame {
  public:
    explicit Frame(const Bytes& bytes) : size_(bytes.size()), block_(new std::uint8_t[2 + bytes.size()]) {
        std::ranges::copy(bytes, block_.get() + 2);
    }
    [[nodiscard]] std::uint8_t* data() { return block_.get() + 2; }
    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(size_); }
    [[nodiscard]] Bytes bytes() const { return {block_.get() + 2, block_.get() + 2 + size_}; }

  private:
    std::size_t size_;
    std::unique_ptr<std::uint8_t[]> block_;
};

void fill(limpet_flow& flow, const Constants& constants) {
    flow.state = LIMPET_STATE_ACTIVE;
    flow.sequence_delta = constants.sequence;
    flow.acknowledgement_delta = constants.acknowledgement;
    flow.tsval_delta = constants.tsval;
    flow.tsecr_delta = constants.tsecr;
    flow.window_shift = static_cast<std::int8_t>(constants.window_shift);
    if (constants.timestamps) flow.flags |= LIMPET_FLOW_TIMESTAMPS;
    if (constants.clear_ecn) flow.flags |= LIMPET_FLOW_CLEAR_ECN;
}

limpet_flow4 entry4(const Constants& constants) {
    limpet_flow4 entry{};
    fill(entry.flow, constants);
    std::memcpy(&entry.source, constants.source.address.bytes.data(), 4);
    std::memcpy(&entry.destination, constants.destination.address.bytes.data(), 4);
    entry.source_port = __builtin_bswap16(constants.source.port);
    entry.destination_port = __builtin_bswap16(constants.destination.port);
    return entry;
}

limpet_flow6 entry6(const Constants& constants) {
    limpet_flow6 entry{};
    fill(entry.flow, constants);
    std::memcpy(entry.source, constants.source.address.bytes.data(), 16);
    std::memcpy(entry.destination, constants.destination.address.bytes.data(), 16);
    entry.source_port = __builtin_bswap16(constants.source.port);
    entry.destination_port = __builtin_bswap16(constants.destination.port);
    return entry;
}

struct Translated {
    int result;
    Bytes frame;
    limpet_flow flow;
};

Translated translate(const Bytes& bytes, const Constants& constants) {
    Frame frame(bytes);
    if (constants.source.address.family == 4) {
        auto entry = entry4(constants);
        const int result = limpet_host_translate(frame.data(), frame.size(), &entry);
        return {result, frame.bytes(), entry.flow};
    }
    auto entry = entry6(constants);
    const int result = limpet_host_translate(frame.data(), frame.size(), &entry);
    return {result, frame.bytes(), entry.flow};
}

Constants constants4() {
    Constants constants;
    constants.source = at("10.92.0.1:20000");
    constants.destination = at("10.92.0.11:1883");
    return constants;
}

Packet packet6() {
    Packet packet;
    packet.source = at("[2001:db8:91::2]:40000");
    packet.destination = at("[2001:db8:91::1]:1883");
    return packet;
}

Constants constants6() {
    Constants constants;
    constants.source = at("[2001:db8:92::1]:20000");
    constants.destination = at("[2001:db8:92::b]:1883");
    return constants;
}

IpAddress random_address(model::Generator& generator, std::uint8_t family) {
    IpAddress address;
    address.family = family;
    const auto bytes = generator.noise(family == 4 ? 4 : 16);
    std::ranges::copy(bytes, address.bytes.begin());
    return address;
}

Endpoint random_endpoint(model::Generator& generator, std::uint8_t family) {
    return {random_address(generator, family), static_cast<std::uint16_t>(generator.number())};
}

Packet random_packet(model::Generator& generator) {
    Packet packet;
    const std::uint8_t family = generator.below(2) == 0 ? 4 : 6;
    packet.source = random_endpoint(generator, family);
    packet.destination = random_endpoint(generator, family);
    packet.hops = static_cast<std::uint8_t>(2 + generator.below(254));
    packet.traffic_class = static_cast<std::uint8_t>(generator.number());
    packet.sequence = generator.number();
    packet.acknowledgement = generator.number();
    packet.flags = static_cast<std::uint8_t>(generator.number());
    packet.window =
        static_cast<std::uint16_t>(generator.below(4) == 0 ? generator.below(3) : generator.number());
    packet.urgent = static_cast<std::uint16_t>(generator.number());
    packet.payload = generator.noise(generator.below(40));
    packet.padding = generator.below(8) == 0 ? generator.below(8) : 0;
    return packet;
}

Constants random_constants(model::Generator& generator, const Packet& packet) {
    Constants constants;
    constants.sequence = generator.number();
    constants.acknowledgement = generator.number();
    constants.tsval = generator.number();
    constants.tsecr = generator.number();
    constants.window_shift = static_cast<int>(generator.below(29)) - 14;
    constants.timestamps = generator.below(4) != 0;
    constants.clear_ecn = generator.below(2) == 0;
    constants.source = random_endpoint(generator, packet.family());
    constants.destination = random_endpoint(generator, packet.family());
    // Transparent mode and one-armed gateways keep some of the tuple.
    if (generator.below(4) == 0) constants.source = packet.source;
    if (generator.below(4) == 0) constants.destination.port = packet.destination.port;
    return constants;
}

#ifdef __SANITIZE_ADDRESS__
constexpr int generated_packets = 200'000;
#else
constexpr int generated_packets = 2'000'000;
#endif

TEST(TranslateHost, agrees_with_the_model_on_generated_packets) {
    model::Generator generator(20'250'101);
    for (int round = 0; round < generated_packets; ++round) {
        auto packet = random_packet(generator);
        const auto options = generator.options();
        packet.options = model::bytes_of(options);
        const auto constants = random_constants(generator, packet);
        const auto arriving = packet.build();
        const auto wanted = model::translate(packet, options, constants).build();
        const auto seen = translate(arriving, constants);
        ASSERT_EQ(seen.result, 0) << "round " << round;
        ASSERT_EQ(seen.frame, wanted) << "round " << round << ": " << difference(seen.frame, wanted);
        ASSERT_TRUE(checksums_right(seen.frame)) << "round " << round;
    }
}

TEST(TranslateHost, refuses_a_generated_packet_that_is_cut_anywhere_and_leaves_it_as_it_was) {
    model::Generator generator(7);
    for (int round = 0; round < 1'000; ++round) {
        auto packet = random_packet(generator);
        packet.padding = 0;
        packet.options = model::bytes_of(generator.options());
        const auto constants = random_constants(generator, packet);
        const auto whole = packet.build();
        for (std::size_t length = 0; length < whole.size(); ++length) {
            const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            const auto seen = translate(cut, constants);
            ASSERT_NE(seen.result, 0) << "round " << round << ", " << length << " of " << whole.size();
            ASSERT_EQ(seen.frame, cut) << "round " << round << ", " << length << " of " << whole.size();
        }
    }
}

TEST(TranslateHost, a_wrong_checksum_stays_wrong) {
    model::Generator generator(4);
    for (int round = 0; round < 2'000; ++round) {
        auto packet = random_packet(generator);
        packet.checksum = Checksum::wrong;
        const auto seen = translate(packet.build(), random_constants(generator, packet));
        ASSERT_EQ(seen.result, 0);
        ASSERT_FALSE(checksums_right(seen.frame)) << "the receiver must still be able to see the damage";
    }
}

TEST(TranslateHost, a_packet_there_and_back_is_the_packet_that_was_sent) {
    model::Generator generator(5);
    for (int round = 0; round < 2'000; ++round) {
        auto packet = random_packet(generator);
        packet.hops = 64;
        packet.options = model::bytes_of(
            {model::Nop{}, model::Nop{}, model::Timestamps{generator.number(), generator.number()}});
        auto there = random_constants(generator, packet);
        there.window_shift = 0;
        there.clear_ecn = false;
        Constants back = there;
        back.sequence = 0U - there.sequence;
        back.acknowledgement = 0U - there.acknowledgement;
        back.tsval = 0U - there.tsval;
        back.tsecr = 0U - there.tsecr;
        back.source = packet.source;
        back.destination = packet.destination;
        const auto arriving = packet.build();
        auto home = translate(translate(arriving, there).frame, back).frame;
        packet.hops = static_cast<std::uint8_t>(packet.hops - 2);
        const auto wanted = packet.build();
        ASSERT_EQ(home, wanted) << difference(home, wanted);
    }
}

/// Sums of ones' complement have two zeros, and a carry out of 32 bits is worth one: address pairs whose
/// differences add up to such values.
TEST(TranslateHost, address_differences_on_the_edges_of_ones_complement_keep_the_checksum) {
    const char* edges[] = {"0.0.0.0",         "255.255.255.255", "1.0.0.0",     "0.0.0.1",
                           "254.255.255.255", "255.255.255.254", "10.0.0.1",    "11.0.0.1",
                           "9.0.0.1",         "10.0.0.2",        "0.255.0.255", "255.0.255.0"};
    for (const auto* source : edges)
        for (const auto* destination : edges)
            for (const auto* new_source : edges)
                for (const auto* new_destination : edges) {
                    Packet packet;
                    packet.source.address = IpAddress::parse(source).value();
                    packet.destination.address = IpAddress::parse(destination).value();
                    auto constants = constants4();
                    constants.source.address = IpAddress::parse(new_source).value();
                    constants.destination.address = IpAddress::parse(new_destination).value();
                    const auto seen = translate(packet.build(), constants);
                    const auto wanted = model::translate(packet, {}, constants).build();
                    ASSERT_EQ(seen.frame, wanted)
                        << source << " > " << destination << " becomes " << new_source << " > "
                        << new_destination << ": " << difference(seen.frame, wanted);
                }
}

TEST(TranslateHost, notes_the_time_of_the_sender_as_it_came) {
    Packet packet;
    auto constants = constants4();
    constants.tsval = 1000;
    packet.options = join({option::nop(2), option::timestamps(77, 5)});
    EXPECT_EQ(translate(packet.build(), constants).flow.note_tsval, 77U);
    packet.options = join({option::timestamps(78, 5), option::nop(2)});
    EXPECT_EQ(translate(packet.build(), constants).flow.note_tsval, 78U) << "an odd layout is noted too";
}

TEST(TranslateHost, leaves_unchanged_what_it_cannot_translate) {
    const auto constants = constants4();
    const auto unchanged = [&](const char* sentence, const Packet& packet, int result) {
        const auto arriving = packet.build();
        const auto seen = translate(arriving, packet.family() == 4 ? constants : constants6());
        EXPECT_EQ(seen.result, result) << sentence;
        EXPECT_EQ(seen.frame, arriving) << sentence;
    };
    Packet packet;
    packet.fragment = 0x2000;
    unchanged("a first fragment", packet, 2);
    packet = {};
    packet.fragment = 0x0010;
    unchanged("a later fragment has no ports", packet, 1);
    packet = {};
    packet.ip_options = Bytes{1, 1, 1, 1};
    unchanged("IP options", packet, 3);
    packet = {};
    packet.tcp_words = 4;
    unchanged("a data offset below the header", packet, 4);
    packet.tcp_words = 6;
    unchanged("a data offset beyond the packet", packet, 4);
    packet = {};
    packet.ip_length = 41;
    unchanged("a total length beyond the frame", packet, 4);
    packet.ip_length = 39;
    unchanged("a total length that ends within the TCP header", packet, 4);
    packet = {};
    packet.protocol = 17;
    unchanged("UDP", packet, 1);
    packet.hops = 1;
    packet.protocol = protocol_tcp;
    unchanged("a packet whose last hop we are", packet, 4);
    packet = packet6();
    packet.fragment6 = 1;
    unchanged("a first fragment of IPv6", packet, 2);
    packet.fragment6 = 0x0010;
    unchanged("a later fragment of IPv6", packet, 1);
    packet = packet6();
    packet.ip_length = 21;
    unchanged("a payload length beyond the frame", packet, 4);
}

TEST(ParseHost, says_what_a_frame_holds) {
    Packet packet;
    packet.flags = fin | psh | ack;
    packet.options = join({option::nop(2), option::timestamps(1, 2)});
    packet.payload = Bytes(7, 'x');
    packet.padding = 3;
    for (const bool six : {false, true}) {
        if (six) {
            packet.source = packet6().source;
            packet.destination = packet6().destination;
        }
        Frame frame(packet.build());
        limpet_host_packet seen{};
        ASSERT_EQ(limpet_host_parse(frame.data(), frame.size(), &seen), 0);
        EXPECT_EQ(seen.family, six ? 6 : 4);
        EXPECT_EQ(seen.ip_offset, 14U);
        EXPECT_EQ(seen.tcp_offset, six ? 54U : 34U);
        EXPECT_EQ(seen.tcp_header, 32U);
        EXPECT_EQ(seen.payload, 7U) << "padding behind the IP packet is no payload";
        EXPECT_EQ(seen.sequence, packet.sequence);
        EXPECT_EQ(seen.acknowledgement, packet.acknowledgement);
        EXPECT_EQ(seen.flags, packet.flags);
        const auto* addresses = frame.data() + (six ? 22 : 26);
        const std::size_t tuple = six ? 32 : 8;
        EXPECT_EQ(std::memcmp(seen.key, addresses, tuple), 0);
        EXPECT_EQ(std::memcmp(seen.key + tuple, frame.data() + seen.tcp_offset, 4), 0);
    }
}

TEST(ParseHost, takes_a_truncated_frame_of_any_length_for_nothing_more_than_it_is) {
    for (const bool six : {false, true}) {
        Packet packet = six ? packet6() : Packet{};
        packet.options = join({option::nop(2), option::timestamps(1, 2)});
        packet.payload = Bytes(9, 'x');
        const auto whole = packet.build();
        const std::size_t tcp = six ? 54 : 34;
        for (std::size_t length = 0; length <= whole.size(); ++length) {
            Frame frame(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
            const auto before = frame.bytes();
            limpet_host_packet seen{};
            const int wanted = length == whole.size() ? 0 : length < tcp + 20 ? 1 : 4;
            EXPECT_EQ(limpet_host_parse(frame.data(), frame.size(), &seen), wanted) << length << " bytes";
            if (wanted == 0) continue;
            auto entry = entry6(constants6());
            EXPECT_EQ(limpet_host_translate(frame.data(), frame.size(), &entry), wanted);
            EXPECT_EQ(frame.bytes(), before) << "a broken frame is not touched";
        }
    }
}

TEST(ChecksumHost, writes_lengths_and_sums_anew) {
    model::Generator generator(6);
    for (int round = 0; round < 2'000; ++round) {
        auto packet = random_packet(generator);
        packet.padding = 0;
        const auto wanted = packet.build();
        Frame frame(wanted);
        limpet_host_packet parsed{};
        ASSERT_EQ(limpet_host_parse(frame.data(), frame.size(), &parsed), 0);
        frame.data()[parsed.tcp_offset + 16] ^= 0x55;
        frame.data()[parsed.ip_offset + (parsed.family == 4 ? 2 : 4)] ^= 0x55;
        limpet_host_checksum(frame.data(), &parsed, parsed.payload);
        ASSERT_EQ(frame.bytes(), wanted) << difference(frame.bytes(), wanted);
    }
}

TEST(ChecksumHost, sums_a_piece_of_a_super_packet_with_its_own_length) {
    Packet packet;
    packet.payload = Bytes(3001, 'x');
    packet.checksum = Checksum::partial;
    Frame frame(packet.build());
    limpet_host_packet parsed{};
    ASSERT_EQ(limpet_host_parse(frame.data(), frame.size(), &parsed), 0);
    limpet_host_checksum(frame.data(), &parsed, 1001);
    packet.payload.resize(1001);
    packet.checksum = Checksum::right;
    const auto wanted = packet.build();
    const auto seen = frame.bytes();
    EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), seen.begin()));
}

}  // namespace
}  // namespace limpet::dataplane
