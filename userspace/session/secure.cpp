// SPDX-License-Identifier: Apache-2.0
// The chapters of TLS: towards the client before its CONNECT, towards the broker before it hears of it.
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <cerrno>

#include "session/session.h"
#include "session/waits.h"

namespace limpet::session {
namespace {

/// A handshake under way, counted among those of its listener.
class HandshakeInFlight {
  public:
    explicit HandshakeInFlight(std::atomic<std::uint32_t>& count) : count_(count), number_(++count) {}
    ~HandshakeInFlight() { --count_; }
    HandshakeInFlight(const HandshakeInFlight&) = delete;
    HandshakeInFlight& operator=(const HandshakeInFlight&) = delete;

    [[nodiscard]] std::uint32_t number() const { return number_; }

  private:
    std::atomic<std::uint32_t>& count_;
    const std::uint32_t number_;
};

constexpr std::uint8_t handshake_record = 0x16;  // RFC 8446 5.1

/// What the first byte of something else than TLS begins.
std::string_view plain_text(std::uint8_t first) {
    if (first == 0x10) return "an MQTT CONNECT without TLS";
    if (first >= 'A' && first <= 'Z') return "a text protocol, such as HTTP, without TLS";
    return "the first byte is no TLS record's";
}

}  // namespace

/// Waits for the first byte, which is left where it is. Nothing is made for those who say nothing.
Awaitable<bool> Session::hear_first_byte() {
    for (;;) {
        std::uint8_t first = 0;
        const auto count = ::recv(client_.socket(), &first, 1, MSG_PEEK);
        if (count == 1 && first == handshake_record) co_return true;
        if (count == 1) {
            // SSL 2 began with a length whose highest bit is set.
            const bool ancient = (first & 0x80) != 0;
            refuse(ancient ? LIMPET_REASON_CLOSE_TLS_VERSION : LIMPET_REASON_CLOSE_NOT_TLS, std::nullopt,
                   ancient ? std::string_view() : plain_text(first));
            co_return false;
        }
        if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
            refuse(LIMPET_REASON_CLOSE_CLIENT_GONE, std::nullopt);
            co_return false;
        }
        if (Clock::now() >= handshake_->connect_deadline) {
            refuse(LIMPET_REASON_CLOSE_TLS_TIMEOUT, std::nullopt, "the client said nothing");
            co_return false;
        }
        arm(waits::client_readable, handshake_->connect_deadline);
        co_await signal_.wait();
        if (stopped_) {
            refuse(LIMPET_REASON_CLOSE_SHUTDOWN, std::nullopt);
            co_return false;
        }
    }
}

Awaitable<bool> Session::accept_tls() {
    if (!co_await hear_first_byte()) co_return false;
    const HandshakeInFlight in_flight(*listener_->handshakes);
    if (in_flight.number() > listener_->max_handshakes) {
        refuse(LIMPET_REASON_CLOSE_TLS_BUSY, std::nullopt);
        co_return false;
    }
    auto connection = listener_->tls->accept(client_.socket());
    if (!connection) {
        refuse(LIMPET_REASON_CLOSE_RESOURCES, std::nullopt);
        co_return false;
    }
    auto& tls = *connection;
    client_.cover(std::move(connection));
    const auto failure = co_await shake_hands(tls, {waits::client_readable, waits::client_writable},
                                              handshake_->connect_deadline);
    if (failure.reason != LIMPET_REASON_NONE) {
        refuse(failure.reason, std::nullopt, failure.detail);
        // An alert is on its way, and must not be overtaken by a reset.
        told_why_ = failure.reason != LIMPET_REASON_CLOSE_CLIENT_GONE;
        co_return false;
    }
    count_tls();
    remember_client(tls);
    co_return true;
}

/// What TLS tells of the client takes the place of what a proxy said: it is first-hand.
void Session::remember_client(const tls::Connection& tls) {
    auto& origin = handshake_->origin;
    const auto session = tls.session();
    origin.alpn.reset();
    if (!session.protocol.empty()) origin.alpn = session.protocol;
    origin.authority.reset();
    if (!session.server_name.empty()) origin.authority = session.server_name;
    proxy_protocol::Tls told;
    told.client = proxy_protocol::client_used_tls;
    told.version = session.version;
    told.cipher = session.cipher;
    if (auto name = tls.peer_common_name(); !name.empty()) told.common_name = std::move(name);
    if (tls.has_peer_certificate())
        told.client |= session.resumed ? proxy_protocol::client_certificate_in_session
                                       : proxy_protocol::client_certificate_on_connection;
    origin.tls = std::move(told);
}

/// TLS towards a broker that has just been connected.
Awaitable<Reason> Session::secure_broker(const balancer::Choice& choice) {
    auto connection = destination_->tls->connect(broker_.socket(), choice.address.address);
    if (!connection) co_return LIMPET_REASON_CLOSE_RESOURCES;
    auto& tls = *connection;
    broker_.cover(std::move(connection));
    const auto failure = co_await shake_hands(tls, {waits::broker_readable, waits::broker_writable},
                                              handshake_->attempt_deadline);
    if (failure.reason == LIMPET_REASON_NONE) {
        count_tls();
        co_return LIMPET_REASON_NONE;
    }
    if (failure.reason == LIMPET_REASON_CLOSE_SHUTDOWN) co_return failure.reason;
    environment_.refusals.write_broker(LIMPET_REASON_BROKER_TLS, choice.address, choice.name, failure.detail);
    co_return LIMPET_REASON_BROKER_TLS;
}

Awaitable<tls::Failure> Session::shake_hands(tls::Connection& tls, Side side,
                                             const Clock::time_point& deadline) {
    for (;;) {
        const auto step = tls.handshake();
        if (step == tls::Connection::Step::done) co_return tls::Failure{};
        if (step == tls::Connection::Step::failed) co_return tls.failure();
        if (Clock::now() >= deadline)
            co_return tls::Failure{LIMPET_REASON_CLOSE_TLS_TIMEOUT,
                                   "the TLS handshake was not completed in time"};
        arm(step == tls::Connection::Step::wants_read ? side.readable : side.writable, deadline);
        co_await signal_.wait();
        if (stopped_) co_return tls::Failure{LIMPET_REASON_CLOSE_SHUTDOWN, {}};
    }
}

void Session::count_tls() {
    if (std::exchange(counted_tls_, true)) return;
    environment_.counters.tls.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace limpet::session
