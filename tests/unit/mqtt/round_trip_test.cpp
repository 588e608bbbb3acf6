// SPDX-License-Identifier: Apache-2.0
// Generated packets: what is written is read back equal, from every prefix and whatever follows.
#include <random>

#include "bytes.h"
#include "strings.h"

namespace limpet::mqtt::test {
namespace {

/// A fixed seed: the same packets in every run.
class Generator {
  public:
    explicit Generator(std::uint32_t seed) : random_(seed) {}

    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
    bool flip() { return below(2) == 1; }

    std::string string(bool topic = false) {
        std::string out;
        for (unsigned left = below(6); left > 0; --left)
            out += good_strings[below(good_strings.size())].value;
        if (below(20) == 0) out += std::string(below(70), 'l') + std::string(below(400), 'L');
        if (topic && out.empty()) out = "t";
        return out;
    }
    Buffer binary() {
        Buffer out(below(8) == 0 ? below(3000) : below(10));
        for (auto& byte : out) byte = static_cast<std::uint8_t>(below(256));
        return out;
    }

    template <class Value>
    void maybe(std::optional<Value>& into, Value value) {
        if (below(3) == 0) into = std::move(value);
    }
    std::uint32_t word() { return static_cast<std::uint32_t>(random_()); }
    std::uint16_t half() { return static_cast<std::uint16_t>(random_()); }
    std::uint8_t bit() { return static_cast<std::uint8_t>(below(2)); }

    void user_properties(Properties& into) {
        for (unsigned left = below(4); left > 0; --left)
            into.user_properties.emplace_back(string(), string());
    }
    void both(Properties& into) {
        maybe(into.session_expiry_interval, word());
        maybe(into.receive_maximum, static_cast<std::uint16_t>(half() | 1));
        maybe(into.maximum_packet_size, word() | 1);
        maybe(into.topic_alias_maximum, half());
        maybe(into.authentication_method, string());
        if (into.authentication_method) maybe(into.authentication_data, binary());
        user_properties(into);
    }
    Connect connect() {
        Connect made;
        made.version = versions[below(3)];
        made.bridge = made.version != Version::v5 && below(4) == 0;
        made.keep_alive = half();
        made.clean_start = flip();
        made.client_id = string();
        if (made.client_id.empty() && made.version != Version::v5) made.client_id = "c";
        if (made.version == Version::v5) {
            both(made.properties);
            maybe(made.properties.request_problem_information, bit());
            maybe(made.properties.request_response_information, bit());
        }
        if (flip()) made.will = will(made.version);
        maybe(made.user_name, string());
        if (made.user_name || made.version == Version::v5) maybe(made.password, binary());
        return made;
    }
    Connack connack(Version version) {
        Connack made;
        made.session_present = version != Version::v31 && flip();
        if (!made.session_present)
            made.code = version == Version::v5 ? 0x88 : static_cast<std::uint8_t>(below(6));
        if (version != Version::v5) return made;
        Properties& properties = made.properties;
        both(properties);
        maybe(properties.assigned_client_identifier, string());
        maybe(properties.server_keep_alive, half());
        maybe(properties.response_information, string());
        maybe(properties.server_reference, string());
        maybe(properties.reason_string, string());
        maybe(properties.maximum_qos, bit());
        maybe(properties.retain_available, bit());
        maybe(properties.wildcard_subscription_available, bit());
        maybe(properties.subscription_identifier_available, bit());
        maybe(properties.shared_subscription_available, bit());
        return made;
    }

  private:
    Will will(Version version) {
        Will made;
        made.topic = string(true);
        made.payload = binary();
        made.qos = static_cast<std::uint8_t>(below(3));
        made.retain = flip();
        if (version != Version::v5) return made;
        maybe(made.properties.will_delay_interval, word());
        maybe(made.properties.payload_format_indicator, bit());
        maybe(made.properties.message_expiry_interval, word());
        maybe(made.properties.content_type, string());
        maybe(made.properties.response_topic, string(true));
        maybe(made.properties.correlation_data, binary());
        user_properties(made.properties);
        return made;
    }

    std::mt19937 random_;
};

TEST(RoundTrip, a_generated_connect_is_read_back_equal) {
    Generator generator(17);
    for (int round = 0; round < 5000; ++round) {
        const Connect made = generator.connect();
        const auto parsed = read_connect(write_connect(made));
        ASSERT_EQ(parsed.status, Status::complete) << "round " << round << ": " << parsed.detail;
        ASSERT_TRUE(parsed.packet == made) << "round " << round;
    }
}

TEST(RoundTrip, every_split_of_a_generated_connect_is_judged_alike) {
    Generator generator(18);
    for (int round = 0; round < 300; ++round) expect_valid(write_connect(generator.connect()), "generated");
}

TEST(RoundTrip, a_generated_connack_is_read_back_equal) {
    Generator generator(19);
    for (int round = 0; round < 3000; ++round) {
        const Version version = versions[generator.below(3)];
        const Connack made = generator.connack(version);
        const Buffer bytes = write_connack(made, version);
        const auto parsed = parse_connack(bytes, version);
        ASSERT_EQ(parsed.status, Status::complete) << "round " << round << ": " << parsed.detail;
        ASSERT_TRUE(parsed.packet == made) << "round " << round;
        if (round % 10 == 0) {
            ASSERT_EQ(decided_after(bytes, [&](Bytes some) { return parse_connack(some, version); }),
                      bytes.size());
        }
    }
}

TEST(RoundTrip, a_changed_byte_never_makes_a_judgement_waver) {
    Generator generator(20);
    for (int round = 0; round < 1500; ++round) {
        Buffer bytes = write_connect(generator.connect());
        const auto at = generator.below(static_cast<unsigned>(std::min<std::size_t>(bytes.size(), 40)));
        bytes[at] = static_cast<std::uint8_t>(generator.below(256));
        if (bytes.size() > 500) continue;
        decided_after(bytes, read_connect);
    }
}

TEST(Writer, what_does_not_fit_the_encoding_is_not_written_at_all) {
    Connect connect;
    connect.client_id = std::string(65536, 'x');
    EXPECT_TRUE(write_connect(connect).empty()) << "a length of two bytes cannot say 65536";
    connect.client_id.pop_back();
    EXPECT_FALSE(write_connect(connect).empty());
    Connack connack;
    connack.properties.reason_string = std::string(65536, 'x');
    EXPECT_TRUE(write_connack(connack, Version::v5).empty());
}

TEST(Writer, properties_are_written_only_where_they_belong) {
    Connect connect;
    connect.version = Version::v311;
    connect.properties.receive_maximum = 5;
    EXPECT_EQ(write_connect(connect).size(), 14u) << "3.1.1 has no properties";
    connect.version = Version::v5;
    connect.properties.server_keep_alive = 9;
    EXPECT_EQ(read_connect(write_connect(connect)).packet.properties.receive_maximum, 5);
    EXPECT_FALSE(read_connect(write_connect(connect)).packet.properties.server_keep_alive);
}

}  // namespace
}  // namespace limpet::mqtt::test
