// SPDX-License-Identifier: Apache-2.0
// The control socket and its client, over a real socket.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "admin/client.h"
#include "admin/control.h"
#include "fake_verbs.h"
#include "sockets.h"

namespace limpet::admin::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Control : public ServerTest {};

TEST_F(Control, every_verb_reaches_the_daemon_with_its_arguments) {
    start();
    EXPECT_EQ(*request(path_, "status", Json::object()), Json::parse(R"({"version":"1"})"));
    EXPECT_EQ(*request(path_, "brokers", Json()), Json::parse(R"([{"name":"b1"}])"));
    EXPECT_EQ(*request(path_, "flows_count", Json::object()), Json::parse(R"({"count":7})"));
    EXPECT_EQ(*request(path_, "flows", Json{{"client_id", "c"}, {"broker", "b"}, {"limit", 5}}),
              Json::parse(R"([{"client_id":"x"}])"));
    EXPECT_EQ(*request(path_, "flows_kill", Json{{"client_id", "c"}}), Json::parse(R"({"killed":3})"));
    EXPECT_EQ(*request(path_, "lookup", Json{{"client_id", "é \"\n"}, {"pool", "p"}}),
              Json::parse(R"({"client_id":"é \"\n","pool":"p"})"));
    EXPECT_EQ(*request(path_, "ready", Json::object()), Json::parse(R"({"ready":true})"));
    EXPECT_THAT(verbs_.asked(), ElementsAre("count - - 0", "flows c b 5", "kill c - 0"));
}

TEST_F(Control, an_error_of_the_daemon_comes_back_with_its_advice) {
    start();
    const auto lookup = request(path_, "lookup", Json{{"client_id", "c"}, {"pool", "none"}});
    ASSERT_FALSE(lookup);
    EXPECT_EQ(lookup.error().what, "no pool \"none\"");
    EXPECT_EQ(lookup.error().advice, "name one of main");
    const auto reload = request(path_, "reload", Json::object());
    ASSERT_FALSE(reload);
    EXPECT_EQ(reload.error().what, "f.toml:1:2: wrong\nf.toml:3:4: wrong too") << "every line of it";
}

TEST_F(Control, killing_without_saying_which_is_refused) {
    start();
    const auto kill = request(path_, "flows_kill", Json::object());
    ASSERT_FALSE(kill);
    EXPECT_EQ(kill.error().what, "nothing says which flows to end");
    EXPECT_THAT(verbs_.asked(), ElementsAre()) << "the daemon must not even be asked";
    EXPECT_TRUE(request(path_, "flows_kill", Json{{"all", true}}));
}

TEST_F(Control, wrong_requests_are_answered_and_the_connection_goes_on) {
    start();
    BareClient client(path_);
    const std::vector<std::pair<std::string, std::string>> table{
        {"nonsense", "the request is no JSON object with a verb"},
        {"[]", "the request is no JSON object with a verb"},
        {"{\"verb\":5}", "the request is no JSON object with a verb"},
        {"{\"verb\":\"statsu\"}", "unknown verb \"statsu\""},
        {"{\"verb\":\"status\",\"args\":{\"x\":1}}", "unknown argument \"x\""},
        {"{\"verb\":\"status\",\"args\":[]}", "\"args\" must be an object"},
        {"{\"verb\":\"flows\",\"args\":{\"limit\":-1}}", "\"limit\" must be a whole number, 0 or more"},
        {"{\"verb\":\"flows\",\"args\":{\"client_id\":1}}", "\"client_id\" must be a string"},
        {"{\"verb\":\"lookup\",\"args\":{}}", "lookup needs a client_id"},
        {std::string(60000, '['), "the request is no JSON object with a verb"}};
    for (const auto& [question, error] : table) {
        client.send(question + "\n");
        const auto answer = Json::parse(client.line());
        EXPECT_EQ(answer["ok"], false) << question;
        EXPECT_EQ(answer["error"], error) << question;
        EXPECT_FALSE(answer["advice"].get<std::string>().empty()) << "what to do about it: " << question;
    }
    client.send("{\"verb\":\"ready\"}\n{\"verb\":\"ready\"}\n");
    EXPECT_EQ(client.line(), R"({"ok":true,"data":{"ready":true}})");
    EXPECT_EQ(client.line(), R"({"ok":true,"data":{"ready":true}})") << "two requests in one piece are two";
}

TEST_F(Control, what_a_verb_throws_stays_inside) {
    start();
    verbs_.broken = true;
    const auto status = request(path_, "status", Json::object());
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().what, "the daemon could not answer: out of order");
    EXPECT_TRUE(request(path_, "brokers", Json::object())) << "and the server goes on";
}

TEST_F(Control, a_request_without_end_costs_a_bounded_amount) {
    start();
    BareClient client(path_);
    client.send(std::string(70 * 1024, 'x'));
    EXPECT_THAT(client.rest(), HasSubstr("the request is longer than 65536 bytes"));
    EXPECT_FALSE(client.timed_out()) << "such a client is closed, not kept";
}

TEST_F(Control, an_answer_larger_than_any_buffer_arrives_whole) {
    verbs_.padding = 20'000'000;
    start();
    const auto flows = request(path_, "flows", Json::object());
    ASSERT_TRUE(flows) << flows.error().line();
    EXPECT_EQ((*flows)[0]["client_id"].get<std::string>().size(), 20'000'000U);
}

TEST_F(Control, slow_clients_are_closed_at_the_deadline) {
    Limits limits;
    limits.deadline = 50ms;
    verbs_.padding = 20'000'000;
    start(limits);
    BareClient silent(path_);
    BareClient half(path_);
    half.send("{\"verb\":");
    BareClient deaf(path_);
    deaf.send("{\"verb\":\"flows\"}\n");  // asks for much and takes nothing
    EXPECT_EQ(silent.rest(), "");
    EXPECT_EQ(half.rest(), "");
    EXPECT_FALSE(silent.timed_out() || half.timed_out()) << "the server must close them";
    EXPECT_TRUE(deaf.closed_by_peer()) << "an answer that nobody takes must not be kept for ever";
    EXPECT_LT(deaf.rest().size(), 20'000'000U);
}

TEST_F(Control, one_client_too_many_is_told_so) {
    Limits limits;
    limits.clients = 2;
    start(limits);
    BareClient first(path_);
    BareClient second(path_);
    for (auto* client : {&first, &second}) {
        client->send("{\"verb\":\"ready\"}\n");
        EXPECT_THAT(client->line(), HasSubstr("\"ok\":true"));
    }
    const auto third = request(path_, "ready", Json::object());
    ASSERT_FALSE(third);
    EXPECT_EQ(third.error().what, "too many clients ask at once");
    first.half_close();
    EXPECT_EQ(first.rest(), "");
    EXPECT_TRUE(request(path_, "ready", Json::object())) << "a place that was left is free again";
}

TEST_F(Control, the_socket_is_for_its_owner_and_its_folder_is_made) {
    start();
    struct stat about{};
    ASSERT_EQ(::stat(path_.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777, 0600U);
    ASSERT_EQ(::stat((folder_ + "/run").c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777, 0755U);
}

TEST_F(Control, a_living_daemons_socket_is_left_alone) {
    start();
    boost::asio::io_context other_io;
    Server other(other_io, verbs_);
    const auto second = other.listen_control(path_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().line(),
              "a daemon answers at " + path_ + " already: stop that daemon, or give this one another socket");
    other.stop();
    EXPECT_TRUE(request(path_, "ready", Json::object())) << "the first one must still be there";
}

TEST_F(Control, a_stale_socket_is_replaced_and_our_own_is_removed_at_the_end) {
    std::filesystem::create_directories(folder_ + "/run");
    {
        const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    start();
    EXPECT_TRUE(request(path_, "ready", Json::object()));
    stop();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Control, a_socket_that_somebody_else_put_in_our_place_is_not_removed) {
    start();
    std::filesystem::remove(path_);
    std::ofstream(path_) << "another's";
    stop();
    EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(Control, what_is_no_socket_is_not_removed) {
    std::filesystem::create_directories(folder_ + "/run");
    std::ofstream(path_) << "precious";
    Server server(io_, verbs_);
    const auto listening = server.listen_control(path_);
    ASSERT_FALSE(listening);
    EXPECT_EQ(listening.error().line(),
              path_ + " is there and is no socket: remove it, or name another socket");
    EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(Control, stopping_closes_whoever_is_inside) {
    start();
    BareClient idle(path_);
    idle.send("{\"verb\":\"ready\"}\n");
    EXPECT_THAT(idle.line(), HasSubstr("ready"));
    stop();
    EXPECT_EQ(idle.rest(), "");
    EXPECT_FALSE(idle.timed_out());
}

TEST(Client, without_a_daemon_it_says_how_to_start_one) {
    const auto answer = request("/tmp/limpet-no-such.sock", "status", Json::object());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().line(),
              "no daemon answers at /tmp/limpet-no-such.sock: start one with `limpet serve`, or name its "
              "socket with "
              "--socket");
    EXPECT_FALSE(request(std::string(200, 'x'), "status", Json::object()))
        << "a path that no socket can have";
}

// Something listens, and is no daemon.
class OddDaemon : public ServerTest {
  protected:
    void SetUp() override {
        ServerTest::SetUp();
        path_ = folder_ + "/odd.sock";
        listener_.reset(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path_.copy(address.sun_path, sizeof address.sun_path - 1);
        ASSERT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        ASSERT_EQ(::listen(listener_.get(), 1), 0);
    }
    // Accepts one client, reads its question, says this and closes.
    std::thread answer(std::string text) {
        return std::thread([this, text = std::move(text)] {
            const Fd client(::accept(listener_.get(), nullptr, nullptr));
            char buffer[1024];
            EXPECT_GT(::recv(client.get(), buffer, sizeof buffer, 0), 0);
            EXPECT_EQ(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
        });
    }
    Fd listener_;
};

TEST_F(OddDaemon, that_never_answers_is_given_up) {
    const auto answer = request(path_, "status", Json::object(), 50ms);
    ASSERT_FALSE(answer);
    EXPECT_THAT(answer.error().what, HasSubstr("does not answer within 50 ms"));
}

TEST_F(OddDaemon, that_speaks_something_else_is_named) {
    for (const auto* text : {"HTTP/1.1 400 Bad Request\r\n\r\n", "{}\n", "{\"ok\":true}\n", "[1]\n"}) {
        auto thread = answer(text);
        const auto got = request(path_, "status", Json::object());
        thread.join();
        ASSERT_FALSE(got) << text;
        EXPECT_THAT(got.error().what, HasSubstr("does not speak as a limpet daemon")) << text;
    }
}

TEST_F(OddDaemon, that_leaves_in_the_middle_is_named) {
    auto thread = answer("{\"ok\":tr");
    const auto got = request(path_, "status", Json::object());
    thread.join();
    ASSERT_FALSE(got);
    EXPECT_THAT(got.error().what, HasSubstr("went away before it had answered"));
}

}  // namespace
}  // namespace limpet::admin::test
