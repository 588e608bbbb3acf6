// SPDX-License-Identifier: Apache-2.0
#include "dataplane/parking.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstring>
#include <utility>

namespace limpet::dataplane {

Result<std::unique_ptr<Parking>> Parking::create() {
    std::unique_ptr<Parking> parking(new Parking);
    parking->ring_ =
        Fd(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "limpet_park", 0, 0, parking_ring_size, nullptr));
    if (!parking->ring_) return fail_errno("making a parking ring", errno);
    parking->reader_ = ring_buffer__new(parking->ring_.get(), &Parking::handle, parking.get(), nullptr);
    if (parking->reader_ == nullptr) return fail_errno("reading a parking ring", errno);
    return parking;
}

Parking::~Parking() {
    ring_buffer__free(reader_);
}

int Parking::handle(void* context, void* data, std::size_t size) {
    auto& parking = *static_cast<Parking*>(context);
    const auto& header = *static_cast<const limpet_parked*>(data);
    if (size < sizeof header || header.length > size - sizeof header) return 0;
    FlowKey key;
    key.family = header.family;
    std::memcpy(key.bytes.data(), header.key, key.bytes.size());
    const auto found = parking.waiting_.find(key);
    if (found == parking.waiting_.end() || found->second.bytes + header.length > parking_flow_limit) {
        ++parking.left_;
        return 0;
    }
    ParkedFrame frame;
    frame.key = key;
    frame.bytes.resize(2 + header.length);
    std::memcpy(frame.frame(), static_cast<const std::uint8_t*>(data) + sizeof header, header.length);
    found->second.bytes += header.length;
    found->second.frames.push_back(std::move(frame));
    return 0;
}

void Parking::expect(const FlowKey& key) {
    waiting_.try_emplace(key);
}

void Parking::forget(const FlowKey& key) {
    const auto found = waiting_.find(key);
    if (found == waiting_.end()) return;
    left_ += found->second.frames.size();
    waiting_.erase(found);
}

void Parking::collect() {
    ring_buffer__consume(reader_);
}

std::vector<ParkedFrame> Parking::take(const FlowKey& key, std::uint64_t& left) {
    collect();
    left += std::exchange(left_, 0);
    const auto found = waiting_.find(key);
    if (found == waiting_.end()) return {};
    auto frames = std::move(found->second.frames);
    waiting_.erase(found);
    return frames;
}

}  // namespace limpet::dataplane
