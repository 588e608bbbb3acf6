// SPDX-License-Identifier: Apache-2.0
// From flags to the configuration that the daemon runs with.
#include "cli/serve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/options.h"

namespace limpet::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Serving serve(std::vector<std::string> arguments) {
    std::vector<const char*> argv{"limpet", "serve"};
    for (const auto& argument : arguments) argv.push_back(argument.c_str());
    Options options;
    std::ostringstream out;
    std::ostringstream err;
    EXPECT_FALSE(read_options(static_cast<int>(argv.size()), argv.data(), options, out, err)) << err.str();
    return make_config(options);
}

TEST(Serve, flags_alone_make_a_whole_configuration) {
    const auto serving =
        serve({"--listen", "10.91.0.1:1883", "--listen", "[::]:1883", "--broker", "10.92.0.11:1883",
               "--broker", "east=[2001:db8::2]:1884", "--broker", "10.92.0.13:1883"});
    ASSERT_THAT(serving.usage, IsEmpty());
    const auto& config = serving.config;
    ASSERT_THAT(config.listeners, SizeIs(2));
    EXPECT_EQ(config.listeners[0].name, "mqtt");
    EXPECT_EQ(config.listeners[0].address.text(), "10.91.0.1:1883");
    EXPECT_EQ(config.listeners[1].name, "mqtt2");
    EXPECT_EQ(config.listeners[1].address.text(), "[::]:1883");
    EXPECT_EQ(config.listeners[1].pool, config.pools.at(0).name);
    const auto& brokers = config.pools[0].brokers;
    ASSERT_THAT(brokers, SizeIs(3));
    EXPECT_EQ(brokers[0].name, "b1");
    EXPECT_EQ(brokers[1].name, "east");
    EXPECT_EQ(brokers[1].address.text(), "[2001:db8::2]:1884");
    EXPECT_EQ(brokers[2].name, "b3");
    EXPECT_EQ(config.admin.http, "127.0.0.1:9883") << "the default stands without a file too";
    EXPECT_EQ(config.pools[0].strategy, config::Strategy::sticky);
    EXPECT_EQ(config.dataplane.mode, config::Mode::automatic);
}

TEST(Serve, every_flag_arrives) {
    const auto serving =
        serve({"--listen",  "10.0.0.1:1",  "--broker",    "10.0.0.2:2", "--mode",      "tc",
               "-i",        "eth0",        "--interface", "eth1",       "--bpffs",     "/mnt/bpf",
               "--socket",  "/tmp/x.sock", "--admin",     "",           "--strategy",  "round_robin",
               "--workers", "3",           "--max-flows", "77",         "--log-level", "debug"});
    ASSERT_THAT(serving.usage, IsEmpty());
    const auto& config = serving.config;
    EXPECT_EQ(config.dataplane.mode, config::Mode::tc);
    EXPECT_THAT(config.dataplane.interfaces, ElementsAre("eth0", "eth1"));
    EXPECT_EQ(config.dataplane.bpffs, "/mnt/bpf");
    EXPECT_EQ(config.daemon.socket, "/tmp/x.sock");
    EXPECT_EQ(config.admin.http, "") << "an empty --admin turns it off";
    EXPECT_EQ(config.pools[0].strategy, config::Strategy::round_robin);
    EXPECT_EQ(config.daemon.workers, 3U);
    EXPECT_EQ(config.dataplane.max_flows, 77U);
    EXPECT_EQ(config.daemon.log_level, "debug");
}

TEST(Serve, paths_of_flags_are_relative_to_where_the_user_stands) {
    const auto serving = serve({"--listen", "10.0.0.1:1", "--broker", "10.0.0.2:2", "--socket", "x.sock"});
    EXPECT_EQ(serving.config.daemon.socket, std::filesystem::current_path().string() + "/x.sock");
}

struct WrongFlags {
    std::vector<std::string> arguments;
    std::string message;
};

class WrongUsage : public ::testing::TestWithParam<WrongFlags> {};

TEST_P(WrongUsage, says_what_and_what_to_do) {
    EXPECT_THAT(serve(GetParam().arguments).usage, ElementsAre(GetParam().message));
}

const std::vector<std::string> whole{"--listen", "10.0.0.1:1", "--broker", "10.0.0.2:2"};

WrongFlags with(std::vector<std::string> more, std::string message) {
    auto arguments = whole;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return {arguments, std::move(message)};
}

INSTANTIATE_TEST_SUITE_P(
    flags, WrongUsage,
    ::testing::Values(
        WrongFlags{{}, "there is nothing to serve: name a file with -c, or --listen and --broker"},
        WrongFlags{{"--broker", "10.0.0.2:2"}, "there is nothing to listen on: add --listen ADDR:PORT"},
        WrongFlags{{"--listen", "10.0.0.2:2"}, "there is nowhere to go: add --broker ADDR:PORT"},
        with({"--mode", "xpd"},
             "--mode: \"xpd\" is unknown: did you mean \"xdp\"? It must be one of auto, xdp, tc, relay"),
        with({"--strategy", "stiky"},
             "--strategy: \"stiky\" is unknown: did you mean \"sticky\"? It must be one of sticky, hash, "
             "least_connections, round_robin, random, power_of_two"),
        with({"--workers", "257"}, "--workers: 257 is out of range: it must be from 0 to 256"),
        with({"--max-flows", "0"}, "--max-flows: 0 is out of range: it must be from 1 to 100000000"),
        with({"--log-level", "loud"},
             "--log-level: \"loud\" is unknown: it must be one of trace, debug, info, warn, error"),
        with({"--admin", "9883"},
             "--admin: \"9883\" has no port: write it as 127.0.0.1:9883 or [::1]:9883, or \"\" for none"),
        with({"--admin", "10.0.0.1:1"},
             "listener address \"10.0.0.1:1\" is the address of [admin] http too: give one of them another "
             "port"),
        with({"-i", "a/b"},
             "--interface: \"a/b\" is not the name of a network interface: `ip link` lists them; a name has "
             "1 to 15 bytes"),
        with({"--broker", "10.0.0.2:2"},
             "broker address \"10.0.0.2:2\" of pool \"main\" is there twice: use each only once"),
        with({"--broker", "b1=10.0.0.3:2"},
             "broker \"b1\" of pool \"main\" is there twice: use each only once"),
        with({"--broker", "=10.0.0.3:2"},
             "--broker: the name is empty: write 1 to 63 letters, digits, or any of . _ - : / + @"),
        with({"--listen", "10.0.0.1:1"},
             "listener address \"10.0.0.1:1\" is there twice: use each only once"),
        with({"--broker", "10.0.0.1:1"},
             "broker address \"10.0.0.1:1\" is a listener of this configuration: connections would run in a "
             "circle")));

TEST(Serve, flags_override_what_the_file_says) {
    char name[] = "/tmp/limpet-serve-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    const auto path = std::string(name) + "/f.toml";
    std::ofstream(path)
        << "[daemon]\nworkers = 2\nlog_level = \"warn\"\n[dataplane]\nmode = \"xdp\"\ninterfaces = "
           "[\"eth9\"]\n[[listener]]\nname = \"m\"\naddress = \"10.0.0.1:1883\"\npool = "
           "\"p\"\n[[pool]]\nname = \"p\"\n[[pool.broker]]\nname = \"b\"\naddress = "
           "\"10.0.0.2:1883\"\n[admin]\nhttp = \"127.0.0.1:1000\"\n";
    const auto plain = serve({"-c", path});
    const auto changed =
        serve({"-c", path, "--mode", "relay", "-i", "eth0", "--workers", "5", "--admin", "127.0.0.1:1001",
               "--socket", "/tmp/s", "--bpffs", "/b", "--max-flows", "9", "--log-level", "error"});
    const auto circular = serve({"-c", path, "--admin", "10.0.0.1:1883"});
    std::filesystem::remove_all(name);
    ASSERT_TRUE(plain.ok());
    EXPECT_EQ(plain.config.daemon.workers, 2U);
    EXPECT_EQ(plain.config.daemon.log_level, "warn");
    EXPECT_EQ(plain.config.dataplane.mode, config::Mode::xdp);
    EXPECT_THAT(plain.config.dataplane.interfaces, ElementsAre("eth9"));
    EXPECT_EQ(plain.config.admin.http, "127.0.0.1:1000");
    ASSERT_TRUE(changed.ok());
    EXPECT_EQ(changed.config.daemon.workers, 5U);
    EXPECT_EQ(changed.config.daemon.log_level, "error");
    EXPECT_EQ(changed.config.daemon.socket, "/tmp/s");
    EXPECT_EQ(changed.config.dataplane.mode, config::Mode::relay);
    EXPECT_THAT(changed.config.dataplane.interfaces, ElementsAre("eth0")) << "flags replace, they do not add";
    EXPECT_EQ(changed.config.dataplane.bpffs, "/b");
    EXPECT_EQ(changed.config.dataplane.max_flows, 9U);
    EXPECT_EQ(changed.config.admin.http, "127.0.0.1:1001");
    EXPECT_FALSE(circular.ok()) << "a flag that does not fit the file is found before the daemon starts";
}

}  // namespace
}  // namespace limpet::cli
