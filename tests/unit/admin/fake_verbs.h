// SPDX-License-Identifier: Apache-2.0
// A daemon that remembers what it was asked, and a server around it on a thread of its own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
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
        if (pool == "none") return std::unexpected(Error{"no pool \"none\"", "name one of main", ENOENT});
        return Json{{"client_id", client_id}, {"pool", pool.value_or("main")}};
    }
    Result<Json> brokers_add(const NewBroker& broker) override {
        note("add", broker.name, broker.address + " " + std::to_string(broker.weight.value_or(1)));
        return Json{{"changed", {"pool main: broker " + broker.name.broker + ": added"}}};
    }
    Result<Json> brokers_remove(const BrokerName& name) override { return change("remove", name); }
    Result<Json> brokers_enable(const BrokerName& name) override { return change("enable", name); }
    Result<Json> brokers_weight(const BrokerName& name, std::uint64_t weight) override {
        return change("weight", name, std::to_string(weight));
    }
    Result<Json> brokers_maxconn(const BrokerName& name, std::uint64_t most) override {
        return change("maxconn", name, std::to_string(most));
    }
    Result<Json> brokers_drain(const BrokerName& name, const Pace& pace) override {
        note("drain", name, pace_text(pace));
        return move("drain", "running", 0);
    }
    Result<Json> brokers_rebalance(const Rebalance& order) override {
        note("rebalance", {"-", order.pool},
             std::to_string(order.tolerance.value_or(-1)) + " " + pace_text(order.pace));
        return Json::array();
    }
    Result<Json> brokers_cancel(const std::optional<std::string>& broker,
                                const std::optional<std::string>& pool) override {
        return change("cancel", {broker.value_or("-"), pool});
    }
    /// Drains need three looks.
    Result<Json> brokers_moves() override {
        const bool over = ++looks >= 3;
        return Json::array({move("drain", over ? "done" : "running", over ? 10 : 5)});
    }
    Result<Json> stick_list(const StickQuery& query) override {
        note("stick list", {query.broker.value_or("-"), query.pool}, std::to_string(query.limit));
        return Json::array({stick()});
    }
    Result<Json> stick_show(const std::string& client_id, const std::optional<std::string>&) override {
        if (client_id == "nobody") return std::unexpected(Error{"no such client", "look again", ENOENT});
        return stick();
    }
    Result<Json> stick_set(const StickOrder& order) override {
        note("stick set", {order.broker, order.pool},
             order.client_id + " " + (order.ttl ? std::to_string(order.ttl->count()) : "-"));
        return stick();
    }
    Result<Json> stick_clear(const StickClearance& order) override {
        note("stick clear", {order.broker.value_or("-"), order.pool}, order.client_id.value_or("-"));
        return Json{{"cleared", 2}};
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
    std::atomic<int> looks{0};

  private:
    static Json stick() {
        return {
            {"pool", "main"},     {"key", "0123456789abcdef"}, {"client_id", "c"},          {"broker", "b1"},
            {"connected", false}, {"lifetime_seconds", 600},   {"expires_in_seconds", 61.0}};
    }
    static Json move(const char* kind, const char* state, int ended) {
        return {{"id", 1},
                {"kind", kind},
                {"pool", "main"},
                {"broker", "b1"},
                {"state", state},
                {"total", 10},
                {"ended", ended},
                {"left", 10 - ended},
                {"per_second", 100.0},
                {"elapsed_seconds", 2.0},
                {"eta_seconds", 3.0}};
    }
    static std::string pace_text(const Pace& pace) {
        return std::to_string(pace.per_second.value_or(-1)) + " " +
               (pace.deadline ? std::to_string(pace.deadline->count()) : "-");
    }
    void note(const std::string& verb, const BrokerName& name, const std::string& more) {
        const std::lock_guard lock(mutex_);
        asked_.push_back(verb + " " + name.broker + " " + name.pool.value_or("-") + " " + more);
    }
    Result<Json> change(const std::string& verb, const BrokerName& name, const std::string& more = "-") {
        if (name.broker == "nobody")
            return std::unexpected(Error{"there is no broker \"nobody\"", "did you mean \"b1\"?", ENOENT});
        note(verb, name, more);
        return Json{{"changed", {verb + " " + name.broker}}};
    }
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
