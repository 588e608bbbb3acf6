// SPDX-License-Identifier: Apache-2.0
// What a broker reads in CONNECT when the listener has rules about who its clients are.
#include "session/identity.h"

#include <gtest/gtest.h>

#include <mutex>

#include "harness.h"
#include "proxy_protocol/header.h"

namespace limpet::session::test {
namespace {

constexpr std::array<std::string_view, 5> names{"cn", "sni", "address", "client_id", "username"};

TextTemplate text(std::string_view written) {
    return TextTemplate::parse(written, names).value();
}

/// Keeps the CONNECT that it reads, then goes on as echo().
class Reading {
  public:
    [[nodiscard]] Broker::Script script(mqtt::Version version) {
        return [this, version](Socket& socket) {
            const auto packet = read_connect(socket);
            {
                const std::lock_guard lock(mutex_);
                read_ = mqtt::parse_connect({packet.data(), packet.size()}, 1 << 20);
            }
            socket.send(version == mqtt::Version::v5 ? accepted5() : accepted());
            for (auto part = socket.receive_some(); !part.empty(); part = socket.receive_some())
                socket.send(part);
        };
    }
    [[nodiscard]] mqtt::Connect connect() {
        const std::lock_guard lock(mutex_);
        EXPECT_EQ(read_.status, Status::complete) << read_.detail;
        return read_.packet;
    }

  private:
    std::mutex mutex_;
    mqtt::Parsed<mqtt::Connect> read_;
};

mqtt::Connect full(mqtt::Version version) {
    mqtt::Connect connect;
    connect.version = version;
    connect.client_id = "device";
    connect.keep_alive = 60;
    connect.clean_start = false;
    connect.will =
        mqtt::Will{.topic = "gone", .payload = {1, 2, 3}, .qos = 1, .retain = true, .properties = {}};
    if (version == mqtt::Version::v5) {
        connect.properties.session_expiry_interval = 100;
        connect.properties.user_properties = {{"a", "b"}, {"a", "c"}};
        connect.will->properties.will_delay_interval = 5;
    }
    return connect;
}

class RewrittenConnect : public testing::TestWithParam<mqtt::Version> {};

TEST_P(RewrittenConnect, differs_in_what_the_rules_say_and_in_nothing_else) {
    Reading reading;
    Broker broker(reading.script(GetParam()));
    GatewayOptions options;
    options.strategy = balancer::Strategy::sticky;
    options.identity.user_name = text("fleet-{client_id}");
    options.identity.password = text("secret");
    options.identity.client_id = text("{address}/{client_id}");
    Gateway gateway({broker.address()}, options);
    auto connect = full(GetParam());
    const auto client = gateway.client();
    client.send(mqtt::write_connect(connect) + bytes("behind"));
    const auto answer = GetParam() == mqtt::Version::v5 ? accepted5() : accepted();
    EXPECT_EQ(client.receive(answer.size() + 6), answer + bytes("behind"))
        << "not a byte behind CONNECT is lost";
    connect.user_name = "fleet-device";
    connect.password = bytes("secret");
    connect.client_id = "127.0.0.1/device";
    EXPECT_EQ(reading.connect(), connect);
    EXPECT_TRUE(gateway.pool().connected(gateway.pool().hash_key("127.0.0.1/device")))
        << "it sticks by the id that the broker knows it by";
}

INSTANTIATE_TEST_SUITE_P(all, RewrittenConnect,
                         testing::Values(mqtt::Version::v31, mqtt::Version::v311, mqtt::Version::v5),
                         [](const auto& row) { return "v" + std::to_string(static_cast<int>(row.param)); });

Identity rules_of(bool replace) {
    Identity rules;
    rules.user_name = text("given");
    rules.password = text("given");
    rules.client_id = text("given");
    rules.replace = replace;
    return rules;
}

std::optional<std::string> nothing(std::string_view) {
    return std::nullopt;
}

TEST(identity, replaces_what_the_client_says_or_only_adds_to_it) {
    mqtt::Connect connect;
    connect.client_id = "own";
    connect.user_name = "own";
    auto replaced = connect;
    EXPECT_FALSE(apply(rules_of(true), nothing, replaced));
    EXPECT_EQ(replaced.client_id, "given");
    EXPECT_EQ(*replaced.user_name, "given");
    auto added = connect;
    EXPECT_FALSE(apply(rules_of(false), nothing, added));
    EXPECT_EQ(added.client_id, "own");
    EXPECT_EQ(*added.user_name, "own");
    EXPECT_EQ(*added.password, bytes("given"));
}

TEST(identity, swaps_names_as_the_client_wrote_them) {
    Identity rules;
    rules.client_id = text("{username}");
    rules.user_name = text("{client_id}");
    mqtt::Connect connect;
    connect.client_id = "id";
    connect.user_name = "user";
    EXPECT_FALSE(apply(rules, nothing, connect));
    EXPECT_EQ(connect.client_id, "user");
    EXPECT_EQ(*connect.user_name, "id");
}

TEST(identity, gives_a_password_an_empty_user_name_where_mqtt_wants_one) {
    Identity rules;
    rules.password = text("secret");
    for (const auto version : {mqtt::Version::v31, mqtt::Version::v311, mqtt::Version::v5}) {
        mqtt::Connect connect;
        connect.version = version;
        EXPECT_FALSE(apply(rules, nothing, connect));
        EXPECT_EQ(connect.user_name.has_value(), version != mqtt::Version::v5);
    }
}

TEST(identity, that_cannot_be_made_is_a_misfit) {
    Identity rules;
    rules.user_name = text("{cn}");
    mqtt::Connect connect;
    auto misfit = apply(rules, nothing, connect);
    ASSERT_TRUE(misfit);
    EXPECT_EQ(misfit->reason, LIMPET_REASON_CLOSE_IDENTITY);
    EXPECT_EQ(misfit->detail, "the user name needs {cn}, which this client has not");
    EXPECT_FALSE(connect.user_name) << "nothing is changed";
    const auto bad = [](std::string_view) { return std::optional<std::string>("not \xff UTF-8"); };
    misfit = apply(rules, bad, connect);
    ASSERT_TRUE(misfit) << "a broker must get no string that breaks MQTT";
    const auto long_one = [](std::string_view) { return std::optional(std::string(65'536, 'x')); };
    EXPECT_TRUE(apply(rules, long_one, connect));
}

/// A trusted proxy tells of a certificate.
Bytes header_of(const std::string& common_name, std::uint32_t verify = 0) {
    proxy_protocol::Header header;
    header.addresses = {*Endpoint::parse("192.0.2.7:40000"), *Endpoint::parse("198.51.100.1:8883")};
    header.tls = proxy_protocol::Tls{};
    header.tls->client = proxy_protocol::client_used_tls | proxy_protocol::client_certificate_on_connection;
    header.tls->verify = verify;
    header.tls->common_name = common_name;
    return proxy_protocol::write_v2(header).value();
}

TEST(client_id_that_must_be_the_certificates_name, is_refused_in_words_when_it_is_another) {
    Broker broker(echo(accepted()));
    GatewayOptions options;
    options.proxy_from = {*Network::parse("127.0.0.0/8")};
    options.identity.required_client_id = text("{cn}");
    options.strategy = balancer::Strategy::sticky;
    options.key = balancer::Key::certificate_cn;
    Gateway gateway({broker.address()}, options);
    const auto honest = gateway.client();
    honest.send(header_of("device-1") + connect_packet("device-1"));
    EXPECT_EQ(honest.receive(4), accepted());
    EXPECT_TRUE(gateway.pool().connected(gateway.pool().hash_key("device-1")))
        << "the key is the certificate's name";
    const auto liar = gateway.client();
    liar.send(header_of("device-1") + connect_packet("device-2"));
    EXPECT_EQ(liar.receive_all(), (Bytes{0x20, 2, 0, 2}));
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_CLIENT_ID_NOT_OWN), 1u);
    const auto unverified = gateway.client();
    unverified.send(header_of("device-1", 19) + connect_packet("device-1", mqtt::Version::v5));
    EXPECT_EQ(unverified.receive_all(), (Bytes{0x20, 3, 0, 0x87, 0})) << "not authorized";
    EXPECT_EQ(gateway.counted(LIMPET_REASON_CLOSE_IDENTITY), 1u);
    EXPECT_EQ(broker.connections(), 1);
}

}  // namespace
}  // namespace limpet::session::test
