// SPDX-License-Identifier: Apache-2.0
// WebSocket on either side: the handshakes that lead to it, and how both sides' frames are joined when nobody
// needs to look into them any more.
#include <sys/random.h>

#include "base/bytes.h"
#include "session/bytes.h"
#include "session/session.h"
#include "session/waits.h"
#include "websocket/handshake.h"

namespace limpet::session {
namespace {

// Of a broker's answer; a client's request is bounded by its reader.
constexpr std::size_t largest_head = 8192;

void cover_with_frames(Leg& leg, websocket::Sender peer, std::vector<std::uint8_t> ahead) {
    leg.cover(std::make_unique<WebSocketChannel>(peer, leg.socket(), leg.uncover(), std::move(ahead)));
}

void uncover_frames(Leg& leg) {
    auto below = frames_of(leg)->release();
    static_cast<void>(leg.uncover());
    if (below) leg.cover(std::move(below));
}

std::string new_key() {
    std::array<std::uint8_t, 16> random{};
    static_cast<void>(::getrandom(random.data(), random.size(), 0));
    return websocket::make_key(random);
}

}  // namespace

Awaitable<bool> Session::read_upgrade() {
    auto& bytes = handshake_->from_client;
    websocket::RequestReader reader(largest_head);
    for (;;) {
        const auto fresh = hear_client();
        if (!fresh) co_return false;
        if (!fresh->empty()) reader.read(view(bytes));
        if (reader.status() != Status::incomplete) break;
        if (!co_await await_client()) co_return false;
    }
    const auto answer = reader.status() == Status::complete
                            ? websocket::answer_upgrade(reader.head(), listener_->upgrade)
                            : websocket::answer_fault(reader.fault());
    if (!answer.accepted()) {
        turn_away(LIMPET_REASON_CLOSE_NOT_WEBSOCKET, as_bytes(answer.response),
                  websocket::refusal_sentence(answer.refusal));
        co_return false;
    }
    // A socket that has sent nothing yet takes so little at once.
    if (client_.write(as_bytes(answer.response)) != static_cast<std::ptrdiff_t>(answer.response.size())) {
        refuse(LIMPET_REASON_CLOSE_CLIENT_GONE, std::nullopt);
        co_return false;
    }
    handshake_->subprotocol = answer.subprotocol;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(reader.consumed()));
    cover_with_frames(client_, websocket::Sender::client, std::exchange(bytes, {}));
    co_return true;
}

/// The broker is asked for a WebSocket; its frames are read from then on.
Awaitable<Reason> Session::upgrade_broker(const balancer::Choice& choice) {
    const auto& terms = *destination_->websocket;
    websocket::UpgradeRequest request;
    request.host = terms.host.empty() ? choice.address.text() : terms.host;
    request.path = terms.path;
    if (!handshake_->subprotocol.empty()) request.subprotocol = handshake_->subprotocol;
    request.key = new_key();
    request.headers.emplace_back("X-Forwarded-For", client_address().address.text());
    const auto asked = websocket::write_request(request);
    if (!asked) co_return LIMPET_REASON_BROKER_PROTOCOL;
    std::size_t sent = 0;
    websocket::ResponseReader reader(largest_head);
    std::vector<std::uint8_t> answer;
    while (reader.status() == Status::incomplete) {
        const auto count = broker_.write(as_bytes(*asked).subspan(sent));
        if (count < 0) co_return LIMPET_REASON_BROKER_CLOSED_EARLY;
        sent += static_cast<std::size_t>(count);
        const auto read = broker_.read(environment_.scratch.first(largest_head));
        if (read.kind == Read::Kind::end || read.kind == Read::Kind::broken)
            co_return LIMPET_REASON_BROKER_CLOSED_EARLY;
        const auto fresh = environment_.scratch.first(read.count);
        answer.insert(answer.end(), fresh.begin(), fresh.end());
        if (reader.read(view(answer)) != Status::incomplete) break;
        if (Clock::now() >= handshake_->attempt_deadline && give_way())
            co_return LIMPET_REASON_BROKER_CONNACK_TIMEOUT;
        const unsigned writable = sent < asked->size() ? waits::broker_writable : 0;
        arm(waits::broker_readable | writable, handshake_->attempt_deadline);
        co_await signal_.wait();
        if (stopped_) co_return LIMPET_REASON_CLOSE_SHUTDOWN;
    }
    if (reader.status() == Status::invalid) {
        environment_.refusals.write_broker(LIMPET_REASON_BROKER_PROTOCOL, choice.address, choice.name,
                                           "the answer to the WebSocket handshake is no HTTP");
        co_return LIMPET_REASON_BROKER_PROTOCOL;
    }
    if (const auto fault = websocket::judge_response(reader.head(), request);
        fault != websocket::ResponseFault::none) {
        environment_.refusals.write_broker(LIMPET_REASON_BROKER_PROTOCOL, choice.address, choice.name,
                                           websocket::fault_sentence(fault));
        co_return LIMPET_REASON_BROKER_PROTOCOL;
    }
    answer.erase(answer.begin(), answer.begin() + static_cast<std::ptrdiff_t>(reader.consumed()));
    cover_with_frames(broker_, websocket::Sender::server, std::move(answer));
    co_return LIMPET_REASON_NONE;
}

/// Both sides speak WebSocket and whatever was read has been written: from here on frames cross as they are,
/// and the connection can be left to the kernel. False: not at this moment.
bool Session::join_frames() {
    if (!to_broker_.idle() || !to_client_.idle()) return false;
    const auto up = frames_of(client_)->seam();
    const auto down = frames_of(broker_)->seam();
    if (!up || !down) return false;
    const auto header = [](const websocket::FrameHeader& seam) {
        const auto bytes = seam.view();
        return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
    };
    to_broker_.waiting = header(*up);
    to_client_.waiting = header(*down);
    to_client_.packets.reset();  // what is read from now on is more than MQTT
    uncover_frames(client_);
    uncover_frames(broker_);
    return true;
}

}  // namespace limpet::session
