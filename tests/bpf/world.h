// SPDX-License-Identifier: Apache-2.0
// Where the packet tests run: a network namespace with routes and neighbours, the real BPF object loaded
// into the kernel, and its programs run on single packets with BPF_PROG_RUN.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

#include "base/reason.h"
#include "dataplane/bpf_object.h"
#include "dataplane/flow_maps.h"
#include "dataplane/parking.h"
#include "packet.h"

struct ring_buffer;

namespace limpet::test {

/// Verdicts of the two hooks (linux/bpf.h, linux/pkt_cls.h), by their meaning.
enum class Verdict { pass, drop, redirect, other };
enum class Program { xdp, tc };
const char* name_of(Program program);
std::ostream& operator<<(std::ostream& stream, Verdict verdict);

struct Outcome {
    Verdict verdict = Verdict::other;
    packet::Bytes frame;
    std::uint32_t mark = 0;  ///< of the packet as a TC program left it
    int error = 0;           ///< errno of BPF_PROG_RUN itself
};

/// Set up once for the process, in a network namespace of its own:
///     clients 10.91.0.2, 2001:db8:91::2  <->  t_client  (10.91.0.1, 2001:db8:91::1)
///     brokers 10.92.0.11, 2001:db8:92::b <->  t_broker  (10.92.0.1, 2001:db8:92::1)
/// .3 and ::3 on the client side are on the link, but have no neighbour entry.
class World {
  public:
    struct Side {
        int index = 0;            ///< of the gateway's interface
        int far_index = 0;        ///< of the other end of its veth pair
        packet::Mac gateway{};    ///< of that interface
        packet::Mac neighbour{};  ///< whom the neighbour table names
    };

    /// Null where something is missing; `missing()` says what.
    static World* get();
    static const std::string& missing();
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    [[nodiscard]] const Side& client() const { return client_; }
    [[nodiscard]] const Side& broker() const { return broker_; }
    [[nodiscard]] dataplane::FlowMaps& maps() { return *maps_; }
    [[nodiscard]] const dataplane::BpfObject& object() const { return *object_; }
    [[nodiscard]] dataplane::Parking& parking() { return *parking_; }
    static constexpr std::uint8_t worker = 3;  ///< whose ring parking() is; worker 5 has none

    /// Runs a program on a frame that arrived at the interface with this index.
    Outcome run(Program program, const packet::Bytes& frame, int interface_index);
    Outcome egress(const packet::Bytes& frame, int interface_index, std::uint32_t mark = 0);
    /// The TC program on a packet whose whole sum the device gave (CHECKSUM_COMPLETE); the kernel checks
    /// afterwards that the sum still fits, and fails with EBADMSG where not.
    Outcome run_with_complete_sum(const packet::Bytes& frame, int interface_index);

    [[nodiscard]] std::uint64_t counter(Reason reason) const;
    /// Events since the last call.
    std::vector<limpet_event> events();

  private:
    World() = default;
    static Result<std::unique_ptr<World>> create();
    Outcome run_tc(int program, const packet::Bytes& frame, int interface_index, std::uint32_t mark,
                   std::uint32_t flags);

    std::unique_ptr<dataplane::BpfObject> object_;
    std::unique_ptr<dataplane::FlowMaps> maps_;
    std::unique_ptr<dataplane::Parking> parking_;
    ring_buffer* event_reader_ = nullptr;
    std::vector<limpet_event> events_;
    Side client_;
    Side broker_;
};

/// One connection of either family, with a tuple that no other test uses. Its legs stand at these numbers
/// when they become active:
///     client leg: the client's next byte is 1000, ours is 5000
///     broker leg: the broker's next byte is 30000, ours is 90000
class Flow {
  public:
    Flow(World& world, std::uint8_t family);
    ~Flow();
    Flow(const Flow&) = delete;
    Flow& operator=(const Flow&) = delete;

    static constexpr std::uint32_t client_next = 1000;
    static constexpr std::uint32_t ours_to_client = 5000;
    static constexpr std::uint32_t broker_next = 30'000;
    static constexpr std::uint32_t ours_to_broker = 90'000;
    static constexpr std::uint32_t client_tsval = 40'000;
    static constexpr std::uint32_t broker_tsval = 2'000'000;

    /// What ACTIVATE is told beside the numbers above.
    struct Wanted {
        std::uint8_t flags = LIMPET_FLOW_TIMESTAMPS;
        std::int8_t client_shift = 0;
        std::int8_t broker_shift = 0;
        std::uint32_t client_tsval_delta = 610'000;
        std::uint32_t broker_tsval_delta = 0xffecc000;
        std::uint32_t moved = 0;  ///< added to all sequence numbers of the broker's leg
        std::uint32_t egress_interface = 0;
    };

    void make_pending();
    /// The packets of both ends that the data path must have noted before it may forward.
    void be_noted();
    void hold(std::int32_t ticks = 600, std::uint8_t worker = World::worker);
    void activate(const Wanted& wanted);
    void activate() { activate(Wanted()); }
    /// All of it.
    void splice(const Wanted& wanted);
    void splice() { splice(Wanted()); }
    /// Runs one operation on both legs; the legs' results are in the command that returns.
    limpet_command change(int operation);
    [[nodiscard]] limpet_command command(int operation) const;

    /// A pure ACK as it arrives from the client or from the broker, and how it must leave. The latter has the
    /// Ethernet addresses that only XDP writes.
    [[nodiscard]] packet::Packet from_client() const;
    [[nodiscard]] packet::Packet from_broker() const;
    [[nodiscard]] packet::Packet to_broker(const packet::Packet& arriving) const;
    [[nodiscard]] packet::Packet to_client(const packet::Packet& arriving) const;

    Outcome client_sends(Program program, const packet::Packet& packet);
    Outcome broker_sends(Program program, const packet::Packet& packet);

    [[nodiscard]] limpet_flow client_entry() const;
    [[nodiscard]] limpet_flow broker_entry() const;
    [[nodiscard]] std::uint8_t client_state() const { return client_entry().state; }
    [[nodiscard]] std::uint8_t broker_state() const { return broker_entry().state; }

    World& world;
    std::uint8_t family;
    Endpoint client;
    Endpoint listener;
    Endpoint source;
    Endpoint broker;
    dataplane::FlowKey client_key;
    dataplane::FlowKey broker_key;
    std::uint32_t client_generation = 0;
    std::uint32_t broker_generation = 0;
    Wanted wanted;

  private:
    [[nodiscard]] packet::Packet translated(const packet::Packet& arriving, bool from_client) const;
};

/// How much a counter grows within a scope.
class Counted {
  public:
    Counted(const World& world, Reason reason)
        : world_(world), reason_(reason), before_(world.counter(reason)) {}
    [[nodiscard]] std::uint64_t since() const { return world_.counter(reason_) - before_; }

  private:
    const World& world_;
    Reason reason_;
    std::uint64_t before_;
};

/// A test that needs the world; the parameter is the family.
class FlowTest : public ::testing::TestWithParam<int> {
  protected:
    void SetUp() override {
        if (World::get() == nullptr) GTEST_SKIP() << World::missing();
        World::get()->events();
    }
    [[nodiscard]] World& world() const { return *World::get(); }
    [[nodiscard]] std::uint8_t family() const { return static_cast<std::uint8_t>(GetParam()); }
};

inline std::string family_name(const ::testing::TestParamInfo<int>& family) {
    return family.param == 4 ? "IPv4" : "IPv6";
}

#define LIMPET_BOTH_FAMILIES(suite) \
    INSTANTIATE_TEST_SUITE_P(family, suite, ::testing::Values(4, 6), family_name)

inline constexpr Program both_programs[] = {Program::xdp, Program::tc};

}  // namespace limpet::test
