// SPDX-License-Identifier: Apache-2.0
// The story, from accept to the end; the chapter that finds a broker is in reach_broker.cpp.
#include "session/session.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <stdexcept>

#include "session/bytes.h"
#include "session/terms.h"
#include "session/waits.h"

namespace limpet::session {
namespace {

namespace asio = boost::asio;

// A client that was refused gets this long to read why. Closing at once would send RST for what it has sent
// meanwhile, and RST takes the refusal out of its receive queue.
constexpr std::chrono::milliseconds linger_time{1000};
constexpr std::size_t most_lingered = 16 * 1024 * 1024;

/// Whether the peer has sent FIN or RST, read or not.
bool half_closed(int socket) {
    pollfd asked{socket, POLLRDHUP, 0};
    return ::poll(&asked, 1, 0) == 1;
}

std::string_view version_text(mqtt::Version version) {
    switch (version) {
        case mqtt::Version::v31:
            return "3.1";
        case mqtt::Version::v311:
            return "3.1.1";
        case mqtt::Version::v5:
            return "5";
    }
    return "";
}

/// A PROXY header that reads as no CONNECT: where some may send one, the sender is not among them.
Reason name_at(const Listener& listener, Reason reason) {
    const bool header = reason == LIMPET_REASON_CLOSE_PROXY_V1 || reason == LIMPET_REASON_CLOSE_PROXY_V2;
    return header && !listener.proxy_from.empty() ? LIMPET_REASON_CLOSE_PROXY_UNTRUSTED : reason;
}

/// Why every connection of this listener stays a relay; NONE where it need not.
Reason relayed_by_nature(const Listener& listener) {
    return listener.tls ? LIMPET_REASON_RELAY_TLS : LIMPET_REASON_NONE;
}

/// Limpet's refusal for a CONNECT that is wrong; nothing where the client is no MQTT client.
std::optional<mqtt::Refusal> refusal_for(Reason reason) {
    switch (reason) {
        case LIMPET_REASON_CLOSE_VERSION:
            return mqtt::Refusal::unsupported_version;
        case LIMPET_REASON_CLOSE_EMPTY_ID:
            return mqtt::Refusal::client_id_rejected;
        case LIMPET_REASON_CLOSE_TOO_LARGE:
            return mqtt::Refusal::packet_too_large;
        case LIMPET_REASON_CLOSE_MALFORMED:
            return mqtt::Refusal::malformed;
        default:
            return std::nullopt;
    }
}

}  // namespace

Session::Session(Environment& environment, std::shared_ptr<const Listener> listener, Fd client, bool no_room)
    : environment_(environment),
      listener_(std::move(listener)),
      destination_(&listener_->destination),
      client_(environment.executor),
      broker_(environment.executor),
      timer_(environment.executor),
      connection_(std::make_unique<handoff::Connection>(environment.dataplane, environment.worker,
                                                        client.get(), relayed_by_nature(*listener_))),
      handshake_(std::make_unique<Handshake>()),
      descriptors_(no_room ? 1 : 2),
      no_room_(no_room) {
    if (!client_.take(std::move(client))) throw std::runtime_error("the event loop takes no more sockets");
    environment_.gate.take(descriptors_);
    environment_.counters.pending.fetch_add(1, std::memory_order_relaxed);
}

Session::~Session() {
    finish();
}

Awaitable<void> Session::story() {
    handshake_->connect_deadline = Clock::now() + listener_->connect_timeout;
    bool going_on = co_await read_proxy_header();
    // Decided at once, and said when it is known in whose words.
    Reason over = LIMPET_REASON_NONE;
    if (going_on)
        over = listener_->limits->admit_source(listener_->rates, client_address().address, Clock::now());
    if (going_on && listener_->tls) going_on = co_await accept_tls();
    if (going_on && listener_->protocol == Protocol::ws) going_on = co_await read_upgrade();
    if (going_on && speaks_mqtt(listener_->protocol)) going_on = co_await read_connect() && identify();
    if (going_on && listener_->protocol == Protocol::tls_passthrough) going_on = co_await read_client_hello();
    if (going_on) going_on = admit(over) && find_route() && co_await reach_broker();
    if (going_on)
        co_await relay();
    else
        co_await linger();
}

Awaitable<bool> Session::read_connect() {
    auto& bytes = handshake_->from_client;
    for (;;) {
        const auto fresh = hear_client();
        if (!fresh) co_return false;
        if (!fresh->empty()) {
            auto parsed = mqtt::parse_connect(view(bytes), listener_->max_connect_size);
            version_ = parsed.version;
            if (parsed.status == mqtt::Status::complete) {
                handshake_->connect = std::move(parsed.packet);
                tell("connect", {}, "MQTT " + std::string(version_text(handshake_->connect.version)));
                handshake_->connect_size = parsed.consumed;
                co_return true;
            }
            if (parsed.status == mqtt::Status::invalid) {
                const Reason reason = name_at(*listener_, parsed.reason);
                refuse(reason, refusal_for(reason), parsed.detail);
                co_return false;
            }
        }
        if (!co_await await_client()) co_return false;
    }
}

std::optional<std::span<const std::uint8_t>> Session::hear_client() {
    auto& bytes = handshake_->from_client;
    const std::size_t most = listener_->max_connect_size + most_behind_connect;
    const auto room = std::min(environment_.scratch.size(), most - bytes.size());
    const auto read = client_.read(environment_.scratch.first(room));
    if (read.kind == Read::Kind::end || read.kind == Read::Kind::broken) {
        refuse(why_client_broke(), std::nullopt, client_.trouble());
        return std::nullopt;
    }
    const auto fresh = environment_.scratch.first(read.count);
    bytes.insert(bytes.end(), fresh.begin(), fresh.end());
    return fresh;
}

Reason Session::why_client_broke() const {
    if (client_.trouble().empty()) return LIMPET_REASON_CLOSE_CLIENT_GONE;
    const auto* frames = frames_of(client_);
    return frames && frames->is_wrong() ? LIMPET_REASON_CLOSE_FRAME : LIMPET_REASON_TLS_BROKEN;
}

Awaitable<bool> Session::await_client() {
    const auto deadline = handshake_->connect_deadline;
    if (Clock::now() >= deadline) {
        refuse(LIMPET_REASON_CLOSE_CONNECT_TIMEOUT, std::nullopt);
        co_return false;
    }
    arm(waits::client_readable, deadline);
    co_await signal_.wait();
    if (!stopped_) co_return true;
    refuse(LIMPET_REASON_CLOSE_SHUTDOWN, std::nullopt);
    co_return false;
}

Awaitable<void> Session::relay() {
    fired_ = waits::readable | waits::writable;
    for (;;) {
        if (!pump_both()) {
            co_await break_off();
            co_return;
        }
        if (to_broker_.passed_on && to_client_.passed_on) co_return;
        auto wake_at = relay_until_;
        if (leaving_) {
            const Departure departure = leave(wake_at);
            if (departure == Departure::gone) co_return;
            if (departure == Departure::at_once) continue;
        }
        arm(relay_interest(), wake_at);
        co_await signal_.wait();
        if (stopped_) {
            count(LIMPET_REASON_CLOSE_SHUTDOWN);
            co_return;
        }
        if (evicted_ != LIMPET_REASON_NONE) {
            co_await take_leave();
            co_return;
        }
        if (Clock::now() >= relay_until_) co_return;
    }
}

/// A side is broken. A client whose frames are wrong is told so; else both are reset, as one of them was: who
/// is left would take FIN for an orderly end.
Awaitable<void> Session::break_off() {
    const auto* from_client = frames_of(client_);
    const auto* from_broker = frames_of(broker_);
    if (from_client && from_client->is_wrong()) {
        refuse(LIMPET_REASON_CLOSE_FRAME, std::nullopt, client_.trouble());
        broker_.reset_on_close();
        co_return co_await linger();
    }
    if (from_broker && from_broker->is_wrong())
        count(LIMPET_REASON_BROKER_PROTOCOL);
    else if (!client_.trouble().empty() || !broker_.trouble().empty())
        count(LIMPET_REASON_TLS_BROKEN);
    client_.reset_on_close();
    broker_.reset_on_close();
}

/// The client is told in words where its version has them (MQTT-5.0 3.14) and they would stand between two
/// packets of the broker's. The broker sees a reset: whether the session and the will live on is its
/// business.
Awaitable<void> Session::take_leave() {
    count(evicted_);
    broker_.reset_on_close();
    broker_.close();
    const bool between =
        to_client_.packets && to_client_.packets->between() && to_client_.idle() && !to_client_.ended;
    if (between) {
        const auto words = mqtt::write_disconnect(evicted_ == LIMPET_REASON_END_BROKER_DOWN
                                                      ? mqtt::disconnect_server_shutting_down
                                                      : mqtt::disconnect_use_another_server);
        told_why_ = client_.write(words) == static_cast<std::ptrdiff_t>(words.size());
    }
    if (!told_why_) client_.reset_on_close();
    co_await linger();
}

bool Session::pump_both() {
    // Woken where nothing was read or written: by a reset, or, as this stays armed beside reads that were
    // wanted again since, by a side's orderly end after we ended ours (EPOLLHUP tells no more), which has to
    // be read.
    const bool client_rang = fired(waits::client_failed) && !client_over();
    const bool broker_rang = fired(waits::broker_failed) && !broker_over();
    if ((client_rang && client_.broken()) || (broker_rang && broker_.broken())) return false;
    const bool up = fired(waits::client_readable | waits::broker_writable) || client_rang;
    const bool down = fired(waits::broker_readable | waits::client_writable) || broker_rang;
    // While trying to leave both are looked at, so that "idle" is as true as can be.
    if ((up || leaving_) && !pump(client_, broker_, to_broker_, environment_.scratch)) return false;
    return !(down || leaving_) || pump(broker_, client_, to_client_, environment_.scratch);
}

Session::Departure Session::leave(Clock::time_point& wake_at) {
    if (to_broker_.ended || to_client_.ended) {
        stay(LIMPET_REASON_NONE);  // it is about to end anyway
        return Departure::later;
    }
    if (forced_relay_ != LIMPET_REASON_NONE) {
        stay(forced_relay_);
        return Departure::later;
    }
    if (both_in_frames()) return join_frames() ? Departure::at_once : Departure::later;
    const handoff::FlowFacts facts{client_id_, client_hash_, stick_seconds(lifetime_), idle_timeout_};
    const bool idle = to_broker_.idle() && to_client_.idle();
    const auto step = connection_->step(client_.socket(), broker_.socket(), idle, facts);
    if (step.kind == handoff::Step::Kind::relay) {
        const bool ending = half_closed(client_.socket()) || half_closed(broker_.socket());
        stay(ending ? LIMPET_REASON_NONE : step.reason);
        return Departure::later;
    }
    if (step.kind == handoff::Step::Kind::again) {
        // In HOLD packets are parked, so a look again is not worth a turn of the loop. The step bounds how
        // often.
        if (step.wait == step.wait.zero()) return Departure::at_once;
        wake_at = std::min(wake_at, Clock::now() + step.wait);
        return Departure::later;
    }
    tell("spliced");
    // The data path owns both descriptors now. Asio only forgets them; the connection's count and the pool's
    // memory are given back when the data path reports the flow's end.
    static_cast<void>(client_.release().release());
    static_cast<void>(broker_.release().release());
    broker_id_.reset();
    client_hash_ = 0;
    environment_.counters.spliced.fetch_add(1, std::memory_order_relaxed);
    return Departure::gone;
}

void Session::stay(Reason reason) {
    leaving_ = false;
    connection_->give_up(reason);
    relayed_ = true;
    environment_.counters.pending.fetch_sub(1, std::memory_order_relaxed);
    environment_.counters.relayed.fetch_add(1, std::memory_order_relaxed);
    if (reason != LIMPET_REASON_NONE) {
        count(reason);
        tell("relayed", {}, reason_name(reason));
        spdlog::debug("relaying {}: {}", connection_->client().text(), reason_name(reason));
    }
    std::string().swap(client_id_);
}

void Session::tell(std::string_view what, std::string_view broker, std::string_view detail) const {
    if (!environment_.trace.watched()) return;
    Trace::Event event;
    event.client = connection_->client();
    event.client_id = handshake_ ? std::string(client_facts().client_id) : client_id_;
    event.what = what;
    event.broker = broker;
    event.detail = detail;
    environment_.trace.note(std::move(event), Clock::now());
}

void Session::refuse(Reason reason, std::optional<mqtt::Refusal> refusal, std::string_view detail) {
    if (!refusal) return turn_away(reason, {}, detail);
    // Who names a version that does not exist is told so in the words of 3.1.1 (MQTT-3.1.1 3.1.2.2).
    if (!version_ && *refusal == mqtt::Refusal::unsupported_version) version_ = mqtt::Version::v311;
    turn_away(reason, version_ ? mqtt::write_refusal(*refusal, *version_) : std::vector<std::uint8_t>(),
              detail);
}

void Session::turn_away(Reason reason, std::span<const std::uint8_t> words, std::string_view detail) {
    count(reason);
    tell("refused", {},
         std::string(reason_name(reason)) + (detail.empty() ? "" : ": ") + std::string(detail));
    environment_.refusals.write(reason, client_address(), listener_->name, detail);
    told_why_ = reason == LIMPET_REASON_CLOSE_FRAME;  // by a close frame
    if (words.empty()) return;
    told_why_ = client_.write(words) == static_cast<std::ptrdiff_t>(words.size());
}

Awaitable<void> Session::linger() {
    if (!told_why_) co_return;
    static_cast<void>(client_.end());
    static_cast<void>(client_.uncover());  // what lies over the socket has had its last word
    const auto deadline = Clock::now() + linger_time;
    std::size_t discarded = 0;
    while (!stopped_ && discarded < most_lingered && Clock::now() < deadline) {
        // Whatever it still sends: nobody looks at it.
        const auto read = read_some(client_.socket(), environment_.scratch);
        if (read.kind == Read::Kind::end || read.kind == Read::Kind::broken) co_return;
        discarded += read.count;
        arm(waits::client_readable, deadline);
        co_await signal_.wait();
    }
}

void Session::stop() {
    const auto self = shared_from_this();
    stopped_ = true;
    signal_.raise();
}

bool Session::is_relayed_to(const balancer::Pool& other, balancer::BrokerId broker) const {
    return relayed_ && !finished_ && verdict_ == Verdict::accepted && evicted_ == LIMPET_REASON_NONE &&
           broker_id_ == broker && &pool() == &other;
}

void Session::evict(Reason reason) {
    const auto self = shared_from_this();
    evicted_ = reason;
    signal_.raise();
}

void Session::finish() {
    if (std::exchange(finished_, true)) return;
    // What left for the kernel is not closed: its end is told by the data path.
    if (client_.is_open() && environment_.trace.watched())
        environment_.trace.note_end(connection_->client(), "closed", {}, Clock::now());
    timer_.cancel();
    client_.close();
    broker_.close();
    connection_.reset();
    handshake_.reset();
    if (broker_id_) pool().end_connection(*broker_id_);
    if (client_hash_ != 0) pool().release(client_hash_, lifetime_, Clock::now());
    environment_.gate.give(descriptors_);
    if (counted_tls_) environment_.counters.tls.fetch_sub(1, std::memory_order_relaxed);
    auto& now = relayed_ ? environment_.counters.relayed : environment_.counters.pending;
    now.fetch_sub(1, std::memory_order_relaxed);
    unlink();
}

void Session::arm(unsigned interest, Clock::time_point deadline) {
    if (interest & waits::client_readable) arm_one(client_, client_.to_read(), waits::client_readable);
    if (interest & waits::client_writable) arm_one(client_, client_.to_write(), waits::client_writable);
    if (interest & waits::client_failed) arm_one(client_, Descriptor::wait_error, waits::client_failed);
    if (interest & waits::broker_readable) arm_one(broker_, broker_.to_read(), waits::broker_readable);
    if (interest & waits::broker_writable) arm_one(broker_, broker_.to_write(), waits::broker_writable);
    if (interest & waits::broker_failed) arm_one(broker_, Descriptor::wait_error, waits::broker_failed);
    if ((interest & waits::client_readable) && client_.buffered()) wake_for(waits::client_readable);
    if ((interest & waits::broker_readable) && broker_.buffered()) wake_for(waits::broker_readable);
    arm_timer(deadline);
}

/// Bytes that a channel holds already make no socket readable: the loop's next turn wakes the story.
void Session::wake_for(unsigned bit) {
    fired_ = static_cast<std::uint8_t>(fired_ | bit);
    asio::post(environment_.executor, [self = shared_from_this()] { self->signal_.raise(); });
}

void Session::arm_one(Leg& leg, Descriptor::wait_type event, unsigned bit) {
    if (armed_ & bit) return;
    armed_ = static_cast<std::uint8_t>(armed_ | bit);
    const auto generation = (bit & waits::of_broker) ? broker_generation_ : 0;
    leg.descriptor().async_wait(event,
                                [self = shared_from_this(), bit, generation](boost::system::error_code code) {
                                    if ((bit & waits::of_broker) && generation != self->broker_generation_)
                                        return;
                                    self->armed_ = static_cast<std::uint8_t>(self->armed_ & ~bit);
                                    if (code == asio::error::operation_aborted) return;
                                    self->fired_ = static_cast<std::uint8_t>(self->fired_ | bit);
                                    self->signal_.raise();
                                });
}

void Session::arm_timer(Clock::time_point deadline) {
    if (deadline == armed_deadline_) return;
    armed_deadline_ = deadline;
    if (deadline == never) {
        timer_.cancel();
        return;
    }
    timer_.expires_at(deadline);
    timer_.async_wait([self = shared_from_this()](boost::system::error_code code) {
        if (code) return;
        self->armed_deadline_ = never;
        self->signal_.raise();
    });
}

bool Session::fired(unsigned bit) {
    const bool was = (fired_ & bit) != 0;
    fired_ = static_cast<std::uint8_t>(fired_ & ~bit);
    return was;
}

unsigned Session::relay_interest() const {
    unsigned interest = 0;
    if (to_broker_.wants_source()) interest |= waits::client_readable;
    if (to_client_.wants_sink()) interest |= waits::client_writable;
    if (to_client_.wants_source()) interest |= waits::broker_readable;
    if (to_broker_.wants_sink()) interest |= waits::broker_writable;
    // A side that is only waited for could be reset unnoticed. Once both its directions have ended there is
    // nothing left to notice (and epoll would report the hang-up without end).
    if (!(interest & (waits::client_readable | waits::client_writable)) && !client_over())
        interest |= waits::client_failed;
    if (!(interest & (waits::broker_readable | waits::broker_writable)) && !broker_over())
        interest |= waits::broker_failed;
    return interest;
}

}  // namespace limpet::session
