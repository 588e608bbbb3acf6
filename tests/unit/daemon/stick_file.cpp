// SPDX-License-Identifier: Apache-2.0
#include "daemon/stick_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/stick_keeper.h"

namespace limpet::daemon {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

class StickFileTest : public testing::Test {
  protected:
    StickFileTest() { std::filesystem::create_directories(folder); }
    ~StickFileTest() override { std::filesystem::remove_all(folder); }

    SavedStick stick(std::uint64_t key, const std::string& broker, seconds ago = seconds{0}) const {
        return {key, "main", broker, seconds{3600}, now - ago};
    }
    [[nodiscard]] std::map<std::uint64_t, std::string> read() const {
        const auto saved = read_sticks(path);
        EXPECT_TRUE(saved) << saved.error().line();
        std::map<std::uint64_t, std::string> brokers;
        for (const auto& one : saved->sticks) brokers[one.key_hash] = one.pool + "/" + one.broker;
        return brokers;
    }

    const std::string folder = testing::TempDir() + "limpet-sticks-" + std::to_string(getpid());
    const std::string path = folder + "/run/sticks";
    const system_clock::time_point now = std::chrono::floor<std::chrono::milliseconds>(system_clock::now());
};

using Brokers = std::map<std::uint64_t, std::string>;

TEST_F(StickFileTest, gives_back_the_last_word_on_each_client_in_order_of_leaving) {
    auto file = StickFile::create(path, 7, [&](StickFile& fresh) {
        fresh.append(stick(1, "b1", seconds{10}));
        fresh.append(stick(2, "b2", seconds{20}));
    });
    ASSERT_TRUE(file) << file.error().line();
    file->append(stick(1, "b3", seconds{30}));
    file->append(stick(2, ""));
    file->append({3, "other", "b1", seconds{60}, now});
    ASSERT_TRUE(file->flush());
    const auto saved = *read_sticks(path);
    EXPECT_EQ(saved.seed, 7u);
    ASSERT_EQ(saved.sticks.size(), 2u);
    EXPECT_EQ(saved.sticks[0].broker, "b3");
    EXPECT_EQ(saved.sticks[0].since, now - seconds{30});
    EXPECT_EQ(saved.sticks[0].lifetime, seconds{3600});
    EXPECT_EQ(saved.sticks[1].pool, "other");
}

TEST_F(StickFileTest, is_read_up_to_where_a_crash_cut_it_off) {
    {
        auto file = StickFile::create(path, 7, [&](StickFile& fresh) { fresh.append(stick(1, "b1")); });
        file->append(stick(2, "b2"));
        ASSERT_TRUE(file->flush());
    }
    const auto whole = std::filesystem::file_size(path);
    for (auto size = whole; size >= stick_record_size; --size) {
        std::filesystem::resize_file(path, size);
        const auto brokers = read();
        EXPECT_EQ(brokers.contains(2), size == whole);
    }
    std::filesystem::resize_file(path, 5);
    EXPECT_FALSE(read_sticks(path)) << "so short it says nothing of itself";
}

TEST_F(StickFileTest, believes_no_record_that_was_damaged) {
    {
        static_cast<void>(StickFile::create(path, 7, [&](StickFile& f) { f.append(stick(1, "b1")); }));
    }
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary)
        .seekp(-3, std::ios::end)
        .write("x", 1);
    EXPECT_EQ(read(), Brokers{});
    std::ofstream(path) << std::string(1000, 'x');
    EXPECT_THAT(read_sticks(path).error().line(), testing::HasSubstr("is no file of what pools remember"));
    EXPECT_EQ(read_sticks(path + ".none")->seed, 0u) << "none is no error";
}

config::Config one_pool() {
    return config::load_text(R"(
[[listener]]
name = "in"
address = "10.0.0.1:1883"
pool = "main"
[[pool]]
name = "main"
[[pool.broker]]
name = "b1"
address = "10.1.0.1:1883"
[[pool.broker]]
name = "b2"
address = "10.1.0.2:1883"
)",
                             "test.toml")
        .config;
}

/// The pools of a daemon, as they begin.
std::unique_ptr<Pools> make_pools() {
    const auto config = one_pool();
    auto pools = std::make_unique<Pools>(7);
    balancer::PoolSpec spec;
    spec.name = "main";
    pools->apply(config, {{"main", pools->prepare(spec)}});
    return pools;
}

TEST_F(StickFileTest, keeper_follows_what_changes_and_the_next_daemon_knows_it) {
    {
        const auto pools = make_pools();
        const auto pool = pools->find("main");
        const StickKeeper keeper(*pools, path, 7);
        const auto b1 = pool->brokers()[0].id;
        const auto b2 = pool->brokers()[1].id;
        pool->remember(11, b1);
        pool->release(11, seconds{7200}, balancer::Clock::now());
        pool->remember(12, b2, seconds{5000});  // connected to the end
        pool->remember(13, b2);
        pool->release(13, seconds{7200}, balancer::Clock::now());
        pool->forget(13);
    }
    EXPECT_EQ(read(), (Brokers{{11, "main/b1"}, {12, "main/b2"}}));
    const auto pools = make_pools();
    const auto pool = pools->find("main");
    EXPECT_EQ(restore_sticks(*pools, *read_sticks(path)), 2u);
    const auto first = pool->memory(11);
    ASSERT_TRUE(first);
    EXPECT_FALSE(first->connected);
    EXPECT_EQ(first->lifetime, seconds{7200});
    const auto second = pool->memory(12);
    ASSERT_TRUE(second);
    EXPECT_FALSE(second->connected) << "whoever was connected has been away since";
    EXPECT_EQ(second->lifetime, seconds{5000});
    pool->remember(12, pool->brokers()[1].id);
    EXPECT_TRUE(pool->memory(12)->connected) << "a flow that is adopted afterwards is connected again";
}

TEST_F(StickFileTest, time_goes_on_while_no_daemon_runs) {
    static_cast<void>(StickFile::create(path, 7, [&](StickFile& file) {
        file.append(stick(1, "b1", seconds{3000}));
        file.append(stick(2, "b1", seconds{3601}));
        file.append(stick(3, "gone", seconds{0}));
        file.append({4, "gone", "b1", seconds{60}, now});
        file.append(stick(5, "b2", seconds{-500}));  // the machine's clock was set back
    }));
    const auto pools = make_pools();
    EXPECT_EQ(restore_sticks(*pools, *read_sticks(path)), 2u);
    const auto pool = pools->find("main");
    const auto left = pool->memory(1)->since + pool->memory(1)->lifetime - balancer::Clock::now();
    EXPECT_NEAR(std::chrono::duration<double>(left).count(), 600, 30);
    EXPECT_LE(pool->memory(5)->since, balancer::Clock::now());
    EXPECT_EQ(pool->remembered(), 2u);
    EXPECT_EQ(pool->expire(balancer::Clock::now() + seconds{700}), 1u);
}

}  // namespace
}  // namespace limpet::daemon
