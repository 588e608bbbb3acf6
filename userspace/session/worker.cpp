// SPDX-License-Identifier: Apache-2.0
#include "session/worker.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <thread>

#include "session/asio.h"
#include "session/gate.h"
#include "session/session.h"

namespace limpet::session {
namespace {

namespace asio = boost::asio;

// Accepted in one go before the loop serves the sessions that it has.
constexpr int accepts_per_turn = 64;
constexpr std::size_t scratch_size = 64 * 1024;
// While accepting is paused, or an accept failed for lack of something: how often to look again.
constexpr std::chrono::milliseconds pause_step{5};
// Turns of the loop are given up to the sessions by waiting for a timer that has expired already.
constexpr std::chrono::milliseconds drain_step{20};

/// One listening socket of one worker.
struct Door {
    std::shared_ptr<const Listener> listener;
    Descriptor socket;
    Timer timer;
    bool closed = false;

    Door(const Executor& executor, std::shared_ptr<const Listener> with, Fd descriptor)
        : listener(std::move(with)), socket(executor), timer(executor) {
        socket.assign(descriptor.get());
        static_cast<void>(descriptor.release());
    }
};

/// What all workers share.
struct Shared {
    dataplane::Dataplane& dataplane;
    const Options options;
    DescriptorGate gate;
    std::atomic<Clock::rep> last_pause_line{0};
    std::atomic<Clock::rep> last_room{0};  ///< when descriptors were last seen to have come back
};

class Worker {
  public:
    Worker(Shared& shared, unsigned index)
        : shared_(shared),
          scratch_(scratch_size),
          environment_{.executor = loop_.get_executor(),
                       .worker = index,
                       .dataplane = shared.dataplane,
                       .gate = shared.gate,
                       .trace = *shared.options.trace,
                       .idle_timeout = shared.options.idle_timeout,
                       .scratch = scratch_,
                       .counters = {},
                       .refusals = {}},
          drain_timer_(loop_),
          work_(asio::make_work_guard(loop_)) {
        thread_ = std::thread([this] { run(); });
    }
    ~Worker() { stop(); }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void open(std::shared_ptr<const Listener> listener, Fd socket);
    void replace(std::shared_ptr<const Listener> listener);
    void limit(const Endpoint& address, std::uint32_t maximum_segment);
    void close(const Endpoint& address);
    void evict(std::shared_ptr<Eviction> eviction);
    void begin_stop();
    void stop();

    [[nodiscard]] const Counters& counters() const { return environment_.counters; }

  private:
    /// What an accept() came to.
    enum class Accepted { client, nobody, again, shortage };

    void run();
    Awaitable<void> accept_clients(std::shared_ptr<Door> door);
    Awaitable<void> pause(std::shared_ptr<Door> door);
    Awaitable<void> sleep(std::shared_ptr<Door> door, std::chrono::milliseconds time);
    Accepted accept_one(Door& door, bool no_room);
    void begin_session(Door& door, Fd client, bool no_room);
    void log_pause(const Door& door);
    void drain(Clock::time_point deadline);
    [[nodiscard]] std::size_t grace() const { return shared_.dataplane.grace_descriptors(); }

    Shared& shared_;
    std::vector<std::uint8_t> scratch_;
    asio::io_context loop_{1};
    Environment environment_;
    std::map<Endpoint, std::shared_ptr<Door>> doors_;
    SessionList sessions_;
    Timer drain_timer_;
    bool draining_ = false;
    asio::executor_work_guard<Executor> work_;
    std::thread thread_;
};

void Worker::run() {
    for (;;) {
        try {
            loop_.run();
            return;
        } catch (const std::exception& problem) {
            spdlog::error("worker {}: {}", environment_.worker, problem.what());
        }
    }
}

void Worker::open(std::shared_ptr<const Listener> listener, Fd socket) {
    auto door = std::make_shared<Door>(environment_.executor, std::move(listener), std::move(socket));
    asio::post(loop_, [this, door] {
        doors_[door->listener->address] = door;
        asio::co_spawn(environment_.executor, accept_clients(door), asio::detached);
    });
}

void Worker::replace(std::shared_ptr<const Listener> listener) {
    asio::post(loop_, [this, listener] {
        const auto found = doors_.find(listener->address);
        if (found != doors_.end()) found->second->listener = listener;
    });
}

void Worker::limit(const Endpoint& address, std::uint32_t maximum_segment) {
    asio::post(loop_, [this, address, maximum_segment] {
        const auto found = doors_.find(address);
        if (found != doors_.end()) limit_segment(found->second->socket.native_handle(), maximum_segment);
    });
}

void Worker::close(const Endpoint& address) {
    asio::post(loop_, [this, address] {
        const auto found = doors_.find(address);
        if (found == doors_.end()) return;
        found->second->closed = true;
        found->second->timer.cancel();
        boost::system::error_code ignored;
        found->second->socket.close(ignored);
        doors_.erase(found);
    });
}

Awaitable<void> Worker::accept_clients(std::shared_ptr<Door> door) {
    int in_a_row = 0;
    while (!door->closed) {
        if (shared_.gate.full(grace())) co_await pause(door);
        if (door->closed) co_return;
        switch (accept_one(*door, false)) {
            case Accepted::client:
                if (++in_a_row < accepts_per_turn) break;
                in_a_row = 0;
                co_await asio::post(environment_.executor, Token());
                break;
            case Accepted::again:
                break;
            case Accepted::shortage:
                co_await pause(door);
                break;
            case Accepted::nobody:
                in_a_row = 0;
                boost::system::error_code closed;
                co_await door->socket.async_wait(Descriptor::wait_read,
                                                 asio::redirect_error(Token(), closed));
                break;
        }
    }
}

/// Clients wait in the listen queue until descriptors come back. Where none do for long (connections that are
/// relayed live for weeks) whoever waits is let in, heard and refused, so that nobody hangs.
Awaitable<void> Worker::pause(std::shared_ptr<Door> door) {
    shared_.dataplane.count(LIMPET_REASON_ACCEPT_PAUSED);
    log_pause(*door);
    const auto since = Clock::now();
    for (;;) {
        co_await sleep(door, pause_step);
        if (door->closed) co_return;
        const auto now = Clock::now();
        if (shared_.gate.has_room(grace())) {
            shared_.last_room = now.time_since_epoch().count();
            co_return;
        }
        // Another worker may have taken the room that there was: then things are moving.
        const auto last_room = Clock::time_point(Clock::duration(shared_.last_room.load()));
        if (now - std::max(since, last_room) < shared_.options.pause_patience) continue;
        for (int let_in = 0; let_in < accepts_per_turn && shared_.gate.can_refuse(grace()); ++let_in)
            if (accept_one(*door, true) != Accepted::client) break;
    }
}

Awaitable<void> Worker::sleep(std::shared_ptr<Door> door, std::chrono::milliseconds time) {
    boost::system::error_code cancelled;
    door->timer.expires_after(time);
    co_await door->timer.async_wait(asio::redirect_error(Token(), cancelled));
}

Worker::Accepted Worker::accept_one(Door& door, bool no_room) {
    Fd client(::accept4(door.socket.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client) {
        begin_session(door, std::move(client), no_room);
        return Accepted::client;
    }
    switch (errno) {
        case EAGAIN:
            return Accepted::nobody;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return Accepted::shortage;
        default:
            // ECONNABORTED and what a network says of one client before it is accepted (accept(2)).
            return Accepted::again;
    }
}

void Worker::begin_session(Door& door, Fd client, bool no_room) {
    environment_.counters.accepted.fetch_add(1, std::memory_order_relaxed);
    door.listener->accepted->fetch_add(1, std::memory_order_relaxed);
    try {
        auto session = std::make_shared<Session>(environment_, door.listener, std::move(client), no_room);
        sessions_.push_back(*session);
        asio::co_spawn(environment_.executor, session->story(), [session](const std::exception_ptr& problem) {
            session->finish();
            if (!problem) return;
            try {
                std::rethrow_exception(problem);
            } catch (const std::exception& what) {
                spdlog::error("a session ended unexpectedly: {}", what.what());
            }
        });
    } catch (const std::exception& problem) {
        shared_.dataplane.count(LIMPET_REASON_CLOSE_RESOURCES);
        spdlog::error("a client could not be served: {}", problem.what());
    }
}

void Worker::log_pause(const Door& door) {
    const auto now = Clock::now().time_since_epoch().count();
    auto last = shared_.last_pause_line.load();
    const auto second = std::chrono::duration_cast<Clock::duration>(std::chrono::seconds{1}).count();
    if (now - last < second || !shared_.last_pause_line.compare_exchange_strong(last, now)) return;
    spdlog::warn("accepting paused on {}: {} of {} descriptors are in use", door.listener->name,
                 shared_.gate.in_use(grace()), shared_.gate.limit());
}

void Worker::evict(std::shared_ptr<Eviction> eviction) {
    asio::post(loop_, [this, eviction = std::move(eviction)] {
        // Ending one takes it off the list, so all are found before.
        std::vector<std::shared_ptr<Session>> ending;
        for (auto& session : sessions_) {
            if (!session.is_relayed_to(*eviction->pool, eviction->broker)) continue;
            if (eviction->allowed.fetch_sub(1) > 0) {
                ending.push_back(session.shared_from_this());
                continue;
            }
            eviction->allowed.fetch_add(1);
            ++eviction->left;
        }
        for (const auto& session : ending) {
            if (eviction->before) eviction->before(session->client_hash());
            session->evict(eviction->reason);
        }
        eviction->ended += ending.size();
        --eviction->looking;
    });
}

void Worker::begin_stop() {
    asio::post(loop_, [this] {
        for (auto& [address, door] : doors_) {
            door->closed = true;
            door->timer.cancel();
            boost::system::error_code ignored;
            door->socket.close(ignored);
        }
        doors_.clear();
        if (!std::exchange(draining_, true)) drain(Clock::now() + shared_.options.drain_grace);
    });
}

void Worker::drain(Clock::time_point deadline) {
    if (sessions_.empty()) {
        work_.reset();
        return;
    }
    if (Clock::now() >= deadline) {
        // Stopping one takes it off the list, so the next is found before.
        std::vector<std::shared_ptr<Session>> left;
        for (auto& session : sessions_) left.push_back(session.shared_from_this());
        for (auto& session : left) session->stop();
    }
    drain_timer_.expires_after(drain_step);
    drain_timer_.async_wait([this, deadline](boost::system::error_code) { drain(deadline); });
}

void Worker::stop() {
    if (!thread_.joinable()) return;
    begin_stop();
    thread_.join();
}

}  // namespace

struct Workers::State {
    Shared shared;
    std::vector<std::unique_ptr<Worker>> workers;
    std::vector<Endpoint> open;
};

Workers::Workers(dataplane::Dataplane& dataplane, Options options) {
    const auto limit = options.descriptor_limit != 0 ? options.descriptor_limit : descriptor_limit();
    state_ = std::unique_ptr<State>(
        new State{.shared = {.dataplane = dataplane, .options = options, .gate = {limit, open_descriptors()}},
                  .workers = {},
                  .open = {}});
    for (unsigned index = 0; index < std::max(1u, options.workers); ++index)
        state_->workers.push_back(std::make_unique<Worker>(state_->shared, index));
}

Workers::~Workers() {
    stop();
}

Result<Endpoint> Workers::open(Listener listener) {
    auto& open = state_->open;
    if (std::find(open.begin(), open.end(), listener.address) != open.end()) {
        const auto shared = std::make_shared<const Listener>(std::move(listener));
        for (auto& worker : state_->workers) worker->replace(shared);
        return shared->address;
    }
    const auto overlaps = [&](const Endpoint& one) {
        return one.port == listener.address.port && one.address.family == listener.address.address.family &&
               (one.address.is_any() || listener.address.address.is_any());
    };
    // Port 0 is free by nature, and the sockets of this daemon are no strangers.
    if (listener.address.port != 0 && std::ranges::none_of(open, overlaps))
        if (auto free = expect_free(listener.address); !free) return std::unexpected(free.error());
    std::vector<Fd> sockets;
    for (std::size_t index = 0; index < state_->workers.size(); ++index) {
        auto socket = open_listening_socket(listener.address, listener.maximum_segment);
        if (!socket) return std::unexpected(socket.error());
        if (listener.address.port == 0) {
            const auto chosen = local_endpoint(socket->get());
            if (!chosen) return std::unexpected(chosen.error());
            listener.address.port = chosen->port;
        }
        sockets.push_back(std::move(*socket));
    }
    const auto shared = std::make_shared<const Listener>(std::move(listener));
    open.push_back(shared->address);
    for (std::size_t index = 0; index < sockets.size(); ++index)
        state_->workers[index]->open(shared, std::move(sockets[index]));
    return shared->address;
}

void Workers::limit_segment(const Endpoint& address, std::uint32_t maximum_segment) {
    for (auto& worker : state_->workers) worker->limit(address, maximum_segment);
}

void Workers::close(const Endpoint& address) {
    std::erase(state_->open, address);
    for (auto& worker : state_->workers) worker->close(address);
}

void Workers::evict(const std::shared_ptr<Eviction>& eviction) {
    eviction->left = 0;
    eviction->looking = static_cast<unsigned>(state_->workers.size());
    for (auto& worker : state_->workers) worker->evict(eviction);
}

void Workers::stop() {
    for (auto& worker : state_->workers) worker->begin_stop();
    for (auto& worker : state_->workers) worker->stop();
}

Counts Workers::counts() const {
    Counts sum;
    for (const auto& worker : state_->workers) {
        const auto& counters = worker->counters();
        sum.accepted += counters.accepted.load(std::memory_order_relaxed);
        sum.spliced += counters.spliced.load(std::memory_order_relaxed);
        sum.relayed += counters.relayed.load(std::memory_order_relaxed);
        sum.tls += counters.tls.load(std::memory_order_relaxed);
        sum.pending += counters.pending.load(std::memory_order_relaxed);
    }
    return sum;
}

}  // namespace limpet::session
