// SPDX-License-Identifier: Apache-2.0
// A daemon that remembers what it was asked, and a server around it on a thread of its own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "admin/server.h"

namespace limpet::admin::test {

class FakeVerbs : public Verbs {
  public:
    [[nodiscard]] bool ready() const override { return is_ready; }
    Result<Json> status() override {
        if (broken) throw std::runtime_error("out of order");
        return Json{{"version", "1"}};
    }
    Result<Json> brokers() override { return Json::array({Json{{"name", "b1"}}}); }
    Result<Json> flows(const FlowQuery& query) override {
        note("flows", query);
        return Json::array({Json{{"client_id", std::string(padding, 'x')}}});
    }
    Result<Json> flows_count(const FlowQuery& query) override {
        note("count", query);
        return Json{{"count", 7}};
    }
    Result<Json> flows_kill(const FlowQuery& query) override {
        note("kill", query);
        return Json{{"killed", 3}};
    }
    Result<Json> lookup(const std::string& client_id, const std::optional<std::string>& pool) override {
        if (pool == "none") return fail("no pool \"none\"", "name one of main");
        return Json{{"client_id", client_id}, {"pool", pool.value_or("main")}};
    }
    Result<Json> reload() override { return fail("f.toml:1:2: wrong\nf.toml:3:4: wrong too", ""); }
    Result<Json> trace(const TraceQuery& query) override {
        if (query.source == "nowhere") return fail("\"nowhere\" is no address", "write 192.0.2.1");
        auto events = Json::array();
        if (query.from == 5)
            events.push_back({{"time", "now"},
                              {"client", "10.0.0.1:5"},
                              {"client_id", query.client_id.value_or("any\x1b")},
                              {"event", "chosen"},
                              {"broker", "b1"},
                              {"detail", "hashed"}});
        return Json{{"events", events}, {"next", 5}, {"lost", 0}};
    }
    std::string metrics() override { return "limpet_up 1\n"; }

    [[nodiscard]] std::vector<std::string> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

    std::atomic<bool> is_ready{true};
    std::atomic<bool> broken{false};
    std::atomic<std::size_t> padding{1};

  private:
    void note(const std::string& verb, const FlowQuery& query) {
        const std::lock_guard lock(mutex_);
        asked_.push_back(verb + " " + query.client_id.value_or("-") + " " + query.broker.value_or("-") + " " +
                         std::to_string(query.limit));
    }

    std::mutex mutex_;
    std::vector<std::string> asked_;
};

class ServerTest : public ::testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/limpet-admin-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        folder_ = name;
        path_ = folder_ + "/run/limpet.sock";
    }
    void TearDown() override {
        stop();
        std::filesystem::remove_all(folder_);
    }

    // Both doors open, with these limits.
    void start(Limits limits = Limits()) {
        server_ = std::make_unique<Server>(io_, verbs_, limits);
        const auto control = server_->listen_control(path_);
        ASSERT_TRUE(control) << control.error().line();
        const auto http = server_->listen_http("127.0.0.1:0");
        ASSERT_TRUE(http) << http.error().line();
        http_ = *server_->http_address();
        thread_ = std::thread([this] { io_.run(); });
    }
    // As a daemon stops: on the thread that serves.
    void stop() {
        if (!thread_.joinable()) return;
        boost::asio::post(io_, [this] { server_->stop(); });
        thread_.join();  // nothing is left to do once everybody is out: a session that stayed would hang here
        server_.reset();
        io_.restart();
    }

    std::string folder_;
    std::string path_;
    Endpoint http_;
    FakeVerbs verbs_;
    boost::asio::io_context io_;
    std::unique_ptr<Server> server_;
    std::thread thread_;
};

}  // namespace limpet::admin::test
