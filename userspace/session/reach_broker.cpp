// SPDX-License-Identifier: Apache-2.0
// The chapter from CONNECT to CONNACK: a broker is chosen, connected and asked, and left for the next one
// where it fails, unseen by the client.
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>

#include "session/bytes.h"
#include "session/session.h"
#include "session/terms.h"
#include "session/waits.h"

namespace limpet::session {
namespace {

// Of a broker's CONNACK, and of AUTH packets that the client does not take.
constexpr std::size_t largest_answer = 128 * 1024;
// Source ports tried towards one broker when the host says that they are in use after all.
constexpr int most_ports = 16;
// A tuple that another connection of this client had ends within a moment, mostly: how often to look.
constexpr std::chrono::milliseconds tuple_pause{50};

constexpr std::uint8_t packet_connack = 2;
constexpr std::uint8_t packet_auth = 15;

bool out_of_resources(int number) {
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

bool is_broker_failure(Reason reason) {
    switch (reason) {
        case LIMPET_REASON_BROKER_CONNECT_FAILED:
        case LIMPET_REASON_BROKER_CONNACK_TIMEOUT:
        case LIMPET_REASON_BROKER_CLOSED_EARLY:
        case LIMPET_REASON_BROKER_PROTOCOL:
        case LIMPET_REASON_BROKER_REFUSED:
        case LIMPET_REASON_BROKER_TLS:
            return true;
        default:
            return false;
    }
}

// Another broker may take the client that this one does not take now.
bool is_for_now(std::uint8_t code, mqtt::Version version) {
    if (version != mqtt::Version::v5) return code == 3;  // server unavailable (MQTT-3.1.1 3.2.2.3)
    switch (code) {                                      // MQTT-5.0 3.2.2.2
        case 0x88:                                       // server unavailable
        case 0x89:                                       // server busy
        case 0x97:                                       // quota exceeded
        case 0x9C:                                       // use another server
        case 0x9D:                                       // server moved
            return true;
        default:
            return false;
    }
}

// It says that of itself, and not of this client alone.
bool is_about_the_broker(std::uint8_t code) {
    return code == 3 || code == 0x88 || code == 0x89;
}

}  // namespace

Awaitable<bool> Session::reach_broker() {
    if (no_room_) {
        refuse(LIMPET_REASON_CLOSE_RESOURCES, mqtt::Refusal::server_busy);
        co_return false;
    }
    // Frames on one side only: somebody must wrap and unwrap them.
    const bool unlike = destination_->websocket.has_value() != (listener_->protocol == Protocol::ws);
    if (destination_->tls)
        connection_->give_up(LIMPET_REASON_RELAY_TLS);
    else if (unlike && !listener_->tls)
        connection_->give_up(LIMPET_REASON_RELAY_LISTENER);
    handshake_->deadline = Clock::now() + listener_->connack_timeout;
    for (auto choice = choose_next(); choice; choice = choose_next()) {
        if (!pool().take_place(*choice)) continue;
        const Reason failure = co_await try_broker(*choice);
        if (failure == LIMPET_REASON_NONE) {
            settle(*choice);
            co_return true;
        }
        drop_broker(*choice, failure);
        if (!is_broker_failure(failure) || handshake_->broker_spoke) {
            give_up_on_brokers(failure);
            co_return false;
        }
    }
    give_up_on_brokers(LIMPET_REASON_CLOSE_NO_BROKER);
    co_return false;
}

Awaitable<Reason> Session::try_broker(const balancer::Choice& choice) {
    handshake_->tried.push_back(choice.id);
    broker_id_ = choice.id;
    tell("chosen", choice.name, balancer::why_name(choice.why));
    // Half of what is left: a broker that drops SYNs, or accepts and never answers, leaves time for the next.
    const auto now = Clock::now();
    handshake_->attempt_deadline = now + (handshake_->deadline - now) / 2;
    Reason failure = co_await connect_broker(choice.address);
    if (failure != LIMPET_REASON_NONE) co_return failure;
    if (destination_->tls) failure = co_await secure_broker(choice);
    if (failure != LIMPET_REASON_NONE) co_return failure;
    if (destination_->websocket) failure = co_await upgrade_broker(choice);
    if (failure != LIMPET_REASON_NONE) co_return failure;
    if (speaks_mqtt(listener_->protocol)) {
        failure = co_await await_connack();
        co_return failure;
    }
    verdict_ = Verdict::accepted;
    co_return LIMPET_REASON_NONE;
}

Awaitable<Reason> Session::connect_broker(const Endpoint& address) {
    Reason started = start_connect(address);
    while (started == LIMPET_REASON_CLOSE_TUPLE_IN_USE && Clock::now() < handshake_->attempt_deadline) {
        arm(0, std::min(Clock::now() + tuple_pause, handshake_->attempt_deadline));
        co_await signal_.wait();
        if (stopped_) co_return LIMPET_REASON_CLOSE_SHUTDOWN;
        started = start_connect(address);
    }
    if (started != LIMPET_REASON_NONE) co_return started;
    for (;;) {
        arm(waits::broker_writable, handshake_->attempt_deadline);
        co_await signal_.wait();
        if (stopped_) co_return LIMPET_REASON_CLOSE_SHUTDOWN;
        if (fired(waits::broker_writable)) break;
        if (Clock::now() >= handshake_->attempt_deadline && give_way())
            co_return LIMPET_REASON_BROKER_CONNECT_FAILED;
    }
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(broker_.socket(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) co_return LIMPET_REASON_BROKER_CONNECT_FAILED;
    if (destination_->proxy_header) {
        const Reason failure = co_await send_proxy_header();
        if (failure != LIMPET_REASON_NONE) co_return failure;
    }
    // Registered anew, without the interest in writing: Asio never takes that back, and every later wait for
    // a read would be woken once for nothing.
    co_return broker_.take(broker_.release()) ? LIMPET_REASON_NONE : LIMPET_REASON_CLOSE_RESOURCES;
}

Awaitable<Reason> Session::await_connack() {
    for (;;) {
        const Reason failure = exchange();
        if (failure != LIMPET_REASON_NONE) co_return failure;
        if (verdict_ != Verdict::undecided) co_return LIMPET_REASON_NONE;
        if (Clock::now() >= handshake_->attempt_deadline && give_way())
            co_return LIMPET_REASON_BROKER_CONNACK_TIMEOUT;
        arm(handshake_interest(), handshake_->attempt_deadline);
        co_await signal_.wait();
        if (stopped_) co_return LIMPET_REASON_CLOSE_SHUTDOWN;
    }
}

balancer::Client Session::client_facts() const {
    balancer::Client facts;
    facts.source = client_address().address;
    facts.nameless = !speaks_mqtt(listener_->protocol);
    if (!handshake_) return facts;
    const auto& connect = handshake_->connect;
    facts.client_id = client_id(connect, handshake_->connack);
    if (connect.user_name) facts.username = *connect.user_name;
    if (const auto* name = certificate_name()) facts.certificate_cn = *name;
    if (handshake_->origin.authority) facts.server_name = *handshake_->origin.authority;
    return facts;
}

std::optional<balancer::Choice> Session::choose_next() {
    if (handshake_->next) return std::exchange(handshake_->next, std::nullopt);
    if (Clock::now() >= handshake_->deadline) return std::nullopt;
    if (!attempts_left()) return std::nullopt;
    return pool().choose(client_facts(), handshake_->tried);
}

bool Session::attempts_left() const {
    return handshake_->tried.size() < destination_->broker_attempts;
}

/// The attempt's time is up. True: turn to another broker (or to none, when all time is up). With nobody else
/// to turn to the present broker gets what is left.
bool Session::give_way() {
    if (Clock::now() >= handshake_->deadline) return true;
    if (!handshake_->broker_spoke && attempts_left())
        handshake_->next = pool().choose(client_facts(), handshake_->tried);
    if (handshake_->next) return true;
    handshake_->attempt_deadline = handshake_->deadline;
    return false;
}

Result<Fd> Session::open_leg(const Endpoint& address) {
    if (forced_relay_ == LIMPET_REASON_NONE) {
        auto leg = connection_->open_broker_leg(address, destination_->transparent);
        // A transparent pool's brokers hear the client's own address, or nothing.
        if (leg || destination_->transparent || out_of_resources(leg.error().number)) return leg;
        forced_relay_ = connection_->relay_reason();
        if (forced_relay_ == LIMPET_REASON_NONE) forced_relay_ = LIMPET_REASON_RELAY_NO_SOURCE_PORT;
    }
    return connection_->open_plain_leg(address);
}

Reason Session::start_connect(const Endpoint& address) {
    sockaddr_storage storage{};
    const auto length = address.to_sockaddr(storage);
    for (int attempt = 0; attempt < most_ports; ++attempt) {
        auto leg = open_leg(address);
        if (!leg) {
            spdlog::debug("no socket towards {}: {}", address.text(), leg.error().line());
            return leg.error().number == EADDRINUSE ? LIMPET_REASON_CLOSE_TUPLE_IN_USE
                                                    : LIMPET_REASON_CLOSE_RESOURCES;
        }
        const int result = ::connect(leg->get(), reinterpret_cast<const sockaddr*>(&storage), length);
        if (result == 0 || errno == EINPROGRESS)
            return broker_.take(std::move(*leg)) ? LIMPET_REASON_NONE : LIMPET_REASON_CLOSE_RESOURCES;
        if (errno != EADDRNOTAVAIL) return LIMPET_REASON_BROKER_CONNECT_FAILED;
        leg->reset();
        if (forced_relay_ == LIMPET_REASON_NONE) connection_->port_refused();
        if (destination_->transparent) return LIMPET_REASON_CLOSE_TUPLE_IN_USE;
    }
    return LIMPET_REASON_BROKER_CONNECT_FAILED;
}

/// Moves what can be moved between client and broker before CONNACK, and looks for CONNACK.
Reason Session::exchange() {
    auto& shake = *handshake_;
    const std::size_t most = listener_->max_connect_size + most_behind_connect;
    if (fired(waits::client_readable) && !shake.client_ended && shake.from_client.size() < most) {
        const auto room = std::min(environment_.scratch.size(), most - shake.from_client.size());
        const auto read = client_.read(environment_.scratch.first(room));
        if (read.kind == Read::Kind::broken) return why_client_broke();
        if (read.kind == Read::Kind::end) shake.client_ended = true;
        const auto fresh = environment_.scratch.first(read.count);
        shake.from_client.insert(shake.from_client.end(), fresh.begin(), fresh.end());
    }
    while (shake.sent < shake.from_client.size()) {
        const auto count = broker_.write(std::span(shake.from_client).subspan(shake.sent));
        // Broken: a broker that refuses may close at once; what it said first is still to be read.
        if (count <= 0) break;
        shake.sent += static_cast<std::size_t>(count);
    }
    const Reason answer = read_answer();
    if (answer != LIMPET_REASON_NONE) return answer;
    if (!shake.to_client.empty() && !flush(client_, shake.to_client, shake.to_client_taken))
        return LIMPET_REASON_CLOSE_CLIENT_GONE;
    return LIMPET_REASON_NONE;
}

Reason Session::read_answer() {
    auto& shake = *handshake_;
    if (!fired(waits::broker_readable) || shake.to_client.size() > largest_answer) return LIMPET_REASON_NONE;
    const auto read = broker_.read(environment_.scratch);
    if (read.kind == Read::Kind::nothing) return LIMPET_REASON_NONE;
    if (read.kind != Read::Kind::bytes && !broker_.trouble().empty()) {
        // With TLS 1.3 a broker judges our certificate when the handshake is over for us (RFC 8446 4.4.2.4).
        spdlog::debug("a broker ended TLS: {}", broker_.trouble());
        return LIMPET_REASON_BROKER_TLS;
    }
    if (read.kind != Read::Kind::bytes) return LIMPET_REASON_BROKER_CLOSED_EARLY;
    const auto fresh = environment_.scratch.first(read.count);
    shake.from_broker.insert(shake.from_broker.end(), fresh.begin(), fresh.end());
    return judge_answer();
}

Reason Session::judge_answer() {
    auto& shake = *handshake_;
    const auto version = shake.connect.version;
    for (;;) {
        const auto frame = mqtt::parse_frame(view(shake.from_broker));
        if (frame.status == mqtt::Status::incomplete) return LIMPET_REASON_NONE;
        if (frame.status == mqtt::Status::invalid || frame.length > largest_answer)
            return LIMPET_REASON_BROKER_PROTOCOL;
        // Extended authentication: packets of both sides come before CONNACK (MQTT-5.0 4.12).
        const bool authentication = frame.type == packet_auth && version == mqtt::Version::v5;
        if (frame.type != packet_connack && !authentication) return LIMPET_REASON_BROKER_PROTOCOL;
        if (shake.from_broker.size() < frame.length) return LIMPET_REASON_NONE;
        if (frame.type == packet_connack) break;
        const auto end = shake.from_broker.begin() + static_cast<std::ptrdiff_t>(frame.length);
        shake.to_client.insert(shake.to_client.end(), shake.from_broker.begin(), end);
        shake.from_broker.erase(shake.from_broker.begin(), end);
        shake.broker_spoke = true;
    }
    auto parsed = mqtt::parse_connack(view(shake.from_broker), version);
    if (parsed.status != mqtt::Status::complete) return LIMPET_REASON_BROKER_PROTOCOL;
    if (is_for_now(parsed.packet.code, version) && !shake.broker_spoke) {
        shake.refusal_code = parsed.packet.code;
        shake.last_refusal.assign(shake.from_broker.begin(),
                                  shake.from_broker.begin() + static_cast<std::ptrdiff_t>(parsed.consumed));
        return LIMPET_REASON_BROKER_REFUSED;
    }
    shake.connack = std::move(parsed.packet);
    verdict_ = shake.connack.code == 0 ? Verdict::accepted : Verdict::refused;
    return LIMPET_REASON_NONE;
}

unsigned Session::handshake_interest() const {
    const auto& shake = *handshake_;
    const std::size_t most = listener_->max_connect_size + most_behind_connect;
    unsigned interest = 0;
    if (!shake.client_ended && shake.from_client.size() < most) interest |= waits::client_readable;
    if (!shake.to_client.empty()) interest |= waits::client_writable;
    if (shake.sent < shake.from_client.size()) interest |= waits::broker_writable;
    if (shake.to_client.size() <= largest_answer) interest |= waits::broker_readable;
    return interest;
}

void Session::drop_broker(const balancer::Choice& choice, Reason failure) {
    broker_.close();
    ++broker_generation_;
    armed_ = static_cast<std::uint8_t>(armed_ & ~waits::of_broker);
    fired_ = static_cast<std::uint8_t>(fired_ & ~waits::of_broker);
    handshake_->sent = 0;
    handshake_->from_broker.clear();
    pool().end_connection(choice.id);
    broker_id_.reset();
    forced_relay_ = LIMPET_REASON_NONE;
    tell("broker_failed", choice.name, reason_name(failure));
    if (!is_broker_failure(failure)) return;
    report_failure(choice, failure);
    count(failure);
    spdlog::debug("broker {} ({}) is left for the next one: {}", choice.name, choice.address.text(),
                  reason_name(failure));
}

void Session::report_failure(const balancer::Choice& choice, Reason failure) {
    using balancer::Trouble;
    if (failure == LIMPET_REASON_BROKER_REFUSED) {
        const auto code = handshake_->refusal_code;
        if (!is_about_the_broker(code)) return;
        pool().report_failure(choice.id, Clock::now(), Trouble::refusal,
                              fmt::format("CONNACK with code {:#04x} for a client", code));
        return;
    }
    const bool silent =
        failure == LIMPET_REASON_BROKER_CONNECT_FAILED || failure == LIMPET_REASON_BROKER_CONNACK_TIMEOUT;
    pool().report_failure(choice.id, Clock::now(), silent ? Trouble::unreachable : Trouble::refusal,
                          reason_sentence(failure));
}

void Session::give_up_on_brokers(Reason failure) {
    if (failure == LIMPET_REASON_CLOSE_NO_BROKER && !attempts_left()) failure = LIMPET_REASON_CLOSE_ATTEMPTS;
    const bool none_left =
        failure == LIMPET_REASON_CLOSE_NO_BROKER || failure == LIMPET_REASON_CLOSE_ATTEMPTS;
    const auto fullness = none_left ? pool().fullness() : balancer::Fullness::none;
    if (none_left && !handshake_->last_refusal.empty()) {
        turn_away(failure, handshake_->last_refusal, {});
    } else if (fullness != balancer::Fullness::none) {
        refuse(fullness == balancer::Fullness::pool ? LIMPET_REASON_CLOSE_POOL_FULL
                                                    : LIMPET_REASON_CLOSE_BROKERS_FULL,
               mqtt::Refusal::quota_exceeded);
    } else if (none_left) {
        refuse(failure, mqtt::Refusal::server_unavailable);
    } else if (failure == LIMPET_REASON_CLOSE_RESOURCES || failure == LIMPET_REASON_CLOSE_TUPLE_IN_USE) {
        refuse(failure, mqtt::Refusal::server_busy);
    } else if (is_broker_failure(failure)) {
        // In the middle of an authentication with this broker: CONNACK may still say so (MQTT-5.0 4.12.1).
        refuse(LIMPET_REASON_CLOSE_BROKER_GONE, mqtt::Refusal::server_unavailable);
    } else {
        refuse(failure, std::nullopt, client_.trouble());
    }
}

/// The broker has answered: what was kept for another one goes into the relay, and the terms are noted.
void Session::settle(const balancer::Choice& choice) {
    auto& shake = *handshake_;
    pool().report_success(choice.id);
    if (speaks_mqtt(listener_->protocol))
        tell(verdict_ == Verdict::refused ? "refused_by_broker" : "accepted", choice.name,
             "CONNACK code " + std::to_string(shake.connack.code));
    shake.from_client.erase(shake.from_client.begin(),
                            shake.from_client.begin() + static_cast<std::ptrdiff_t>(shake.sent));
    to_broker_.waiting = std::move(shake.from_client);
    to_broker_.ended = shake.client_ended;
    to_client_.waiting = std::move(shake.to_client);
    to_client_.taken = shake.to_client_taken;
    to_client_.waiting.insert(to_client_.waiting.end(), shake.from_broker.begin(), shake.from_broker.end());
    if (version_ == mqtt::Version::v5) to_client_.packets.emplace().take(view(to_client_.waiting));
    if (verdict_ == Verdict::refused) {
        // The broker's own words go to the client as they are, and then both close. Who does not is closed.
        relay_until_ = Clock::now() + listener_->connack_timeout;
        stay(LIMPET_REASON_NONE);
    } else {
        const auto facts = client_facts();
        client_hash_ = pool().hash_key(pool().key_text(facts));
        if (speaks_mqtt(listener_->protocol)) {
            lifetime_ = session_lifetime(shake.connect, shake.connack);
            idle_timeout_ = idle_timeout(shake.connect, shake.connack, environment_.idle_timeout);
        } else {
            idle_timeout_ = environment_.idle_timeout;
        }
        if (client_hash_ != 0) pool().remember(client_hash_, choice.id, lifetime_);
        client_id_ = facts.client_id;
        leaving_ = true;
    }
    handshake_.reset();
}

}  // namespace limpet::session
