// SPDX-License-Identifier: Apache-2.0
#include "daemon/pools.h"

#include <gtest/gtest.h>

namespace limpet::daemon {
namespace {

Endpoint at(const std::string& text) {
    return *Endpoint::parse(text);
}

config::Config two_pools() {
    return config::load_text(R"(
[[listener]]
name = "first"
address = "10.0.0.1:1883"
pool = "main"
[[listener]]
name = "any"
address = "0.0.0.0:1884"
pool = "other"
[[pool]]
name = "main"
[[pool.broker]]
name = "b1"
address = "10.1.0.1:1883"
[[pool.broker]]
name = "b2"
address = "10.1.0.2:1883"
[[pool]]
name = "other"
[[pool.broker]]
name = "b1"
address = "10.1.0.1:1883"
)",
                             "test.toml")
        .config;
}

class PoolsTest : public testing::Test {
  protected:
    PoolsTest() { apply(config); }

    void apply(const config::Config& fresh) {
        std::map<std::string, PoolPointer> prepared;
        for (const auto& pool : fresh.pools) {
            balancer::PoolSpec spec;
            spec.name = pool.name;
            prepared[pool.name] = pools.prepare(spec);
        }
        pools.apply(fresh, prepared);
    }
    void adopt(const std::vector<dataplane::FlowView>& flows) {
        pools.adopt([&](const Pools::Visitor& visit) {
            for (const auto& flow : flows) visit(flow);
        });
    }
    std::uint64_t connections(const std::string& pool, const std::string& broker) {
        for (const auto& view : pools.find(pool)->brokers())
            if (view.spec.name == broker) return view.connections;
        return ~0ULL;
    }
    static dataplane::FlowView flow(const std::string& client, const std::string& listener,
                                    const std::string& broker, std::uint64_t hash = 0) {
        dataplane::FlowView view;
        view.client = at(client);
        view.listener = at(listener);
        view.broker = at(broker);
        view.client_hash = hash;
        return view;
    }
    static dataplane::FlowEnd end_of(const dataplane::FlowView& view) {
        dataplane::FlowEnd end;
        end.client = view.client;
        end.listener = view.listener;
        end.broker = view.broker;
        end.client_hash = view.client_hash;
        return end;
    }

    config::Config config = two_pools();
    Pools pools{7};
};

TEST_F(PoolsTest, adopted_flows_count_at_their_listeners_pool_and_are_remembered) {
    const auto hash = pools.find("main")->hash_key("client");
    adopt({flow("10.9.0.1:1000", "10.0.0.1:1883", "10.1.0.1:1883", hash),
           flow("10.9.0.1:1001", "10.0.0.7:1884", "10.1.0.1:1883")});
    EXPECT_EQ(connections("main", "b1"), 1u);
    EXPECT_EQ(connections("other", "b1"), 1u) << "a listener on any address owns what came to each of them";
    EXPECT_EQ(pools.adopted(), 2u);
    EXPECT_TRUE(pools.find("main")->connected(hash));
    balancer::Client client;
    client.client_id = "client";
    EXPECT_EQ(pools.find("main")->lookup(client)->name, "b1")
        << "the stick table outlives the daemon this way";
}

TEST_F(PoolsTest, flows_of_a_listener_with_routes_belong_to_the_pool_that_has_their_broker) {
    auto routed = config;
    routed.listeners[0].routes.push_back(
        {.sni = "b.example.org", .sources = {}, .pool = "third", .position = {}});
    config::Pool third;
    third.name = "third";
    third.brokers.push_back({.name = "b9", .address = at("10.1.0.9:1883"), .position = {}});
    routed.pools.push_back(third);
    apply(routed);
    const auto one = flow("10.9.0.1:1000", "10.0.0.1:1883", "10.1.0.9:1883");
    adopt({one, flow("10.9.0.1:1001", "10.0.0.1:1883", "10.1.0.2:1883")});
    EXPECT_EQ(connections("third", "b9"), 1u);
    EXPECT_EQ(connections("main", "b2"), 1u);
    EXPECT_EQ(pools.of_flow(one.listener, one.broker, one.client_hash)->first->name(), "third");
    pools.flow_ended(end_of(one));
    EXPECT_EQ(connections("third", "b9"), 0u);
}

TEST_F(PoolsTest, end_of_a_flow_gives_back_its_connection_and_its_client) {
    const auto hash = pools.find("main")->hash_key("client");
    const auto one = flow("10.9.0.1:1000", "10.0.0.1:1883", "10.1.0.2:1883", hash);
    adopt({one});
    pools.flow_ended(end_of(one));
    EXPECT_EQ(connections("main", "b2"), 0u);
    EXPECT_FALSE(pools.find("main")->connected(hash));
}

TEST_F(PoolsTest, flows_that_end_during_the_walk_are_counted_down_only_if_it_saw_them) {
    const auto seen = flow("10.9.0.1:1000", "10.0.0.1:1883", "10.1.0.1:1883");
    const auto unseen = flow("10.9.0.1:1001", "10.0.0.1:1883", "10.1.0.1:1883");
    const auto living = flow("10.9.0.1:1002", "10.0.0.1:1883", "10.1.0.1:1883");
    pools.adopt([&](const Pools::Visitor& visit) {
        visit(seen);
        pools.flow_ended(end_of(seen));
        pools.flow_ended(end_of(unseen));
        visit(living);
    });
    EXPECT_EQ(connections("main", "b1"), 1u) << "the living one";
}

TEST_F(PoolsTest, broker_that_moved_keeps_the_count_of_connections_at_its_old_address) {
    const auto one = flow("10.9.0.1:1000", "10.0.0.1:1883", "10.1.0.1:1883");
    adopt({one});
    auto moved = config;
    moved.pools[0].brokers[0].address = at("10.1.0.9:1883");
    apply(moved);
    EXPECT_EQ(connections("main", "b1"), 1u);
    pools.flow_ended(end_of(one));
    EXPECT_EQ(connections("main", "b1"), 0u);
}

TEST_F(PoolsTest, pool_that_was_removed_is_found_again_when_it_comes_back_with_connections_left) {
    const auto one = flow("10.9.0.1:1000", "10.0.0.1:1883", "10.1.0.2:1883");
    adopt({one});
    auto smaller = config;
    smaller.listeners.erase(smaller.listeners.begin());
    smaller.pools.erase(smaller.pools.begin());
    apply(smaller);
    EXPECT_EQ(pools.find("main"), nullptr);
    apply(config);
    EXPECT_EQ(connections("main", "b2"), 1u);
    pools.flow_ended(end_of(one));
    EXPECT_EQ(connections("main", "b2"), 0u);
}

}  // namespace
}  // namespace limpet::daemon
