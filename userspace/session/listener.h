// SPDX-License-Identifier: Apache-2.0
// What a listener promises its clients, and the sockets that it listens on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "balancer/balancer.h"
#include "base/endpoint.h"
#include "base/fd.h"
#include "base/result.h"

namespace limpet::session {

enum class Protocol { mqtt, tcp };

/// A listener as sessions see it. Never changed: a reload replaces it, and sessions that began under the old
/// one end under it.
struct Listener {
    std::string name;
    Endpoint address;
    Protocol protocol = Protocol::mqtt;
    std::chrono::milliseconds connect_timeout{10000};  ///< from accept to a complete CONNECT
    std::chrono::milliseconds connack_timeout{
        10000};                                  ///< from the first connect to CONNACK, all brokers tried
    std::uint32_t max_connect_size = 64 * 1024;  ///< bytes
    std::shared_ptr<balancer::Pool> pool;
    unsigned broker_attempts = 16;      ///< brokers that are tried for one CONNECT
    bool transparent = false;           ///< the pool's brokers hear the client's own address and port
    std::uint32_t maximum_segment = 0;  ///< that clients are told, bytes (MSS); 0: the kernel's own choice
    /// Outlives a reload of the listener.
    std::shared_ptr<std::atomic<std::uint64_t>> accepted = std::make_shared<std::atomic<std::uint64_t>>(0);
};

/// A listening socket of one worker: SO_REUSEPORT, so that the kernel spreads clients over the workers;
/// IPv6 without mapped IPv4. `maximum_segment`: as in Listener.
[[nodiscard]] Result<Fd> open_listening_socket(const Endpoint& address, std::uint32_t maximum_segment = 0);
/// For connections that are accepted from now on.
void limit_segment(int listening_socket, std::uint32_t maximum_segment);

}  // namespace limpet::session
