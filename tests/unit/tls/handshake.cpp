// SPDX-License-Identifier: Apache-2.0
// Both sides of TLS, over a pair of sockets.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <csignal>

#include "authority.h"
#include "base/fd.h"
#include "tls/client.h"
#include "tls/server.h"

namespace limpet::tls::test {
namespace {

using Step = Connection::Step;

struct Sockets {
    Sockets() {
        std::signal(SIGPIPE, SIG_IGN);
        std::array<int, 2> pair{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
        one = Fd(pair[0]);
        other = Fd(pair[1]);
    }
    Fd one;
    Fd other;
};

/// Lets both sides go on in turns until both are through, or neither can go on.
std::pair<Step, Step> shake_hands(Connection& server, Connection& client) {
    Step at_server = Step::wants_read;
    Step at_client = Step::wants_read;
    const auto over = [](Step step) { return step == Step::done || step == Step::failed; };
    for (int turn = 0; turn < 20; ++turn) {
        if (!over(at_client)) at_client = client.handshake();
        if (!over(at_server)) at_server = server.handshake();
    }
    return {at_server, at_client};
}

std::shared_ptr<const Server> server_of(ServerSettings settings) {
    auto server = Server::make(std::move(settings));
    if (!server) throw std::runtime_error(server.error().line());
    return *server;
}

std::shared_ptr<const Client> client_of(ClientSettings settings) {
    auto client = Client::make(std::move(settings));
    if (!client) throw std::runtime_error(client.error().line());
    return *client;
}

const IpAddress home = *IpAddress::parse("192.0.2.1");

/// One server and one client with a handshake between them.
struct Meeting {
    Meeting(const Server& with, const Client& who)
        : server(with.accept(sockets.one.get())),
          client(who.connect(sockets.other.get(), home)),
          steps(shake_hands(*server, *client)) {}

    [[nodiscard]] bool good() const { return steps == std::pair(Step::done, Step::done); }

    Sockets sockets;
    std::unique_ptr<Connection> server;
    std::unique_ptr<Connection> client;
    std::pair<Step, Step> steps;
};

/// The common name that a client of TLS 1.2 with one cipher is shown: there the cipher decides on the key's
/// kind.
std::string shown_to_old_client(const Server& server, const std::string& cipher, const char* name) {
    const ContextPointer context(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context.get(), cipher.c_str());
    const Sockets sockets;
    const SslPointer client(SSL_new(context.get()));
    SSL_set_fd(client.get(), sockets.other.get());
    SSL_set_tlsext_host_name(client.get(), name);
    SSL_set_connect_state(client.get());
    const auto accepted = server.accept(sockets.one.get());
    Step step = Step::wants_read;
    for (int turn = 0; turn < 20 && step != Step::done; ++turn) {
        SSL_do_handshake(client.get());
        step = accepted->handshake();
        if (step == Step::failed) return accepted->failure().detail;
    }
    return common_name_of(SSL_get0_peer_certificate(client.get()));
}

TEST(tls_connection, carries_bytes_and_ends_each_direction_by_itself) {
    Authority authority;
    const auto server = server_of(
        {.name = "test", .policy = {}, .credentials = {Authority::load(authority.issue("a", "DNS:a.org"))}});
    const auto client =
        client_of({.policy = {}, .authorities = authority.authorities(), .server_name = "a.org"});
    Meeting meeting(*server, *client);
    ASSERT_TRUE(meeting.good()) << meeting.client->failure().detail;
    EXPECT_EQ(meeting.server->session().version, "TLSv1.3");
    EXPECT_EQ(meeting.server->session().server_name, "a.org");
    const std::array<std::uint8_t, 3> said{1, 2, 3};
    std::array<std::uint8_t, 64> heard{};
    EXPECT_EQ(meeting.client->write(said), 3);
    EXPECT_EQ(meeting.server->read(heard).count, 3u);
    EXPECT_FALSE(meeting.server->buffered());
    EXPECT_TRUE(meeting.client->end());
    EXPECT_EQ(meeting.server->read(heard).kind, Read::Kind::end);
    EXPECT_EQ(meeting.server->write(said), 3) << "the other direction goes on";
    EXPECT_EQ(meeting.client->read(heard).count, 3u);
}

TEST(records_read_ahead, are_told_of_because_the_socket_is_silent_about_them) {
    Authority authority;
    const auto server =
        server_of({.name = "test", .policy = {}, .credentials = {Authority::load(authority.issue("a"))}});
    const auto client = client_of({.policy = {}, .verify = false});
    Meeting meeting(*server, *client);
    ASSERT_TRUE(meeting.good());
    const std::array<std::uint8_t, 3> said{1, 2, 3};
    for (int record = 0; record < 3; ++record) EXPECT_EQ(meeting.client->write(said), 3);
    std::array<std::uint8_t, 64> heard{};
    EXPECT_EQ(meeting.server->read(heard).count, 3u);
    EXPECT_TRUE(meeting.server->buffered());
    EXPECT_EQ(meeting.server->read(heard).count, 3u);
    EXPECT_EQ(meeting.server->read(heard).count, 3u);
    EXPECT_FALSE(meeting.server->buffered());
    EXPECT_EQ(meeting.server->read(heard).kind, Read::Kind::nothing);
}

TEST(certificate, is_the_one_of_the_name_that_the_client_asks_for) {
    Authority authority;
    ServerSettings settings{
        .name = "test",
        .policy = {},
        .credentials = {Authority::load(authority.issue("first", "DNS:a.org")),
                        Authority::load(authority.issue("second", "DNS:b.org,DNS:*.c.org"))}};
    const auto server = server_of(std::move(settings));
    const std::vector<std::pair<std::string, std::string>> expected{
        {"a.org", "first"}, {"b.org", "second"}, {"x.c.org", "second"}, {"unknown.org", "first"}};
    for (const auto& [asked, shown] : expected) {
        const auto client = client_of({.policy = {}, .verify = false, .server_name = asked});
        Meeting meeting(*server, *client);
        ASSERT_TRUE(meeting.good());
        EXPECT_EQ(meeting.client->peer_common_name(), shown) << asked;
    }
}

TEST(keys_of_both_kinds, serve_clients_that_know_only_one) {
    Authority authority;
    const auto server =
        server_of({.name = "test",
                   .policy = {},
                   .credentials = {Authority::load(authority.issue("ec", "DNS:a.org")),
                                   Authority::load(authority.issue("rsa", "DNS:a.org", "RSA"))}});
    const std::vector<std::pair<std::string, std::string>> expected{{"ECDHE-RSA-AES128-GCM-SHA256", "rsa"},
                                                                    {"ECDHE-ECDSA-AES128-GCM-SHA256", "ec"}};
    for (const auto& [cipher, shown] : expected)
        for (const auto* name : {"a.org", "nobody.org"})
            EXPECT_EQ(shown_to_old_client(*server, cipher, name), shown) << cipher << " " << name;
}

TEST(unknown_name, is_refused_where_names_are_strict) {
    Authority authority;
    const auto server = server_of({.name = "test",
                                   .policy = {},
                                   .credentials = {Authority::load(authority.issue("a", "DNS:a.org"))},
                                   .strict_names = true});
    const auto client = client_of({.policy = {}, .verify = false, .server_name = "b.org"});
    Meeting meeting(*server, *client);
    EXPECT_EQ(meeting.steps.first, Step::failed);
    EXPECT_EQ(meeting.server->failure().reason, LIMPET_REASON_CLOSE_TLS_NAME);
    EXPECT_NE(meeting.server->failure().detail.find("b.org"), std::string::npos);
}

TEST(client_certificate, is_required_judged_and_known) {
    Authority authority;
    Authority stranger;
    const auto server = server_of({.name = "test",
                                   .policy = {},
                                   .credentials = {Authority::load(authority.issue("a"))},
                                   .verify = Verify::required,
                                   .authorities = authority.authorities()});
    const auto meet = [&](std::shared_ptr<const Credentials> shown) {
        const auto client = client_of({.policy = {}, .verify = false, .credentials = std::move(shown)});
        return std::make_unique<Meeting>(*server, *client);
    };
    const auto good = meet(Authority::load(authority.issue("device-7", "DNS:seven,email:a@b,URI:urn:x")));
    ASSERT_EQ(good->steps.first, Step::done) << good->server->failure().detail;
    PeerCertificate peer;
    ASSERT_TRUE(good->server->peer_certificate(peer));
    EXPECT_EQ(peer.common_name, "device-7");
    EXPECT_EQ(peer.dns_names, std::vector<std::string>{"seven"});
    EXPECT_EQ(peer.emails, std::vector<std::string>{"a@b"});
    EXPECT_EQ(peer.uris, std::vector<std::string>{"urn:x"});
    EXPECT_EQ(peer.fingerprint.size(), 64u);
    EXPECT_EQ(meet(nullptr)->server->failure().reason, LIMPET_REASON_CLOSE_TLS_NO_CERTIFICATE);
    EXPECT_EQ(meet(Authority::load(stranger.issue("device-7")))->server->failure().reason,
              LIMPET_REASON_CLOSE_TLS_CERTIFICATE);
    const auto late = meet(Authority::load(authority.issue("device-8", "", "EC", -60)));
    EXPECT_EQ(late->server->failure().reason, LIMPET_REASON_CLOSE_TLS_CERTIFICATE);
    EXPECT_EQ(late->server->failure().detail, "certificate has expired");
}

TEST(broker_certificate, must_be_of_the_authority_and_of_the_name) {
    Authority authority;
    Authority stranger;
    const auto server =
        server_of({.name = "test",
                   .policy = {},
                   .credentials = {Authority::load(authority.issue("x", "DNS:a.org,IP:192.0.2.1"))}});
    const auto meet = [&](ClientSettings settings) {
        const auto client = client_of(std::move(settings));
        return Meeting(*server, *client).steps.second;
    };
    EXPECT_EQ(meet({.policy = {}, .authorities = authority.authorities(), .server_name = "a.org"}),
              Step::done);
    EXPECT_EQ(meet({.policy = {}, .authorities = authority.authorities()}), Step::done) << "by its address";
    EXPECT_EQ(meet({.policy = {}, .authorities = authority.authorities(), .server_name = "b.org"}),
              Step::failed);
    EXPECT_EQ(meet({.policy = {}, .authorities = stranger.authorities(), .server_name = "a.org"}),
              Step::failed);
}

TEST(key_file, is_refused_with_what_is_wrong_with_it) {
    Authority authority;
    const auto made = authority.issue("a");
    const auto other = authority.issue("b");
    EXPECT_FALSE(read_chain("/nowhere/server.pem"));
    EXPECT_NE(read_key(made.certificate).error().what.find("no private key"), std::string::npos);
    EXPECT_NE(read_chain(made.key).error().what.find("no certificate"), std::string::npos);
    const auto chain = read_chain(made.certificate);
    const auto key = read_key(other.key);
    ASSERT_TRUE(chain && key);
    EXPECT_FALSE(check_pair(**chain, *key));
    EXPECT_FALSE(read_chain(authority.write("empty.pem", "")));
    EXPECT_FALSE(read_chain(
        authority.write("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")));
    EXPECT_FALSE(check_ciphers("NO-SUCH-CIPHER"));
    EXPECT_FALSE(check_ciphersuites("NO_SUCH_SUITE"));
    EXPECT_FALSE(check_groups("no-such-group"));
}

}  // namespace
}  // namespace limpet::tls::test
