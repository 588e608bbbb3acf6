// SPDX-License-Identifier: Apache-2.0
// The whole command line in one process: arguments in; output, errors and exit status out. Commands that ask
// a daemon ask a real control socket.
#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "../admin/fake_verbs.h"
#include "../admin/sockets.h"
#include "cli/cli.h"

namespace limpet::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
    int status = 0;
    std::string out;
    std::string err;
};

Outcome limpet(std::vector<std::string> arguments) {
    std::vector<const char*> argv{"limpet"};
    for (const auto& argument : arguments) argv.push_back(argument.c_str());
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    Outcome outcome;
    outcome.status = run(static_cast<int>(argv.size()), argv.data(), in, out, err);
    outcome.out = out.str();
    outcome.err = err.str();
    return outcome;
}

TEST(Usage, mistakes_have_status_2_and_say_what_to_do) {
    const std::vector<std::vector<std::string>> table{
        {},
        {"sevre"},
        {"serve", "--lisen", "10.0.0.1:1883"},
        {"serve", "--workers", "many"},
        {"check"},
        {"lookup"},
        {"flows", "--limit", "-1"},
        {"flows", "count", "--limit", "5"},
        {"--socket", "/tmp/x", "check", "-c", "f"},
        {"-j", "serve"},
        {"top", "--interval", "0"},
        {"top", "--count", "0"},
        {"bench", "--flows", "0"},
        {"features", "--socket", "/tmp/x"},
        {"brokers", "drain"},
        {"brokers", "drian", "b1"},
        {"brokers", "drain", "b1", "--rate", "fast"},
        {"brokers", "drain", "b1", "--deadline", "soon"},
        {"brokers", "weight", "b1"},
        {"brokers", "weight", "b1", "heavy"},
        {"brokers", "add", "b1"},
        {"brokers", "rebalance", "--tolerance", "much"},
        {"stick", "show"},
        {"stick", "set", "c"},
        {"stick", "set", "c", "b1", "--ttl", "long"},
        {"serve"},
        {"serve", "--listen", "10.0.0.1:1883"},
        {"serve", "--broker", "10.0.0.1:1883"},
        {"serve", "-c", "f", "--listen", "10.0.0.1:1883"},
        {"serve", "-c", "f", "--strategy", "hash"},
        {"serve", "--listen", "nowhere", "--broker", "10.0.0.2:1883"}};
    for (const auto& arguments : table) {
        const auto outcome = limpet(arguments);
        const auto shown = ::testing::PrintToString(arguments);
        EXPECT_EQ(outcome.status, status_usage) << shown;
        EXPECT_EQ(outcome.out, "") << shown;
        EXPECT_THAT(outcome.err, AllOf(StartsWith("limpet: "), HasSubstr(": "), EndsWith("\n"))) << shown;
        EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << shown << outcome.err;
    }
}

TEST(Usage, words_that_were_probably_meant_are_named) {
    EXPECT_THAT(limpet({"sttaus"}).err,
                StartsWith("limpet: the command \"sttaus\" is unknown: did you mean \"status\"?"));
    EXPECT_EQ(limpet({"flows", "--limit", "-1"}).err,
              "limpet: --limit: it must be 0 or more: see `limpet flows --help`\n");
    EXPECT_EQ(limpet({"check", "-c", ""}).err,
              "limpet: --config: the name is empty: see `limpet check --help`\n");
}

TEST(Usage, every_command_has_help) {
    for (const std::vector<std::string>& command : {std::vector<std::string>{},
                                                    {"serve"},
                                                    {"detach"},
                                                    {"check"},
                                                    {"features"},
                                                    {"status"},
                                                    {"brokers"},
                                                    {"brokers", "add"},
                                                    {"brokers", "remove"},
                                                    {"brokers", "enable"},
                                                    {"brokers", "weight"},
                                                    {"brokers", "maxconn"},
                                                    {"brokers", "drain"},
                                                    {"brokers", "rebalance"},
                                                    {"brokers", "moves"},
                                                    {"flows"},
                                                    {"flows", "list"},
                                                    {"flows", "count"},
                                                    {"flows", "show"},
                                                    {"flows", "kill"},
                                                    {"lookup"},
                                                    {"stick"},
                                                    {"stick", "list"},
                                                    {"stick", "show"},
                                                    {"stick", "set"},
                                                    {"stick", "clear"},
                                                    {"decode"},
                                                    {"reload"},
                                                    {"top"},
                                                    {"trace"},
                                                    {"bench"},
                                                    {"version"}}) {
        auto arguments = command;
        arguments.emplace_back("--help");
        const auto outcome = limpet(arguments);
        EXPECT_EQ(outcome.status, 0) << ::testing::PrintToString(command);
        EXPECT_THAT(outcome.out, HasSubstr("Usage: ")) << ::testing::PrintToString(command);
        EXPECT_EQ(outcome.err, "");
    }
}

TEST(Usage, the_version_is_printed_both_ways) {
    EXPECT_EQ(limpet({"version"}).out, "limpet " LIMPET_VERSION "\n");
    EXPECT_EQ(limpet({"--version"}).out, "limpet " LIMPET_VERSION "\n");
    EXPECT_EQ(limpet({"version", "--json"}).out, "{\"version\":\"" LIMPET_VERSION "\"}\n");
}

class Files : public ::testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/limpet-cli-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        folder_ = name;
        good_ = folder_ + "/good.toml";
        bad_ = folder_ + "/bad.toml";
        const std::string text =
            "[[listener]]\nname = \"m\"\naddress = \"10.0.0.1:1883\"\npool = \"p\"\n[[pool]]\nname = \"p\"\n"
            "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.2:1883\"\n";
        std::ofstream(good_) << text;
        std::ofstream(bad_) << text << "wieght = 1\n[admin]\nhttp = 1\n";
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string folder_;
    std::string good_;
    std::string bad_;
};

TEST_F(Files, check_says_ok_or_every_problem_at_its_place) {
    const auto good = limpet({"check", "-c", good_});
    EXPECT_EQ(good.status, status_ok);
    EXPECT_EQ(good.out, good_ + ": ok\n");
    EXPECT_EQ(good.err, "");
    const auto bad = limpet({"check", "--config", bad_});
    EXPECT_EQ(bad.status, status_failed);
    EXPECT_EQ(bad.out, "");
    EXPECT_EQ(bad.err, bad_ + ":10:1: unknown key \"wieght\": did you mean \"weight\"?\n" + bad_ +
                           ":12:8: http: it must be a string, not a whole number\n");
}

TEST_F(Files, check_speaks_json_too) {
    const auto bad = limpet({"check", "-c", bad_, "-j"});
    EXPECT_EQ(bad.status, status_failed) << "the status is the same for scripts that read JSON";
    EXPECT_EQ(bad.err, "");
    const auto answer = admin::Json::parse(bad.out);
    EXPECT_EQ(answer["ok"], false);
    ASSERT_EQ(answer["problems"].size(), 2U);
    EXPECT_EQ(answer["problems"][0]["line"], 10);
    EXPECT_EQ(answer["problems"][0]["column"], 1);
    EXPECT_EQ(answer["problems"][0]["message"], "unknown key \"wieght\": did you mean \"weight\"?");
    EXPECT_EQ(admin::Json::parse(limpet({"check", "-c", good_, "-j"}).out)["ok"], true);
}

TEST_F(Files, serve_refuses_a_bad_file_with_all_its_problems) {
    const auto bad = limpet({"serve", "-c", bad_});
    EXPECT_EQ(bad.status, status_failed);
    EXPECT_THAT(bad.err,
                AllOf(StartsWith(bad_ + ":10:1: unknown key"), HasSubstr("\n" + bad_ + ":12:8: http: "),
                      EndsWith("\nlimpet: " + bad_ +
                               " has 2 problems, nothing was started: mend the file "
                               "and start again\n")));
}

class Asking : public admin::test::ServerTest {
  protected:
    Outcome ask(std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"--socket", path_});
        return limpet(arguments);
    }
};

TEST_F(Asking, json_is_the_daemons_own_words_on_one_line) {
    start();
    EXPECT_EQ(ask({"flows", "count", "--json"}).out, "{\"count\":7}\n") << "the contract's literal";
    EXPECT_EQ(ask({"status", "-j"}).out, "{\"version\":\"1\"}\n");
    EXPECT_EQ(ask({"brokers", "-j"}).out, "[{\"name\":\"b1\"}]\n");
    EXPECT_EQ(ask({"brokers", "list", "-j"}).out, "[{\"name\":\"b1\"}]\n");
    EXPECT_EQ(ask({"lookup", "c", "-j"}).out, "{\"client_id\":\"c\",\"pool\":\"main\"}\n");
    EXPECT_EQ(ask({"flows", "kill", "--all", "-j"}).out, "{\"killed\":3}\n");
}

TEST_F(Asking, the_socket_and_json_may_stand_in_front_of_the_command) {
    start();
    const auto outcome = limpet({"--socket", path_, "--json", "flows", "count"});
    EXPECT_EQ(outcome.out, "{\"count\":7}\n") << outcome.err;
}

TEST_F(Asking, people_get_text) {
    start();
    EXPECT_EQ(ask({"flows", "count"}).out, "7\n");
    EXPECT_EQ(ask({"flows", "kill", "--client-id", "c"}).out, "3 killed\n");
    EXPECT_THAT(ask({"status"}).out, StartsWith("version       1\npid           -\n"))
        << "what a daemon of another version does not say is a dash";
    EXPECT_THAT(ask({"brokers"}).out, StartsWith("POOL  BROKER  ADDRESS"));
    EXPECT_THAT(ask({"flows", "show", "--client-id", "c"}).out, StartsWith("client id    x\n"));
}

TEST_F(Asking, top_off_a_terminal_shows_one_look_and_ends) {
    start();
    const auto outcome = ask({"top", "--interval", "0.1", "--json"});
    EXPECT_EQ(outcome.status, status_ok) << outcome.err;
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1) << outcome.out;
    EXPECT_THAT(outcome.out, AllOf(StartsWith("{"), HasSubstr("\"status\":{\"version\":\"1\"}")));
    EXPECT_THAT(ask({"top", "-d", "0.1", "-n", "2"}).out, StartsWith("limpet 1, mode -"));
}

TEST_F(Asking, trace_shows_events_as_lines_from_the_moment_it_began) {
    start();
    EXPECT_EQ(ask({"trace", "-n", "1", "dev"}).out, "now  10.0.0.1:5  dev  chosen  b1  hashed\n");
    EXPECT_EQ(ask({"trace", "-n", "1"}).out, "now  10.0.0.1:5  any\\x1b  chosen  b1  hashed\n")
        << "a client id cannot speak to the terminal";
    EXPECT_THAT(ask({"trace", "-n", "1", "--json", "--client-id", "d"}).out,
                AllOf(StartsWith("{"), HasSubstr("\"client_id\":\"d\""), EndsWith("}\n")));
    const auto refused = ask({"trace", "--source", "nowhere"});
    EXPECT_EQ(refused.status, status_failed);
    EXPECT_EQ(refused.err, "limpet: \"nowhere\" is no address: write 192.0.2.1\n");
}

TEST_F(Asking, filters_arrive_with_their_values) {
    start();
    EXPECT_EQ(ask({"flows", "--client-id", "", "--limit", "3"}).status, status_ok);
    EXPECT_EQ(ask({"flows", "list", "--broker", "b1"}).status, status_ok);
    EXPECT_EQ(ask({"flows", "--broker", "b2", "count"}).status, status_ok);
    EXPECT_EQ(ask({"flows", "kill", "--client-id=-odd", "--limit=1"}).status, status_ok);
    EXPECT_THAT(verbs_.asked(), ElementsAre("flows  - 3", "flows - b1 0", "count - b2 0", "kill -odd - 1"))
        << "an empty client id is a filter: it asks for clients without one";
}

TEST_F(Asking, changes_of_brokers_arrive_as_they_were_said) {
    start();
    EXPECT_EQ(ask({"brokers", "add", "b4", "10.0.0.4:1883", "--weight", "3"}).out,
              "pool main: broker b4: added\n");
    EXPECT_EQ(ask({"brokers", "weight", "b1", "7", "--pool", "main"}).out, "weight b1\n");
    EXPECT_EQ(ask({"brokers", "maxconn", "b1", "0", "-j"}).out, "{\"changed\":[\"maxconn b1\"]}\n");
    EXPECT_EQ(ask({"brokers", "enable", "b1"}).status, status_ok);
    EXPECT_EQ(ask({"brokers", "remove", "b1"}).status, status_ok);
    EXPECT_EQ(ask({"brokers", "drain", "b1", "--cancel"}).status, status_ok);
    EXPECT_EQ(ask({"brokers", "rebalance", "--tolerance", "10%", "--rate", "6/m"}).out,
              "nothing to move: every broker is within its share\n");
    const auto nobody = ask({"brokers", "remove", "nobody"});
    EXPECT_EQ(nobody.status, status_failed);
    EXPECT_EQ(nobody.err, "limpet: there is no broker \"nobody\": did you mean \"b1\"?\n");
    EXPECT_THAT(verbs_.asked(),
                ElementsAre("add b4 - 10.0.0.4:1883 3", "weight b1 main 7", "maxconn b1 - 0", "enable b1 - -",
                            "remove b1 - -", "cancel b1 - -", "rebalance - - 0.100000 0.100000 -"));
}

TEST_F(Asking, what_is_remembered_is_shown_and_changed) {
    start();
    EXPECT_EQ(ask({"stick", "list", "--broker", "b1", "--limit", "5"}).out,
              "POOL  KEY               CLIENT ID  BROKER  CONNECTED  EXPIRES IN\n"
              "main  0123456789abcdef  c          b1      no              1m 1s\n");
    EXPECT_THAT(ask({"stick", "show", "c"}).out, StartsWith("client id   c\npool        main\n"));
    EXPECT_EQ(ask({"stick", "show", "nobody"}).err, "limpet: no such client: look again\n");
    EXPECT_EQ(ask({"stick", "set", "c", "b2", "--ttl", "1h", "--pool", "p"}).status, status_ok);
    EXPECT_EQ(ask({"stick", "clear", "c"}).out, "2 cleared\n");
    EXPECT_EQ(ask({"stick", "clear", "--all", "-j"}).out, "{\"cleared\":2}\n");
    EXPECT_EQ(ask({"stick", "clear"}).err,
              "limpet: nothing says what to forget: name a client id or a broker, or say all\n");
    EXPECT_EQ(ask({"stick", "clear", "c", "--broker", "b1"}).status, status_failed);
    EXPECT_THAT(verbs_.asked(), ElementsAre("stick list b1 - 5", "stick set b2 p c 3600", "stick clear - - c",
                                            "stick clear - - -"));
}

TEST_F(Asking, a_drain_is_waited_for_and_shown_in_lines_where_there_is_no_terminal) {
    start();
    const auto outcome = ask({"brokers", "drain", "b1", "--rate", "200/s", "--deadline", "2m"});
    EXPECT_EQ(outcome.status, status_ok) << outcome.err;
    EXPECT_EQ(outcome.out,
              "drain of main/b1: 0 of 10 ended, 100/s, 3s left\n"
              "drain of main/b1: 10 of 10 ended, done after 2s\n");
    EXPECT_THAT(verbs_.asked(), ElementsAre("drain b1 - 200.000000 120"));
    verbs_.looks = 0;
    const auto json = ask({"brokers", "drain", "b1", "--json"});
    EXPECT_EQ(admin::Json::parse(json.out)["state"], "done") << "and only its last word";
    EXPECT_THAT(ask({"brokers", "drain", "b1", "--no-wait"}).out, HasSubstr("0 of 10 ended"));
    EXPECT_THAT(ask({"brokers", "moves"}).out, StartsWith("MOVE   POOL  BROKER  STATE"));
}

TEST_F(Asking, killing_without_a_filter_is_refused) {
    start();
    const auto outcome = ask({"flows", "kill"});
    EXPECT_EQ(outcome.status, status_failed);
    EXPECT_EQ(outcome.err,
              "limpet: nothing says which flows to end: name --client-id or --broker, or say --all\n");
    EXPECT_EQ(ask({"flows", "kill", "--limit", "5"}).status, status_failed) << "any five is nobody's wish";
    EXPECT_THAT(verbs_.asked(), ElementsAre());
}

TEST_F(Asking, a_refused_reload_prints_each_problem_and_what_it_means) {
    start();
    const auto outcome = ask({"reload"});
    EXPECT_EQ(outcome.status, status_failed);
    EXPECT_EQ(
        outcome.err,
        "f.toml:1:2: wrong\nf.toml:3:4: wrong too\n"
        "limpet: the configuration was refused and nothing was changed: mend the file and reload again\n");
}

TEST_F(Asking, an_error_is_one_line_with_advice_and_status_1) {
    start();
    const auto outcome = ask({"lookup", "c", "--pool", "none"});
    EXPECT_EQ(outcome.status, status_failed);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err, "limpet: no pool \"none\": name one of main\n");
}

TEST(Alone, without_a_daemon_every_command_says_so) {
    for (const std::vector<std::string>& command : {std::vector<std::string>{"status"},
                                                    {"brokers"},
                                                    {"flows"},
                                                    {"flows", "count"},
                                                    {"lookup", "c"},
                                                    {"reload"},
                                                    {"top"},
                                                    {"trace"}}) {
        auto arguments = command;
        arguments.insert(arguments.end(), {"--socket", "/tmp/limpet-none.sock"});
        const auto outcome = limpet(arguments);
        EXPECT_EQ(outcome.status, status_failed);
        EXPECT_EQ(
            outcome.err,
            "limpet: no daemon answers at /tmp/limpet-none.sock: start one with `limpet serve`, or name its "
            "socket with --socket\n");
    }
}

TEST(Alone, output_that_cannot_be_written_is_a_failure) {
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    out.setstate(std::ios::badbit);  // as a full disk leaves it
    const char* argv[] = {"limpet", "version"};
    EXPECT_EQ(run(2, argv, in, out, err), status_failed);
    EXPECT_THAT(err.str(), StartsWith("limpet: the output could not be written"));
}

// docs/CLI.md names every command.
TEST(Documentation, every_command_stands_in_the_page_of_the_command_line) {
    std::ifstream file(std::filesystem::path(__FILE__).parent_path() / "../../../docs/CLI.md");
    std::stringstream page;
    page << file.rdbuf();
    for (const auto* command : {"serve",
                                "detach",
                                "check",
                                "features",
                                "status",
                                "brokers",
                                "brokers add",
                                "brokers remove",
                                "brokers enable",
                                "brokers weight",
                                "brokers maxconn",
                                "brokers drain",
                                "brokers rebalance",
                                "brokers moves",
                                "flows",
                                "flows count",
                                "flows show",
                                "flows kill",
                                "lookup",
                                "decode",
                                "reload",
                                "top",
                                "trace",
                                "bench",
                                "version",
                                "stick",
                                "stick list",
                                "stick show",
                                "stick set",
                                "stick clear"})
        EXPECT_THAT(page.str(), HasSubstr(std::string("`limpet ") + command));
}

}  // namespace
}  // namespace limpet::cli
