// SPDX-License-Identifier: Apache-2.0
// What a choice costs: every strategy at 3, 16 and 64 brokers, and sticky with a memory of a million ids.
#include <benchmark/benchmark.h>

#include <charconv>
#include <cstring>

#include "balancer/balancer.h"

namespace limpet::balancer {
namespace {

/// Writes ids on the fly: reading a million strings would measure the cache, not the balancer.
class Ids {
  public:
    explicit Ids(std::uint64_t seed) : state_(seed) { std::memcpy(text_, "device-", 7); }
    std::string_view numbered(std::uint64_t number) {
        const auto end = std::to_chars(text_ + 7, text_ + sizeof text_, number).ptr;
        return {text_, static_cast<std::size_t>(end - text_)};
    }
    std::string_view random(std::uint64_t below) {
        state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
        return numbered((state_ >> 33) % below);
    }

  private:
    std::uint64_t state_;
    char text_[32];
};

PoolSpec pool_of(Strategy strategy, unsigned brokers) {
    PoolSpec spec;
    spec.name = "main";
    spec.strategy = strategy;
    for (unsigned i = 0; i < brokers; ++i) {
        Endpoint address;
        address.address.bytes = {10, 92, 0, static_cast<std::uint8_t>(i + 1)};
        address.port = 1883;
        spec.brokers.push_back({"broker-" + std::to_string(i), address, 1 + i % 3});
    }
    return spec;
}

/// Nobody is remembered, but every broker has connections, so that the bound has something to weigh.
void choose(benchmark::State& state, Strategy strategy) {
    Pool pool(pool_of(strategy, static_cast<unsigned>(state.range(0))), 1);
    Ids ids(1);
    for (unsigned i = 0; i < 10'000; ++i) {
        Client client;
        client.client_id = ids.numbered(i);
        pool.begin_connection(pool.choose(client)->id);
    }
    for (auto _ : state) {
        Client client;
        client.client_id = ids.random(1'000'000);
        benchmark::DoNotOptimize(pool.choose(client));
    }
}
BENCHMARK_CAPTURE(choose, random, Strategy::random)->Arg(3)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(choose, round_robin, Strategy::round_robin)->Arg(3)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(choose, least_connections, Strategy::least_connections)->Arg(3)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(choose, power_of_two, Strategy::power_of_two)->Arg(3)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(choose, hash, Strategy::hash)->Arg(3)->Arg(16)->Arg(64);
BENCHMARK_CAPTURE(choose, sticky_unknown, Strategy::sticky)->Arg(3)->Arg(16)->Arg(64);

/// A pool that knows a million ids; built once, shared by the benchmarks and their threads.
Pool& pool_of_a_million() {
    static Pool pool(pool_of(Strategy::sticky, 16), 1);
    static const bool filled = [] {
        Ids ids(1);
        for (unsigned i = 0; i < 1'000'000; ++i) {
            const auto hash = pool.hash_key(ids.numbered(i));
            pool.remember(hash, static_cast<BrokerId>(i % 16));
            if (i % 2 == 0) pool.release(hash, std::chrono::hours(1), Clock::now());
        }
        return true;
    }();
    benchmark::DoNotOptimize(filled);
    return pool;
}

void choose_sticky_known(benchmark::State& state) {
    Pool& pool = pool_of_a_million();
    Ids ids(static_cast<std::uint64_t>(state.thread_index()) + 1);
    for (auto _ : state) {
        Client client;
        client.client_id = ids.random(1'000'000);
        benchmark::DoNotOptimize(pool.choose(client));
    }
}
BENCHMARK(choose_sticky_known)->Name("choose/sticky_known_of_1M/16")->Threads(1)->Threads(2)->UseRealTime();

/// All that a client costs from CONNECT to its end.
void connect_and_leave(benchmark::State& state) {
    Pool& pool = pool_of_a_million();
    Ids ids(99);
    for (auto _ : state) {
        Client client;
        client.client_id = ids.random(1'000'000);
        const auto choice = pool.choose(client).value();
        const auto hash = pool.hash_key(client.client_id);
        pool.begin_connection(choice.id);
        pool.remember(hash, choice.id);
        pool.report_success(choice.id);
        pool.end_connection(choice.id);
        pool.release(hash, std::chrono::hours(1), Clock::now());
    }
}
BENCHMARK(connect_and_leave)->Name("connect_and_leave/sticky_1M/16");

}  // namespace
}  // namespace limpet::balancer

BENCHMARK_MAIN();
