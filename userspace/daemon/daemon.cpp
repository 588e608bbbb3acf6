// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <boost/asio.hpp>
#include <csignal>
#include <cstdio>
#include <thread>

#include "admin/server.h"
#include "daemon/runtime.h"

namespace limpet::daemon {
namespace {

namespace asio = boost::asio;

int complain(const Error& error) {
    std::fprintf(stderr, "limpet: %s\n", error.line().c_str());
    return 1;
}

void set_up_log(const std::string& level) {
    auto log = spdlog::stderr_color_mt("limpet");
    spdlog::set_default_logger(std::move(log));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
    spdlog::set_level(spdlog::level::from_str(level));
    spdlog::flush_on(spdlog::level::info);
}

/// 1024 is what distributions set for programs that use select(); a limit of anybody else's choice is kept.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != 1024) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/// The admin server and its thread, which serves once run() was called.
class AdminThread {
  public:
    explicit AdminThread(admin::Verbs& verbs) : server_(loop_, verbs) {}
    ~AdminThread() { stop(); }
    AdminThread(const AdminThread&) = delete;
    AdminThread& operator=(const AdminThread&) = delete;

    Result<void> listen(const config::Config& config) {
        if (auto opened = server_.listen_control(config.daemon.socket); !opened) return opened;
        if (config.admin.http.empty()) return {};
        return server_.listen_http(config.admin.http);
    }
    void run() {
        thread_ = std::thread([this] { loop_.run(); });
    }
    void stop() {
        if (!thread_.joinable()) {
            server_.stop();
            return;
        }
        asio::post(loop_, [this] {
            server_.stop();
            loop_.stop();
        });
        thread_.join();
    }

  private:
    asio::io_context loop_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(loop_);
    admin::Server server_;
    std::thread thread_;
};

/// Signals and the clock of the main thread, until SIGTERM or SIGINT.
class MainLoop {
  public:
    explicit MainLoop(Runtime& runtime)
        : runtime_(runtime), signals_(loop_, SIGTERM, SIGINT, SIGHUP), timer_(loop_) {}

    void run() {
        await_signal();
        await_second();
        loop_.run();
    }

  private:
    void await_signal() {
        signals_.async_wait([this](boost::system::error_code failed, int number) {
            if (failed) return;
            if (number == SIGHUP) {
                // What went wrong stands in the log.
                static_cast<void>(runtime_.reload());
                await_signal();
                return;
            }
            spdlog::info("{} received", number == SIGTERM ? "SIGTERM" : "SIGINT");
            loop_.stop();
        });
    }
    void await_second() {
        timer_.expires_after(std::chrono::seconds{1});
        timer_.async_wait([this](boost::system::error_code failed) {
            if (failed) return;
            runtime_.tick();
            await_second();
        });
    }

    Runtime& runtime_;
    asio::io_context loop_{1};
    asio::signal_set signals_;
    asio::steady_timer timer_;
};

}  // namespace

int serve(config::Config config, std::string config_path, bool flush) {
    set_up_log(config.daemon.log_level);
    raise_descriptor_limit();
    std::signal(SIGPIPE, SIG_IGN);
    Runtime runtime(config, std::move(config_path), flush);
    // Signals are caught from the beginning, so that one that comes while starting ends in an orderly stop.
    MainLoop main_loop(runtime);
    // The control socket comes first: where a daemon answers already, nothing of its data path is touched.
    AdminThread admin(runtime);
    if (auto listening = admin.listen(config); !listening) return complain(listening.error());
    if (auto started = runtime.start(); !started) return complain(started.error());
    admin.run();
    main_loop.run();
    runtime.stop();
    admin.stop();
    return 0;
}

}  // namespace limpet::daemon
