// SPDX-License-Identifier: Apache-2.0
// Proxies on both sides: one before us says who the client is, and we say it to the broker. Headers cross the
// bare socket, whatever is spoken behind them.
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "proxy_protocol/header.h"
#include "session/session.h"
#include "session/waits.h"

namespace limpet::session {
namespace {

constexpr std::size_t most_peeked = 4096;  // bytes; no header that is accepted is longer

bool is_from(const std::vector<Network>& networks, const IpAddress& address) {
    return std::ranges::any_of(networks, [&](const Network& network) { return network.contains(address); });
}

/// Of the connection, for the logs of brokers (2.2.5): eight bytes that a daemon has for itself, and a count.
std::vector<std::uint8_t> next_unique_id() {
    static const auto own = [] {
        std::array<std::uint8_t, 8> bytes{};
        static_cast<void>(::getrandom(bytes.data(), bytes.size(), 0));
        return bytes;
    }();
    static std::atomic<std::uint64_t> count{0};
    std::vector<std::uint8_t> id(own.begin(), own.end());
    const auto number = count.fetch_add(1, std::memory_order_relaxed);
    for (unsigned shift = 64; shift > 0; shift -= 8)
        id.push_back(static_cast<std::uint8_t>(number >> (shift - 8)));
    return id;
}

}  // namespace

Awaitable<bool> Session::read_proxy_header() {
    if (listener_->proxy_from.empty()) co_return true;
    if (!is_from(listener_->proxy_from, connection_->client().address)) {
        // Who speaks a protocol that we read is found out when it sends a header. Of `tcp` nothing is read:
        // a header would reach the broker as if we had written it.
        if (listener_->protocol != Protocol::tcp) co_return true;
        refuse(LIMPET_REASON_CLOSE_PROXY_UNTRUSTED, std::nullopt,
               "the address is not in proxy_from, and this listener serves no others");
        co_return false;
    }
    // No more than the header is taken out of the socket: what follows is for whoever reads it.
    std::vector<std::uint8_t> header;
    for (;;) {
        const int socket = client_.socket();
        const auto count = ::recv(socket, environment_.scratch.data(), most_peeked, MSG_PEEK);
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
            refuse(LIMPET_REASON_CLOSE_CLIENT_GONE, std::nullopt);
            co_return false;
        }
        if (count > 0) {
            const auto before = header.size();
            const auto fresh = environment_.scratch.first(static_cast<std::size_t>(count));
            header.insert(header.end(), fresh.begin(), fresh.end());
            auto parsed = proxy_protocol::parse_header({header.data(), header.size()});
            if (parsed.status == Status::invalid) {
                refuse(LIMPET_REASON_CLOSE_PROXY_HEADER, std::nullopt,
                       fmt::format("from the proxy {}: {}", connection_->client().text(),
                                   proxy_protocol::fault_sentence(parsed.fault)));
                co_return false;
            }
            const auto own = parsed.status == Status::complete ? parsed.consumed - before : fresh.size();
            static_cast<void>(read_some(socket, environment_.scratch.first(own)));
            if (parsed.status == Status::complete) {
                // A check of the proxy's own (2.2, LOCAL) is served under the address that it comes from.
                if (parsed.header.command == proxy_protocol::Command::proxy)
                    handshake_->origin = std::move(parsed.header);
                co_return true;
            }
        }
        if (!co_await await_client()) co_return false;
    }
}

const Endpoint& Session::client_address() const {
    if (handshake_ && handshake_->origin.addresses) return handshake_->origin.addresses->source;
    return connection_->client();
}

Awaitable<Reason> Session::send_proxy_header() {
    auto header = handshake_->origin;
    header.version = proxy_protocol::Version::v2;
    header.transport = proxy_protocol::Transport::stream;
    header.paths.reset();
    header.checksum = true;
    if (!header.addresses) header.addresses = {connection_->client(), connection_->listener()};
    if (!header.unique_id) header.unique_id = next_unique_id();
    const auto bytes = proxy_protocol::write_v2(header);
    if (!bytes) co_return LIMPET_REASON_CLOSE_RESOURCES;
    std::size_t sent = 0;
    for (;;) {
        const auto count = ::send(broker_.socket(), bytes->data() + sent, bytes->size() - sent, MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN && errno != EINTR) co_return LIMPET_REASON_BROKER_CLOSED_EARLY;
        sent += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
        if (sent == bytes->size()) co_return LIMPET_REASON_NONE;
        if (Clock::now() >= handshake_->attempt_deadline && give_way())
            co_return LIMPET_REASON_BROKER_CONNECT_FAILED;
        arm(waits::broker_writable, handshake_->attempt_deadline);
        co_await signal_.wait();
        if (stopped_) co_return LIMPET_REASON_CLOSE_SHUTDOWN;
    }
}

}  // namespace limpet::session
