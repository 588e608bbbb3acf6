// SPDX-License-Identifier: Apache-2.0
// A worker's side of parking: the packets that the data path took off the wire while a flow was in HOLD.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "dataplane/flow_key.h"

struct ring_buffer;

namespace limpet::dataplane {

/// One parked frame, as it arrived; `bytes` begins two bytes before the Ethernet header (alignment).
struct ParkedFrame {
    FlowKey key;
    std::vector<std::uint8_t> bytes;
    [[nodiscard]] std::uint8_t* frame() { return bytes.data() + 2; }
    [[nodiscard]] std::uint32_t length() const { return static_cast<std::uint32_t>(bytes.size() - 2); }
};

/// One ring, used by one worker's thread only.
class Parking {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Parking>> create();
    ~Parking();
    Parking(const Parking&) = delete;
    Parking& operator=(const Parking&) = delete;

    [[nodiscard]] int ring() const { return ring_.get(); }

    /// Frames of this key are kept from now on, until take() or forget().
    void expect(const FlowKey& key);
    void forget(const FlowKey& key);
    /// Reads the ring and gives out what came for `key`, in the order of arrival. Frames that nobody expects
    /// are left to their sender's retransmission; returns how many in `left`.
    std::vector<ParkedFrame> take(const FlowKey& key, std::uint64_t& left);
    /// Reads the ring, so that it does not fill up during a long HOLD.
    void collect();

  private:
    Parking() = default;
    static int handle(void* context, void* data, std::size_t size);

    struct Waiting {
        std::vector<ParkedFrame> frames;
        std::size_t bytes = 0;
    };
    Fd ring_;
    ring_buffer* reader_ = nullptr;
    std::unordered_map<FlowKey, Waiting> waiting_;
    std::uint64_t left_ = 0;
};

/// Size of a worker's ring and of what is kept for one direction of a flow, bytes. What does not fit is left
/// to retransmission and counted (park_overflow, parked_left).
inline constexpr std::size_t parking_ring_size = 4U << 20;
inline constexpr std::size_t parking_flow_limit = 1U << 20;

}  // namespace limpet::dataplane
