// SPDX-License-Identifier: Apache-2.0
// A gateway, scripted brokers and plain clients on loopback, for the session tests.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "balancer/balancer.h"
#include "base/endpoint.h"
#include "base/fd.h"
#include "base/reason.h"
#include "dataplane/dataplane.h"
#include "mqtt/packet.h"
#include "session/worker.h"

namespace limpet::session::test {

using Bytes = std::vector<std::uint8_t>;

/// A test never waits longer than this for something that must happen.
inline constexpr std::chrono::seconds patience{10};

[[nodiscard]] Bytes bytes(std::string_view text);
[[nodiscard]] Bytes operator+(Bytes left, const Bytes& right);
/// A CONNECT packet.
[[nodiscard]] Bytes connect_packet(const std::string& client_id, mqtt::Version version = mqtt::Version::v311);
[[nodiscard]] inline Bytes accepted() {
    return {0x20, 0x02, 0x00, 0x00};
}
[[nodiscard]] inline Bytes accepted5() {
    return {0x20, 0x03, 0x00, 0x00, 0x00};
}

/// Waits until `holds`; false when it did not in time.
[[nodiscard]] bool eventually(const std::function<bool()>& holds);

/// A blocking TCP socket whose calls fail after `patience`.
class Socket {
  public:
    explicit Socket(Fd descriptor);
    [[nodiscard]] static Socket to(const Endpoint& address);

    void send(const Bytes& data) const;
    void send(std::string_view text) const { send(bytes(text)); }
    /// Sends what fits into the buffers without waiting; returns how much.
    std::size_t send_some(const Bytes& data) const;
    /// Exactly `count` bytes, fewer if the stream ends before.
    [[nodiscard]] Bytes receive(std::size_t count) const;
    /// What comes next, however little; empty at the end of the stream.
    [[nodiscard]] Bytes receive_some() const;
    /// All bytes up to the end of the stream.
    [[nodiscard]] Bytes receive_all() const;
    /// Whether the stream ends (by FIN or RST) with nothing more to read.
    [[nodiscard]] bool closed() const;
    /// Whether it ends with RST.
    [[nodiscard]] bool reset() const;
    void finish_sending() const;
    /// close() that sends RST.
    void abort();
    void close() { descriptor_.reset(); }
    [[nodiscard]] int get() const { return descriptor_.get(); }

  private:
    Fd descriptor_;
};

/// Listens on loopback and runs a script for every connection, each in a thread of its own.
class Broker {
  public:
    using Script = std::function<void(Socket&)>;
    explicit Broker(Script script);
    ~Broker();
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    [[nodiscard]] const Endpoint& address() const { return address_; }
    [[nodiscard]] int connections() const { return connections_; }

  private:
    void serve();
    Script script_;
    Endpoint address_;
    Fd listening_;  // after the address, which it fills in
    std::atomic<int> connections_{0};
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::list<Socket> open_;
    std::list<std::thread> talking_;
    std::thread accepting_;
};

/// Reads a CONNECT, answers with `connack`, then sends back what it receives until the end of the stream.
[[nodiscard]] Broker::Script echo(Bytes connack);
/// Reads CONNECT whole and returns it; `behind` takes what came with it.
[[nodiscard]] Bytes read_connect(Socket& socket);

/// An address of loopback where nobody listens.
[[nodiscard]] Endpoint nobody();
/// Accepts connections in its queue and never answers.
[[nodiscard]] Fd silent(Endpoint& address);

struct GatewayOptions {
    std::chrono::milliseconds connect_timeout{2000};
    std::chrono::milliseconds connack_timeout{2000};
    std::uint32_t max_connect_size = 64 * 1024;
    Protocol protocol = Protocol::mqtt;
    balancer::Strategy strategy = balancer::Strategy::round_robin;
    balancer::Key key = balancer::Key::client_id;
    unsigned workers = 1;
    std::size_t descriptor_limit = 0;
    std::chrono::milliseconds pause_patience{2000};
    std::chrono::milliseconds drain_grace{100};
    std::string address = "127.0.0.1:0";
    std::vector<Network> proxy_from = {};
    bool proxy_header = false;
    Identity identity = {};
    websocket::Rules upgrade = {};
    bool brokers_speak_websocket = false;
    /// Routes, each to a pool of its own with this one broker.
    std::vector<std::pair<Route, Endpoint>> routes = {};
    bool pool_for_the_rest = true;
};

/// Limpet in mode relay with one listener and one pool.
class Gateway {
  public:
    explicit Gateway(const std::vector<Endpoint>& brokers, const GatewayOptions& options = {});

    [[nodiscard]] Socket client() const { return Socket::to(address_); }
    [[nodiscard]] std::uint64_t counted(Reason reason) const;
    [[nodiscard]] Counts counts() const { return workers_->counts(); }
    [[nodiscard]] balancer::Pool& pool() { return *pool_; }
    [[nodiscard]] std::shared_ptr<balancer::Pool> shared_pool() const { return pool_; }
    [[nodiscard]] Workers& workers() { return *workers_; }
    [[nodiscard]] const Endpoint& address() const { return address_; }
    [[nodiscard]] std::uint64_t connections_of(std::size_t broker) const;
    /// No session left and no broker's connection counted.
    [[nodiscard]] bool at_rest() const;

  private:
    std::unique_ptr<dataplane::Dataplane> dataplane_;
    std::shared_ptr<balancer::Pool> pool_;
    std::unique_ptr<Workers> workers_;
    Endpoint address_;
};

}  // namespace limpet::session::test
