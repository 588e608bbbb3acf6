// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

namespace limpet::session::test {
namespace {

Fd listen_on_loopback(Endpoint& address, int backlog) {
    Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const auto length = Endpoint::parse("127.0.0.1:0")->to_sockaddr(storage);
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
        (backlog >= 0 && ::listen(socket.get(), backlog) != 0))
        throw std::runtime_error("no listening socket on loopback");
    address = *local_endpoint(socket.get());
    return socket;
}

bool wait_for(int descriptor, short events) {
    pollfd waited{descriptor, events, 0};
    const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
    return ::poll(&waited, 1, static_cast<int>(limit)) == 1;
}

}  // namespace

Bytes bytes(std::string_view text) {
    return {text.begin(), text.end()};
}

Bytes operator+(Bytes left, const Bytes& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

Bytes connect_packet(const std::string& client_id, mqtt::Version version) {
    mqtt::Connect connect;
    connect.version = version;
    connect.client_id = client_id;
    connect.keep_alive = 60;
    return mqtt::write_connect(connect);
}

bool eventually(const std::function<bool()>& holds) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
    return true;
}

Socket::Socket(Fd descriptor) : descriptor_(std::move(descriptor)) {}

Socket Socket::to(const Endpoint& address) {
    Fd socket(::socket(address.address.family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage{};
    const auto length = address.to_sockaddr(storage);
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0)
        throw std::runtime_error("no connection to " + address.text());
    return Socket(std::move(socket));
}

void Socket::send(const Bytes& data) const {
    std::size_t sent = 0;
    while (sent < data.size()) {
        if (!wait_for(get(), POLLOUT)) throw std::runtime_error("the other end took nothing in time");
        const auto count = ::send(get(), data.data() + sent, data.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0) return;  // what a test expects shows in what it reads
        sent += static_cast<std::size_t>(count);
    }
}

std::size_t Socket::send_some(const Bytes& data) const {
    const auto count = ::send(get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
}

Bytes Socket::receive(std::size_t count) const {
    Bytes all(count);
    std::size_t have = 0;
    while (have < count && wait_for(get(), POLLIN)) {
        const auto more = ::recv(get(), all.data() + have, count - have, MSG_DONTWAIT);
        if (more <= 0) break;
        have += static_cast<std::size_t>(more);
    }
    all.resize(have);
    return all;
}

Bytes Socket::receive_some() const {
    Bytes part(64 * 1024);
    const auto count = wait_for(get(), POLLIN) ? ::recv(get(), part.data(), part.size(), MSG_DONTWAIT) : 0;
    part.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return part;
}

Bytes Socket::receive_all() const {
    Bytes all;
    for (auto part = receive_some(); !part.empty(); part = receive_some())
        all.insert(all.end(), part.begin(), part.end());
    return all;
}

bool Socket::closed() const {
    std::uint8_t byte = 0;
    return wait_for(get(), POLLIN) && ::recv(get(), &byte, 1, MSG_DONTWAIT) <= 0;
}

bool Socket::reset() const {
    std::uint8_t byte = 0;
    return wait_for(get(), POLLIN) && ::recv(get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

void Socket::finish_sending() const {
    ::shutdown(get(), SHUT_WR);
}

void Socket::abort() {
    const linger at_once{1, 0};
    setsockopt(get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
}

Broker::Broker(Script script) : script_(std::move(script)), listening_(listen_on_loopback(address_, 512)) {
    accepting_ = std::thread([this] { serve(); });
}

Broker::~Broker() {
    stopping_ = true;
    ::shutdown(listening_.get(), SHUT_RDWR);
    accepting_.join();
    {
        const std::lock_guard lock(mutex_);
        for (auto& socket : open_)
            if (socket.get() >= 0) ::shutdown(socket.get(), SHUT_RDWR);
    }
    for (auto& thread : talking_) thread.join();
}

void Broker::serve() {
    while (!stopping_) {
        Fd accepted(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!accepted) continue;
        ++connections_;
        const std::lock_guard lock(mutex_);
        auto& socket = open_.emplace_back(std::move(accepted));
        talking_.emplace_back([this, &socket] {
            script_(socket);
            const std::lock_guard closing(mutex_);
            socket.close();
        });
    }
}

Bytes read_connect(Socket& socket) {
    Bytes packet;
    for (;;) {
        const auto next = socket.receive(1);
        if (next.empty()) return packet;
        packet = packet + next;
        const auto frame = mqtt::parse_frame({packet.data(), packet.size()});
        if (frame.status != mqtt::Status::complete) continue;
        return packet + socket.receive(frame.length - packet.size());
    }
}

Broker::Script echo(Bytes connack) {
    return [connack = std::move(connack)](Socket& socket) {
        if (read_connect(socket).empty()) return;
        socket.send(connack);
        for (auto part = socket.receive_some(); !part.empty(); part = socket.receive_some())
            socket.send(part);
    };
}

Endpoint nobody() {
    // Bound and not listened on, for as long as the process lives: nobody else can take the port meanwhile.
    static std::list<Fd> kept;
    Endpoint address;
    kept.push_back(listen_on_loopback(address, -1));
    return address;
}

Fd silent(Endpoint& address) {
    return listen_on_loopback(address, 512);
}

Gateway::Gateway(const std::vector<Endpoint>& brokers, const GatewayOptions& options) {
    spdlog::set_level(spdlog::level::err);
    dataplane::Options plane;
    plane.mode = dataplane::Mode::relay;
    plane.workers = options.workers;
    auto started = dataplane::Dataplane::start(plane);
    if (!started) throw std::runtime_error(started.error().line());
    dataplane_ = std::move(*started);
    balancer::PoolSpec spec;
    spec.name = "main";
    spec.strategy = options.strategy;
    spec.key = options.key;
    for (std::size_t index = 0; index < brokers.size(); ++index)
        spec.brokers.push_back(
            {.name = "b" + std::to_string(index + 1), .address = brokers[index], .weight = 1});
    pool_ = std::make_shared<balancer::Pool>(spec, 7);
    Options workers;
    workers.workers = options.workers;
    workers.descriptor_limit = options.descriptor_limit;
    workers.pause_patience = options.pause_patience;
    workers.drain_grace = options.drain_grace;
    workers_ = std::make_unique<Workers>(*dataplane_, workers);
    Listener listener;
    listener.name = "test";
    listener.address = *Endpoint::parse(options.address);
    listener.protocol = options.protocol;
    listener.connect_timeout = options.connect_timeout;
    listener.connack_timeout = options.connack_timeout;
    listener.max_connect_size = options.max_connect_size;
    listener.proxy_from = options.proxy_from;
    if (options.pool_for_the_rest) listener.destination.pool = pool_;
    for (const auto& [route, broker] : options.routes) {
        balancer::PoolSpec routed;
        routed.name = "routed";
        routed.brokers.push_back({.name = "b1", .address = broker, .weight = 1});
        auto& added = listener.routes.emplace_back(route);
        added.destination.pool = std::make_shared<balancer::Pool>(routed, 7);
    }
    listener.identity = options.identity;
    listener.upgrade = options.upgrade;
    if (options.brokers_speak_websocket) listener.destination.websocket = BrokerWebSocket{};
    listener.destination.proxy_header = options.proxy_header;
    const auto opened = workers_->open(std::move(listener));
    if (!opened) throw std::runtime_error(opened.error().line());
    address_ = *opened;
}

std::uint64_t Gateway::counted(Reason reason) const {
    return dataplane_->counters()[static_cast<std::size_t>(reason)];
}

std::uint64_t Gateway::connections_of(std::size_t broker) const {
    return pool_->brokers().at(broker).connections;
}

bool Gateway::at_rest() const {
    const auto now = counts();
    std::uint64_t connections = 0;
    for (const auto& broker : pool_->brokers()) connections += broker.connections;
    return now.pending == 0 && now.relayed == 0 && connections == 0;
}

}  // namespace limpet::session::test
