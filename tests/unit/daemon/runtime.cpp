// SPDX-License-Identifier: Apache-2.0
// A whole daemon in mode relay, asked and reloaded as the admin room does it.
#include "daemon/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"

namespace limpet::daemon {
namespace {

using admin::Json;
using testing::HasSubstr;

/// A port of loopback that is free now. Nobody else is likely to take it while it is not bound.
std::uint16_t free_port() {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const auto length = Endpoint::parse("127.0.0.1:0")->to_sockaddr(storage);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    return local_endpoint(socket.get())->port;
}

bool accepts(std::uint16_t port) {
    const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const auto length = Endpoint::parse("127.0.0.1:" + std::to_string(port))->to_sockaddr(storage);
    return ::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
}

class RuntimeTest : public testing::Test {
  protected:
    RuntimeTest() {
        spdlog::set_level(spdlog::level::off);
        std::filesystem::create_directories(folder);
    }
    ~RuntimeTest() override {
        if (runtime) runtime->stop();
        std::filesystem::remove_all(folder);
    }
    void write(const std::string& listeners, const std::string& brokers, const std::string& more = "") const {
        std::ofstream(path) << more << "[dataplane]\nmode = \"relay\"\n"
                            << listeners << "[[pool]]\nname = \"main\"\n"
                            << brokers;
    }
    static std::string listener(const std::string& name, std::uint16_t at) {
        return "[[listener]]\nname = \"" + name + "\"\naddress = \"127.0.0.1:" + std::to_string(at) +
               "\"\npool = \"main\"\n";
    }
    static std::string broker(const std::string& name, const std::string& address, int weight = 1) {
        return "[[pool.broker]]\nname = \"" + name + "\"\naddress = \"" + address +
               "\"\nweight = " + std::to_string(weight) + "\n";
    }
    void start() {
        auto loaded = config::load_file(path);
        ASSERT_TRUE(loaded.ok()) << loaded.problems.front().line();
        loaded.config.daemon.state_file = folder + "/sticks";
        runtime = std::make_unique<Runtime>(loaded.config, path, false);
        const auto started = runtime->start();
        ASSERT_TRUE(started) << started.error().line();
    }

    const std::string folder = testing::TempDir() + "limpet-runtime-" + std::to_string(getpid());
    const std::string path = folder + "/limpet.toml";
    const std::uint16_t port = free_port();
    std::unique_ptr<Runtime> runtime;
};

TEST_F(RuntimeTest, status_has_every_part_that_scripts_read) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    runtime->tick();
    const auto status = *runtime->status();
    EXPECT_TRUE(runtime->ready());
    EXPECT_EQ(status["mode"], "relay");
    EXPECT_EQ(status["pid"], getpid());
    for (const auto* key : {"version", "uptime_seconds", "note", "interfaces", "rates", "hold_microseconds",
                            "source_ports", "reasons"})
        EXPECT_TRUE(status.contains(key)) << key;
    EXPECT_EQ(status["connections"], (Json{{"spliced", 0}, {"relayed", 0}, {"tls", 0}, {"pending", 0}}));
    EXPECT_EQ(status["listeners"][0], (Json{{"name", "mqtt"},
                                            {"address", "127.0.0.1:" + std::to_string(port)},
                                            {"protocol", "mqtt"},
                                            {"pool", "main"},
                                            {"pools", Json::array({"main"})},
                                            {"accepted", 0}}));
    EXPECT_EQ(status["brokers"][0], (Json{{"name", "b1"},
                                          {"address", "127.0.0.1:9"},
                                          {"pool", "main"},
                                          {"state", "up"},
                                          {"weight", 1},
                                          {"connections", 0},
                                          {"chosen", 0},
                                          {"failures", 0},
                                          {"max_connections", 0},
                                          {"healthy", true},
                                          {"share_percent", 100},
                                          {"last_error", ""}}));
    EXPECT_EQ(*runtime->flows_count({}), (Json{{"count", 0}}));
    EXPECT_EQ(*runtime->flows({}), Json::array());
    EXPECT_EQ(*runtime->flows_kill({}), (Json{{"killed", 0}}));
    EXPECT_THAT(runtime->metrics(), HasSubstr("limpet_broker_connections{pool=\"main\",broker=\"b1\"} 0\n"));
}

TEST_F(RuntimeTest, lookup_says_which_broker_and_why) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    EXPECT_EQ(*runtime->lookup("client", std::nullopt), (Json{{"client_id", "client"},
                                                              {"pool", "main"},
                                                              {"broker", "b1"},
                                                              {"address", "127.0.0.1:9"},
                                                              {"why", "hashed"},
                                                              {"connected", false}}));
    EXPECT_THAT(runtime->lookup("client", "none").error().line(), HasSubstr("there is no pool \"none\""));
}

TEST_F(RuntimeTest, reload_applies_pools_and_listeners_and_lists_them) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    const auto second = free_port();
    write(listener("new", second), broker("b1", "127.0.0.1:9", 5) + broker("b2", "127.0.0.1:10"));
    const auto reloaded = runtime->reload();
    ASSERT_TRUE(reloaded) << reloaded.error().line();
    EXPECT_EQ((*reloaded)["changed"],
              (Json{"listener mqtt: removed", "listener new: added", "pool main: broker b1: weight: 1 -> 5",
                    "pool main: broker b2: added"}));
    EXPECT_EQ(runtime->brokers()->size(), 2u);
    EXPECT_EQ((*runtime->brokers())[0]["weight"], 5);
    EXPECT_TRUE(accepts(second));
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (accepts(port) && std::chrono::steady_clock::now() < until) usleep(2000);
    EXPECT_FALSE(accepts(port)) << "the removed listener is closed";
    EXPECT_EQ((*runtime->reload())["changed"], Json::array()) << "and the file is the new state";
}

TEST_F(RuntimeTest, bad_file_changes_nothing_and_every_problem_has_a_line) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    write(listener("mqtt", port), broker("b1", "nowhere") + broker("b2", "127.0.0.1:99999"));
    const auto reloaded = runtime->reload();
    ASSERT_FALSE(reloaded);
    EXPECT_THAT(reloaded.error().what, HasSubstr("limpet.toml:11:11: address:"));
    EXPECT_THAT(reloaded.error().what, HasSubstr("\n")) << "a line for each problem";
    EXPECT_EQ(runtime->brokers()->size(), 1u);
    EXPECT_TRUE(accepts(port));
}

TEST_F(RuntimeTest, change_that_needs_a_restart_is_refused_by_name_and_nothing_else_is_applied) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9", 7), "[daemon]\nworkers = 9\n");
    const auto reloaded = runtime->reload();
    ASSERT_FALSE(reloaded);
    EXPECT_THAT(reloaded.error().what, HasSubstr("daemon.workers: 0 -> 9"));
    EXPECT_EQ((*runtime->brokers())[0]["weight"], 1);
}

TEST_F(RuntimeTest, address_that_cannot_be_listened_on_refuses_the_whole_reload) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    const auto good = free_port();
    const Fd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const auto length = Endpoint::parse("127.0.0.1:0")->to_sockaddr(storage);
    ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    ASSERT_EQ(::listen(taken.get(), 1), 0);
    const auto used = local_endpoint(taken.get())->port;
    write(listener("mqtt", port) + listener("good", good) + listener("used", used),
          broker("b1", "127.0.0.1:9", 7));
    const auto reloaded = runtime->reload();
    ASSERT_FALSE(reloaded);
    EXPECT_THAT(reloaded.error().line(), HasSubstr("another program listens there already"));
    EXPECT_EQ((*runtime->brokers())[0]["weight"], 1);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (accepts(good) && std::chrono::steady_clock::now() < until) usleep(2000);
    EXPECT_FALSE(accepts(good)) << "what was opened before the failure is closed again";
    EXPECT_TRUE(accepts(port));
}

TEST_F(RuntimeTest, brokers_are_changed_while_it_runs) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    start();
    ASSERT_TRUE(runtime->brokers_add({{"b2", std::nullopt}, "127.0.0.1:10", 3, std::nullopt}));
    const auto weighed = runtime->brokers_weight({"b1", "main"}, 5);
    ASSERT_TRUE(weighed) << weighed.error().line();
    EXPECT_EQ((*weighed)["changed"], (Json{"pool main: broker b1: weight: 1 -> 5"}));
    ASSERT_TRUE(runtime->brokers_maxconn({"b1", std::nullopt}, 7));
    const auto brokers = *runtime->brokers();
    ASSERT_EQ(brokers.size(), 2u);
    EXPECT_EQ(brokers[0]["weight"], 5);
    EXPECT_EQ(brokers[0]["max_connections"], 7);
    EXPECT_EQ(brokers[1]["weight"], 3);
    ASSERT_TRUE(runtime->brokers_remove({"b1", std::nullopt}));
    EXPECT_EQ(runtime->lookup("any", std::nullopt)->at("broker"), "b2");
    const auto reloaded = runtime->reload();
    ASSERT_TRUE(reloaded) << reloaded.error().line();
    EXPECT_EQ((*reloaded)["changed"], (Json{"pool main: broker b2: removed", "pool main: broker b1: added"}))
        << "the file is in force again, and says so";
}

TEST_F(RuntimeTest, wrong_changes_of_brokers_are_refused_and_change_nothing) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9") + broker("b2", "127.0.0.1:10"));
    start();
    const auto before = *runtime->brokers();
    const auto add = [&](const char* name, const char* address, std::optional<std::uint64_t> weight = {},
                         std::optional<std::string> pool = {}) {
        return runtime->brokers_add({{name, pool}, address, weight, {}});
    };
    const std::vector<std::pair<Result<Json>, std::string>> table{
        {add("b1", "127.0.0.1:11"), "pool \"main\" has a broker \"b1\" already"},
        {add("b3", "127.0.0.1:9"), "127.0.0.1:9 is broker \"b1\" of pool \"main\" already"},
        {add("b3", "nonsense"), "address: "},
        {add("b3", "127.0.0.1:11", 0), "weight 0 is out of range"},
        {add("b3", "127.0.0.1:11", 65536), "weight 65536 is out of range"},
        {add("", "127.0.0.1:11"), "name: the name is empty"},
        {add("b3", "127.0.0.1:11", 1, "mian"), "did you mean \"main\"?"},
        {runtime->brokers_weight({"b1", {}}, 0),
         "it must be from 1 to 65535: to keep new clients away drain"},
        {runtime->brokers_weight({"b9", {}}, 1), "there is no broker \"b9\": did you mean \"b1\"?"},
        {runtime->brokers_maxconn({"b1", {}}, 1'000'000'000), "max_connections 1000000000 is out of range"},
        {runtime->brokers_drain({"b1", {}}, {.per_second = 1e9, .deadline = {}}), "is out of range"},
        {runtime->brokers_drain({"b1", {}}, {.per_second = {}, .deadline = std::chrono::seconds{0}}),
         "a deadline of 0 seconds"},
        {runtime->brokers_rebalance({"none", {}, {}}), "there is no pool \"none\""},
        {runtime->brokers_rebalance({{}, 99, {}}), "a tolerance of 99"},
        {runtime->brokers_cancel("b1", {}), "broker \"b1\" is not drained"},
        {runtime->brokers_cancel({}, {}), "nothing is rebalanced now"}};
    for (const auto& [answer, message] : table) {
        ASSERT_FALSE(answer) << message;
        EXPECT_THAT(answer.error().line(), HasSubstr(message));
        EXPECT_NE(answer.error().number, 0) << "HTTP needs to know which status this is: " << message;
    }
    EXPECT_EQ(*runtime->brokers(), before);
}

TEST_F(RuntimeTest, a_drained_broker_takes_nobody_until_it_is_enabled_and_the_last_one_is_never_drained) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9") + broker("b2", "127.0.0.1:10"));
    start();
    const auto drain = runtime->brokers_drain({"b1", {}}, {});
    ASSERT_TRUE(drain) << drain.error().line();
    EXPECT_EQ((*drain)["kind"], "drain");
    EXPECT_EQ((*drain)["per_second"], 100);
    for (const auto* client : {"a", "b", "c", "d", "e", "f"})
        EXPECT_EQ(runtime->lookup(client, std::nullopt)->at("broker"), "b2");
    EXPECT_THAT(runtime->brokers_drain({"b2", {}}, {}).error().line(), HasSubstr("is the last broker"));
    EXPECT_EQ((*runtime->brokers())[0]["state"], "draining");
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while ((*runtime->brokers_moves())[0]["state"] != "done" && std::chrono::steady_clock::now() < until)
        usleep(2000);
    EXPECT_EQ((*runtime->brokers_moves())[0]["state"], "done") << "it has no connections";
    ASSERT_TRUE(runtime->brokers_cancel("b1", {}));
    EXPECT_EQ((*runtime->brokers())[0]["state"], "up");
    EXPECT_EQ(*runtime->brokers_rebalance({}), Json::array()) << "nothing is uneven";
}

TEST_F(RuntimeTest, what_is_remembered_is_shown_set_cleared_and_survives_the_daemon) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9") + broker("b2", "127.0.0.1:10"));
    start();
    for (const auto* name : {"a", "b", "c", "d"})
        ASSERT_TRUE(runtime->stick_set({name, "b2", {}, std::chrono::seconds{1000}}));
    EXPECT_EQ(runtime->lookup("a", std::nullopt)->at("why"), "remembered");
    EXPECT_EQ(*runtime->stick_clear({"d", {}, {}}), (Json{{"cleared", 1}}));
    runtime->stop();
    runtime.reset();
    start();
    EXPECT_EQ(runtime->stick_list({})->size(), 3u);
    EXPECT_EQ(runtime->stick_list({{}, "b2", 2})->size(), 2u);
    EXPECT_EQ(runtime->stick_list({{}, "b1", 0})->size(), 0u);
    const auto shown = *runtime->stick_show("a", std::nullopt);
    EXPECT_EQ(shown["broker"], "b2");
    EXPECT_EQ(shown["connected"], false);
    EXPECT_NEAR(shown["expires_in_seconds"].get<double>(), 1000, 100);
    EXPECT_EQ(runtime->stick_show("d", std::nullopt).error().number, ENOENT);
    EXPECT_EQ(*runtime->stick_clear({{}, "b2", {}}), (Json{{"cleared", 3}}));
    EXPECT_FALSE(runtime->stick_set({"a", "b9", {}, {}}));
    EXPECT_FALSE(runtime->stick_set({"", "b1", {}, {}}));
    EXPECT_FALSE(runtime->stick_set({"a", "b1", {}, std::chrono::seconds{0}}));
    EXPECT_FALSE(runtime->stick_set({"a", "b1", "none", {}}));
    EXPECT_FALSE(runtime->stick_show("a", "none"));
}

TEST_F(RuntimeTest, daemon_without_a_file_says_that_it_cannot_reload) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    auto loaded = config::load_file(path);
    loaded.config.daemon.state_file = folder + "/sticks";
    runtime = std::make_unique<Runtime>(loaded.config, "", false);
    ASSERT_TRUE(runtime->start());
    EXPECT_THAT(runtime->reload().error().line(), HasSubstr("without a configuration file"));
}

TEST_F(RuntimeTest, values_that_flags_set_on_top_of_the_file_do_not_stand_in_a_reloads_way) {
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9"));
    auto loaded = config::load_file(path);
    loaded.config.daemon.workers = 1;
    loaded.config.daemon.state_file = folder + "/sticks";
    runtime = std::make_unique<Runtime>(loaded.config, path, false);
    ASSERT_TRUE(runtime->start());
    write(listener("mqtt", port), broker("b1", "127.0.0.1:9", 2));
    const auto reloaded = runtime->reload();
    ASSERT_TRUE(reloaded) << reloaded.error().line();
    EXPECT_EQ((*reloaded)["changed"].size(), 1u);
}

TEST_F(RuntimeTest, start_that_cannot_listen_says_where_and_why) {
    write("[[listener]]\nname = \"far\"\naddress = \"192.0.2.9:1883\"\npool = \"main\"\n",
          broker("b1", "127.0.0.1:9"));
    auto loaded = config::load_file(path);
    loaded.config.daemon.state_file = folder + "/sticks";
    runtime = std::make_unique<Runtime>(loaded.config, path, false);
    const auto started = runtime->start();
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().line(), HasSubstr("192.0.2.9:1883"));
    EXPECT_FALSE(runtime->ready());
    runtime.reset();
}

}  // namespace
}  // namespace limpet::daemon
