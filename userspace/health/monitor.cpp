// SPDX-License-Identifier: Apache-2.0
#include "health/monitor.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio.hpp>
#include <map>
#include <random>
#include <thread>

#include "dataplane/dataplane.h"

namespace limpet::health {
namespace {

namespace asio = boost::asio;

/// Pool and broker.
using Name = std::pair<std::string, std::string>;

/// One broker, for as long as it has its address.
struct Watch {
    Watch(const asio::any_io_executor& executor, Target what, bool up, double spread)
        : target(std::move(what)), judge(target.terms, up, Clock::now(), spread), timer(executor) {}

    Target target;
    Judge judge;
    asio::steady_timer timer;  // until the next probe; cancelled when that time or anything else changes
    bool ended = false;
};

}  // namespace

struct Monitor::State {
    State(dataplane::Dataplane& plane, Handler told)
        : dataplane(plane), handler(std::move(told)), random(std::random_device{}()) {
        nonce = static_cast<std::uint32_t>(random());
    }

    double between(double low, double high) {
        return std::uniform_real_distribution<double>(low, high)(random);
    }
    void take_over(std::vector<Target>& targets);
    void begin(Target& target, bool up);
    asio::awaitable<void> keep_asking(std::shared_ptr<Watch> watch);
    asio::awaitable<void> ask(Watch& watch);

    dataplane::Dataplane& dataplane;
    Handler handler;
    std::minstd_rand random;
    std::uint32_t nonce = 0;  // in client ids, so that two gateways do not take each other's sessions over
    std::uint32_t asked = 0;
    asio::io_context loop{1};
    asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(loop);
    std::map<Name, std::shared_ptr<Watch>> watches;
    std::thread thread;
};

Monitor::Monitor(dataplane::Dataplane& dataplane, Handler handler)
    : state_(std::make_unique<State>(dataplane, std::move(handler))) {
    state_->thread = std::thread([state = state_.get()] { state->loop.run(); });
}

Monitor::~Monitor() {
    state_->loop.stop();
    state_->thread.join();
}

void Monitor::follow(std::vector<Target> targets) {
    asio::post(state_->loop,
               [state = state_.get(), targets = std::move(targets)]() mutable { state->take_over(targets); });
}

void Monitor::doubt(const std::string& pool, const std::string& broker) {
    asio::post(state_->loop, [state = state_.get(), name = Name(pool, broker)] {
        const auto found = state->watches.find(name);
        if (found == state->watches.end()) return;
        found->second->judge.doubt(Clock::now());
        found->second->timer.cancel();
    });
}

void Monitor::State::take_over(std::vector<Target>& targets) {
    auto before = std::exchange(watches, {});
    for (auto& target : targets) {
        const auto old = before.find({target.pool, target.broker});
        if (old == before.end() || old->second->target.address != target.address) {
            begin(target, target.terms.initially_up);
            continue;
        }
        if (old->second->target.probe != target.probe) {
            begin(target, old->second->judge.up());
            continue;
        }
        auto& watch = *old->second;
        if (watch.target != target) {
            watch.target = std::move(target);
            watch.judge.change_terms(watch.target.terms, Clock::now());
            watch.timer.cancel();
        }
        watches.insert(before.extract(old));
    }
    for (auto& [name, watch] : before) {
        watch->ended = true;
        watch->timer.cancel();
    }
}

void Monitor::State::begin(Target& target, bool up) {
    if (!up) handler({target.pool, target.broker, target.address, false, false, false, "not asked yet"});
    const Name name(target.pool, target.broker);
    auto watch = std::make_shared<Watch>(loop.get_executor(), std::move(target), up, between(0, 1));
    watches[name] = watch;
    asio::co_spawn(loop, keep_asking(std::move(watch)), asio::detached);
}

asio::awaitable<void> Monitor::State::keep_asking(std::shared_ptr<Watch> watch) {
    while (!watch->ended) {
        const auto next = watch->judge.next();
        if (next && *next <= Clock::now()) {
            co_await ask(*watch);
            continue;
        }
        watch->timer.expires_at(next.value_or(Clock::time_point::max()));
        co_await watch->timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
}

asio::awaitable<void> Monitor::State::ask(Watch& watch) {
    // A copy: terms may change while the answer is awaited.
    const Target target = watch.target;
    const auto begin = Clock::now();
    auto client_id = fmt::format("limpet-{:08x}-{:06x}", nonce, asked++ & 0xffffff);
    auto answer = co_await probe(dataplane, target.address, target.probe, std::move(client_id));
    if (watch.ended) co_return;
    if (!answer.asked) {
        spdlog::debug("broker {} of pool {} could not be asked: {}", target.broker, target.pool,
                      answer.error);
        watch.judge.not_asked(Clock::now());
        co_return;
    }
    dataplane.count(answer.error.empty() ? LIMPET_REASON_PROBE_PASSED : LIMPET_REASON_PROBE_FAILED);
    const bool changed = watch.judge.answered(answer.error.empty(), begin, Clock::now(), between(-1, 1));
    if (changed && !watch.judge.up()) dataplane.count(LIMPET_REASON_BROKER_DOWN);
    handler({target.pool, target.broker, target.address, watch.judge.up(), changed, watch.judge.ever_passed(),
             std::move(answer.error)});
}

}  // namespace limpet::health
