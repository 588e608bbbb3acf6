// SPDX-License-Identifier: Apache-2.0
#include "dataplane/janitor.h"

#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace limpet::dataplane {
namespace {

std::chrono::milliseconds ticks_to_time(std::uint32_t ticks) {
    return std::chrono::milliseconds(ticks * nanoseconds_per_tick / 1'000'000);
}

/// Whether a closing flow is certain to be over: after a RST, or when both FINs were acknowledged.
bool is_over(const FlowEntry& client, const FlowEntry& broker) {
    return client.flow.close_reason != LIMPET_REASON_END_FIN ||
           (acknowledged(client, broker) && acknowledged(broker, client));
}

bool was_reset(const Fd& socket) {
    tcp_info info{};
    socklen_t length = sizeof info;
    return getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
           info.tcpi_state == TCP_CLOSE;
}

}  // namespace

Janitor::Janitor(const Options& options, FlowMaps& maps, SourcePorts& ports, RawSender& sender, int events,
                 std::function<void(Reason)> count)
    : options_(options),
      maps_(maps),
      ports_(ports),
      sender_(sender),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      probing_(maps, sender, std::move(count)),
      ending_(maps) {
    events_ = ring_buffer__new(events, &Janitor::handle_event, this, nullptr);
}

Janitor::~Janitor() {
    stop();
    ring_buffer__free(events_);
}

void Janitor::stop() {
    stop_ = true;
    wake();
    if (thread_.joinable()) thread_.join();
}

void Janitor::start() {
    next_sweep_ = next_tick_ = Clock::now();
    thread_ = std::thread([this] { run(); });
}

void Janitor::on_flow_end(std::function<void(const FlowEnd&)> handler) {
    const std::lock_guard guard(mutex_);
    handler_ = std::move(handler);
}

void Janitor::on_broker_reset(std::function<void(const BrokerReset&)> handler) {
    const std::lock_guard guard(mutex_);
    reset_handler_ = std::move(handler);
}

void Janitor::wake() const {
    [[maybe_unused]] const int result = eventfd_write(wake_.get(), 1);
}

void Janitor::keep_for_grace(Fd client, Fd broker, const FlowPair& pair) {
    bool first = false;
    {
        const std::lock_guard guard(mutex_);
        first = graces_.empty();
        graces_.push_back({Clock::now() + socket_grace, std::move(client), std::move(broker), pair});
    }
    descriptors_.fetch_add(2, std::memory_order_relaxed);
    if (first) wake();
}

void Janitor::remove_later(const FlowKey& key, std::uint32_t generation, bool broker_leg) {
    const std::lock_guard guard(mutex_);
    removals_.push_back({Clock::now() + options_.retire_grace, key, generation, broker_leg});
}

void Janitor::watch_closing(const FlowPair& pair) {
    const std::lock_guard guard(mutex_);
    checks_.push_back({Clock::now() + options_.closing_timeout, pair, 0});
}

void Janitor::run() {
    while (!stop_) {
        int timeout = ending_.busy() ? 20 : 1000;
        {
            const std::lock_guard guard(mutex_);
            if (!graces_.empty() || !kills_.empty())
                timeout = 10;
            else if (!removals_.empty() || !checks_.empty() || cursor_.started || !probing_.empty())
                timeout = std::min(timeout, 100);
        }
        std::array<pollfd, 2> descriptors{
            {{ring_buffer__epoll_fd(events_), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        ::poll(descriptors.data(), descriptors.size(), timeout);
        eventfd_t ignored = 0;
        eventfd_read(wake_.get(), &ignored);
        ring_buffer__consume(events_);
        const auto now = Clock::now();
        close_due(now);
        std::vector<std::pair<FlowKey, Reason>> kills;
        std::vector<Check> due;
        {
            const std::lock_guard guard(mutex_);
            kills.swap(kills_);
            while (!checks_.empty() && checks_.front().due <= now) {
                due.push_back(checks_.front());
                checks_.pop_front();
            }
        }
        for (auto& check : due)
            if (const auto wait = check_closing(check.pair, check.asked)) {
                const std::lock_guard guard(mutex_);
                checks_.push_back({now + *wait, check.pair, check.asked});
            }
        ending_.step(now, [this](const FlowKey& key, Reason reason) { return kill(key, reason); });
        probing_.step(now, [this](const FlowPair& pair) { kill(pair.client, LIMPET_REASON_END_UNANSWERED); });
        remove_due(now);
        if (now >= next_sweep_) sweep(now);
        if (now >= next_tick_) {
            next_tick_ = now + std::chrono::seconds(1);
            conntrack_.look();
            if (tick_) tick_();
        }
    }
    const std::lock_guard guard(mutex_);
    graces_.clear();
}

int Janitor::handle_event(void* context, void* data, std::size_t size) {
    if (size < sizeof(limpet_event)) return 0;
    limpet_event event;
    std::memcpy(&event, data, sizeof event);
    FlowKey key;
    key.family = event.family;
    std::memcpy(key.bytes.data(), event.key, key.bytes.size());
    static_cast<Janitor*>(context)->take_event(key, event);
    return 0;
}

std::optional<FlowPair> Janitor::pair_of(const FlowKey& key, const FlowEntry& entry) const {
    if (entry.source.port == 0) return std::nullopt;  // was never ACTIVE
    return entry.is_client_leg() ? FlowPair{key, entry.peer_key()} : FlowPair{entry.peer_key(), key};
}

void Janitor::take_event(const FlowKey& key, const limpet_event& event) {
    const auto state = event.state;
    const auto reason = static_cast<Reason>(event.reason);
    const auto entry = maps_.read(key);
    if (!entry) return;
    const auto pair = pair_of(key, *entry);
    if (!pair) return;
    if (reason == LIMPET_REASON_DOUBTED) take_doubt(*pair, key, event.sequence);
    if (state == LIMPET_STATE_CLOSING) watch_closing(*pair);
    if (state == LIMPET_STATE_CLOSING && reason == LIMPET_REASON_END_RST && !entry->is_client_leg())
        tell_reset(*pair, *entry);
    if (state != LIMPET_STATE_RETIRED) return;
    const auto client = entry->is_client_leg() ? entry : maps_.read(pair->client);
    // Retired still: a tuple that came back meanwhile is another life, and its former one was ended then.
    if (client && client->flow.state == LIMPET_STATE_RETIRED) end(*pair, reason, *client);
}

void Janitor::tell_reset(const FlowPair& pair, const FlowEntry& broker) {
    std::function<void(const BrokerReset&)> handler;
    {
        const std::lock_guard guard(mutex_);
        handler = reset_handler_;
    }
    if (!handler) return;
    const auto age = ticks_to_time(ticks_since(broker.flow.created, tick_now()));
    handler({pair.client.destination(), pair.broker.source(),
             std::chrono::duration_cast<std::chrono::milliseconds>(age)});
}

void Janitor::take_doubt(const FlowPair& pair, const FlowKey& key, std::uint32_t sequence) {
    if (probing_.is_answer(pair, key, sequence))
        kill(pair.client, LIMPET_REASON_END_RST);  // that end has lost the connection; the other one is told
    else
        probing_.begin(pair, Probing::Cause::doubt, Clock::now());
}

std::optional<std::chrono::milliseconds> Janitor::check_closing(const FlowPair& pair, unsigned& asked) {
    const auto client = maps_.read(pair.client);
    const auto broker = maps_.read(pair.broker);
    if (!client || !broker || client->flow.state != LIMPET_STATE_CLOSING ||
        broker->flow.state != LIMPET_STATE_CLOSING)
        return std::nullopt;
    const auto present = tick_now();
    const auto silence = ticks_to_time(std::min(present - client->flow.tick, present - broker->flow.tick)) +
                         std::chrono::milliseconds(20);
    const bool over = is_over(*client, *broker);
    if (over && silence >= options_.closing_timeout) {
        end(pair, static_cast<Reason>(client->flow.close_reason), *client);
        return std::nullopt;
    }
    // Two FINs that nobody acknowledged may be guesses. Whose they are confirms them, and is asked less
    // often.
    const auto patience = std::max<std::chrono::milliseconds>(options_.closing_timeout, closing_patience);
    if (!over && silence >= patience * (1U << asked) &&
        probing_.begin(pair, Probing::Cause::closing, Clock::now()))
        asked = std::min(asked + 1, closing_questions);
    // The last ACK may come at any time: looked at again no later than after the short time.
    return std::max(options_.closing_timeout - silence, options_.closing_timeout / 4);
}

void Janitor::end(const FlowPair& pair, Reason reason, const FlowEntry& client) {
    const auto generation = client.flow.created;
    if (generation == 0) return;  // the entry is gone, so it was ended
    const auto broker = maps_.read(pair.broker);
    std::function<void(const FlowEnd&)> handler;
    {
        const std::lock_guard guard(mutex_);
        const auto [known, fresh] = ended_.try_emplace(pair.client, generation);
        if (!fresh && known->second == generation) return;  // told twice
        known->second = generation;
        handler = handler_;
    }
    maps_.retire(pair.client, generation, reason);
    remove_later(pair.client, generation, false);
    if (broker) maps_.retire(pair.broker, broker->flow.created, reason);
    remove_later(pair.broker, broker ? broker->flow.created : ~0U, !pair.is_transparent());
    flows_.fetch_sub(1, std::memory_order_relaxed);
    if (!handler) return;
    FlowEnd ended;
    ended.client = pair.client.source();
    ended.listener = pair.client.destination();
    ended.broker = pair.broker.source();
    ended.client_hash = client.flow.client_hash;
    ended.stick_seconds = client.flow.stick_seconds;
    ended.reason = reason;
    handler(ended);
}

void Janitor::settle(const FlowKey& client_key) {
    const auto entry = maps_.read(client_key);
    if (entry && entry->flow.state == LIMPET_STATE_RETIRED &&
        entry->flow.close_reason == LIMPET_REASON_END_SYN) {
        if (const auto pair = pair_of(client_key, *entry)) end(*pair, LIMPET_REASON_END_SYN, *entry);
    }
}

void Janitor::reset_both(const FlowPair& pair, const FlowEntry& client, const FlowEntry& broker) {
    // What an end expects next is the last ACK number that it sent; so its entry knows it.
    sender_.send_reset(pair.client.destination(), pair.client.source(), client.flow.note_ack,
                       client.flow.note_sequence_end);
    sender_.send_reset(pair.broker.destination(), pair.broker.source(), broker.flow.note_ack,
                       broker.flow.note_sequence_end);
}

bool Janitor::kill(const FlowKey& client_key, Reason reason) {
    const auto client = maps_.read(client_key);
    if (!client || !client->is_spliced() || !client->is_client_leg()) return false;
    const auto pair = pair_of(client_key, *client);
    const auto broker = maps_.read(pair->broker);
    if (!broker) return false;
    // Retired first: what the ends still say after the RST is answered by the host as for a stranger.
    end(*pair, reason, *client);
    reset_both(*pair, *client, *broker);
    return true;
}

void Janitor::close_due(Clock::time_point now) {
    std::vector<Grace> closing;
    {
        const std::lock_guard guard(mutex_);
        while (!graces_.empty() && graces_.front().due <= now) {
            closing.push_back(std::move(graces_.front()));
            graces_.pop_front();
        }
    }
    descriptors_.fetch_sub(2 * closing.size(), std::memory_order_relaxed);
    for (const auto& grace : closing) {
        // A RST that had passed before HOLD began reaches its socket behind the handoff, unseen by the flow.
        if (was_reset(grace.client) || was_reset(grace.broker))
            kill(grace.pair.client, LIMPET_REASON_END_RST);
        conntrack_.forget(grace.pair.client.source(), grace.pair.client.destination());
        conntrack_.forget(grace.pair.broker.destination(), grace.pair.broker.source());
    }
}

void Janitor::remove_due(Clock::time_point now) {
    std::vector<Removal> due;
    {
        const std::lock_guard guard(mutex_);
        while (!removals_.empty() && removals_.front().due <= now) {
            due.push_back(removals_.front());
            removals_.pop_front();
        }
    }
    for (const auto& removal : due) {
        maps_.remove(removal.key, removal.generation);
        if (removal.broker_leg)
            ports_.give_back(removal.key.destination().address, removal.key.source(),
                             removal.key.destination().port);
        const std::lock_guard guard(mutex_);
        const auto ended = ended_.find(removal.key);
        if (ended != ended_.end() && ended->second == removal.generation) ended_.erase(ended);
    }
}

void Janitor::sweep(Clock::time_point now) {
    if (maps_.visit(cursor_, sweep_piece, [this](const FlowKey& key, const FlowEntry& entry) {
            visit(key, entry);
            return true;
        })) {
        next_sweep_ = now + sweep_pause;
        return;  // the rest in the next round
    }
    const bool first_family = cursor_.family == 4;
    cursor_ = {};
    cursor_.family = first_family ? 6 : 4;
    if (!first_family) next_sweep_ = now + sweep_interval;
}

void Janitor::visit(const FlowKey& key, const FlowEntry& entry) {
    const auto& flow = entry.flow;
    if (!entry.is_client_leg()) return;
    if (flow.state == LIMPET_STATE_ACTIVE && flow.idle_ticks != 0 &&
        tick_now() - flow.tick > flow.idle_ticks && tick_now() - flow.tick < (1U << 31)) {
        kill(key, LIMPET_REASON_END_IDLE);
        return;
    }
    if (flow.state == LIMPET_STATE_ACTIVE && flow.idle_ticks == 0 && options_.probe_after.count() != 0 &&
        tick_now() - flow.tick < (1U << 31) && ticks_to_time(tick_now() - flow.tick) > options_.probe_after) {
        probing_.begin({key, entry.peer_key()}, Probing::Cause::silence, Clock::now());
        return;
    }
    // An event may have been lost; then this walk is the one to find what it told of.
    const auto pair = pair_of(key, entry);
    if (!pair) return;
    if (flow.state == LIMPET_STATE_CLOSING &&
        ticks_to_time(tick_now() - flow.tick) > 2 * options_.closing_timeout) {
        unsigned asked = closing_questions;
        check_closing(*pair, asked);
    } else if (flow.state == LIMPET_STATE_RETIRED && flow.client_hash != 0 &&
               ticks_to_time(tick_now() - flow.tick) > 2 * options_.retire_grace + sweep_interval)
        end(*pair, static_cast<Reason>(flow.close_reason), entry);
}

void Janitor::adopt() {
    std::vector<std::pair<FlowKey, FlowEntry>> orphans;
    std::uint64_t adopted = 0;
    maps_.visit_all([&](const FlowKey& key, const FlowEntry& entry) {
        const auto peer = entry.is_spliced() ? maps_.read(entry.peer_key()) : std::nullopt;
        if (!peer || !peer->is_spliced()) {
            orphans.emplace_back(key, entry);
            return true;
        }
        if (!entry.is_client_leg()) return true;
        ++adopted;
        const auto broker_key = entry.peer_key();
        if (!FlowPair{key, broker_key}.is_transparent())
            ports_.adopt(broker_key.destination().address, broker_key.source(),
                         broker_key.destination().port);
        if (entry.flow.state == LIMPET_STATE_CLOSING) watch_closing({key, broker_key});
        return true;
    });
    for (const auto& [key, entry] : orphans) remove_orphan(key, entry);
    flows_ = adopted;
    if (adopted != 0 || !orphans.empty())
        spdlog::info("took over {} spliced connections of an earlier daemon, removed {} unfinished entries",
                     adopted, orphans.size());
}

/// Its connection was on its way when the daemon died, and its socket went with the daemon; one that was
/// frozen (TCP_REPAIR) went without a word, so its end would wait for ever.
void Janitor::remove_orphan(const FlowKey& key, const FlowEntry& entry) {
    const bool ended = entry.flow.state == LIMPET_STATE_RETIRED &&
                       entry.flow.close_reason != LIMPET_REASON_HOLD_EXPIRED;  // that is frozen still
    if (!ended && (entry.flow.flags & LIMPET_FLOW_NOTE_SEEN) != 0)
        sender_.send_reset(key.destination(), key.source(), entry.flow.note_ack,
                           entry.flow.note_sequence_end);
    maps_.retire(key, 0, LIMPET_REASON_END_ORPHAN);
    maps_.remove(key, 0);
}

}  // namespace limpet::dataplane
