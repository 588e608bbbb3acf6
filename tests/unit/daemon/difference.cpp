// SPDX-License-Identifier: Apache-2.0
#include "daemon/difference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace limpet::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

config::Listener listener(const std::string& name, const std::string& address) {
    config::Listener listener;
    listener.name = name;
    listener.address = *Endpoint::parse(address);
    listener.pool = "main";
    return listener;
}

config::Broker broker(const std::string& name, const std::string& address) {
    config::Broker broker;
    broker.name = name;
    broker.address = *Endpoint::parse(address);
    return broker;
}

config::Config base() {
    config::Config config;
    config.listeners.push_back(listener("mqtt", "10.0.0.1:1883"));
    config::Pool pool;
    pool.name = "main";
    pool.brokers = {broker("b1", "10.1.0.1:1883"), broker("b2", "10.1.0.2:1883")};
    config.pools.push_back(pool);
    return config;
}

TEST(difference, of_equal_configurations_is_empty) {
    const auto none = compare(base(), base());
    EXPECT_THAT(none.changed, IsEmpty());
    EXPECT_THAT(none.refused, IsEmpty());
}

TEST(difference, names_what_changes_hot) {
    auto after = base();
    after.daemon.log_level = "debug";
    after.listeners[0].connack_timeout = std::chrono::milliseconds{2500};
    after.listeners.push_back(listener("more", "[2001:db8::1]:1883"));
    after.pools[0].strategy = config::Strategy::least_connections;
    after.pools[0].transparent = true;
    after.pools[0].brokers[0].weight = 3;
    after.pools[0].brokers[1].name = "b3";
    const auto difference = compare(base(), after);
    EXPECT_THAT(
        difference.changed,
        ElementsAre("daemon.log_level: info -> debug", "listener mqtt: connack_timeout: 10s -> 2500ms",
                    "listener more: added", "pool main: strategy: sticky -> least_connections",
                    "pool main: transparent: false -> true", "pool main: broker b2: removed",
                    "pool main: broker b1: weight: 1 -> 3", "pool main: broker b3: added"));
    EXPECT_THAT(difference.refused, IsEmpty());
}

TEST(difference, tells_limits_and_rules) {
    auto before = base();
    config::Rule first;
    first.name = "first";
    config::Rule second;
    second.name = "second";
    before.rules = {first, second};
    auto after = before;
    after.listeners[0].connect_rate = {200, std::chrono::seconds{1}};
    after.listeners[0].client_connect_rate = {6, std::chrono::seconds{60}};
    after.listeners[0].hold_off = std::chrono::seconds{5};
    after.pools[0].max_connections = 100;
    after.pools[0].brokers[0].max_connections = 50;
    second.deny = true;
    second.usernames = {"eu-*"};
    second.keep_alive_below = std::chrono::seconds{10};
    after.rules = {second, first};
    EXPECT_THAT(
        compare(before, after).changed,
        ElementsAre("listener mqtt: connect_rate: none -> 200/s",
                    "listener mqtt: client_connect_rate: none -> 6/m", "listener mqtt: hold_off: 60s -> 5s",
                    "rule second: username: [] -> [eu-*]", "rule second: keep_alive_below: none -> 10s",
                    "rule second: action: allow -> deny", "rules: order: [first, second] -> [second, first]",
                    "pool main: max_connections: 0 -> 100",
                    "pool main: broker b1: max_connections: 0 -> 50"));
}

TEST(difference, names_what_needs_a_restart) {
    auto after = base();
    after.daemon.workers = 3;
    after.daemon.socket = "/tmp/other";
    after.daemon.state_file = "/tmp/state";
    after.dataplane.mode = config::Mode::tc;
    after.dataplane.interfaces = {"eth0", "eth1"};
    after.dataplane.max_flows = 5;
    after.dataplane.last_source_port = 20000;
    after.dataplane.hold_timeout = std::chrono::milliseconds{500};
    after.admin.http = "";
    const auto difference = compare(base(), after);
    EXPECT_THAT(difference.refused,
                ElementsAre("daemon.workers: 0 -> 3", "daemon.socket: /run/limpet/limpet.sock -> /tmp/other",
                            "daemon.state_file: \"\" -> /tmp/state", "dataplane.mode: auto -> tc",
                            "dataplane.interfaces: [] -> [eth0, eth1]", "dataplane.max_flows: 1000000 -> 5",
                            "dataplane.source_ports: 10000-32767 -> 10000-20000",
                            "dataplane.hold_timeout: 2s -> 500ms", "admin.http: 127.0.0.1:9883 -> \"\""));
    EXPECT_THAT(difference.changed, IsEmpty());
}

TEST(difference, misses_no_value_of_the_dataplane_section) {
    // Whoever adds a value to the section must add it to the comparison: its size says that one came.
    config::Dataplane section;
    auto& [mode, interfaces, bpffs, max_flows, sources, first, last, hold, tries, idle, probe, closing,
           retire] = section;
    static_cast<void>(mode), static_cast<void>(interfaces), static_cast<void>(bpffs);
    static_cast<void>(max_flows), static_cast<void>(sources), static_cast<void>(first),
        static_cast<void>(last);
    hold = closing = retire = std::chrono::milliseconds{1};
    tries = 77;
    idle = probe = std::chrono::seconds{77};
    auto after = base();
    after.dataplane = section;
    EXPECT_EQ(compare(base(), after).refused.size(), 6u);
}

}  // namespace
}  // namespace limpet::daemon
