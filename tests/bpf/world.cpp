// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sched.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif

namespace limpet::test {
namespace {

std::string why_missing;

Result<void> run_ip(const std::string& arguments) {
    if (std::system(("ip " + arguments + " >/dev/null 2>&1").c_str()) != 0)
        return fail("the test's network cannot be made: ip " + arguments);
    return {};
}

Result<void> make_network() {
    if (unshare(CLONE_NEWNET) != 0)
        return fail_errno("CAP_SYS_ADMIN is missing: making a network namespace", errno);
    const char* commands[] = {
        "link set lo up",
        "link add t_client type veth peer name t_far_client",
        "link add t_broker type veth peer name t_far_broker",
        "link set t_client address 02:00:00:00:91:01 up",
        "link set t_broker address 02:00:00:00:92:01 up",
        "link set t_far_client address 02:00:00:00:91:02 up",
        "link set t_far_broker address 02:00:00:00:92:0b up",
        "addr add 10.91.0.1/24 dev t_client",
        "addr add 10.92.0.1/24 dev t_broker",
        "addr add 2001:db8:91::1/64 dev t_client nodad",
        "addr add 2001:db8:92::1/64 dev t_broker nodad",
        "neigh add 10.91.0.2 lladdr 02:00:00:00:91:02 dev t_client nud permanent",
        "neigh add 10.92.0.11 lladdr 02:00:00:00:92:0b dev t_broker nud permanent",
        "neigh add 2001:db8:91::2 lladdr 02:00:00:00:91:02 dev t_client nud permanent",
        "neigh add 2001:db8:92::b lladdr 02:00:00:00:92:0b dev t_broker nud permanent",
    };
    for (const auto* command : commands)
        if (auto done = run_ip(command); !done) return done;
    for (const auto* path : {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}) {
        std::ofstream file(path);
        file << "1" << std::flush;
        if (!file) return fail(std::string("cannot switch forwarding on: ") + path);
    }
    return {};
}

World::Side side(const char* name, const char* far_name, std::uint8_t net, std::uint8_t host) {
    World::Side result;
    result.index = static_cast<int>(if_nametoindex(name));
    result.far_index = static_cast<int>(if_nametoindex(far_name));
    result.gateway = {2, 0, 0, 0, net, 1};
    result.neighbour = {2, 0, 0, 0, net, host};
    return result;
}

Verdict verdict_of(Program program, std::uint32_t value) {
    if (program == Program::xdp)
        return value == 2   ? Verdict::pass
               : value == 1 ? Verdict::drop
               : value == 4 ? Verdict::redirect
                            : Verdict::other;
    return value == 0   ? Verdict::pass
           : value == 2 ? Verdict::drop
           : value == 7 ? Verdict::redirect
                        : Verdict::other;
}

int keep_event(void* context, void* data, std::size_t size) {
    if (size != sizeof(limpet_event)) return 0;
    auto& events = *static_cast<std::vector<limpet_event>*>(context);
    std::memcpy(&events.emplace_back(), data, size);
    return 0;
}

bpf_test_run_opts test_run_options(const packet::Bytes& in, packet::Bytes& out) {
    auto options = bpf_test_run_opts();
    options.sz = sizeof options;
    options.data_in = in.data();
    options.data_size_in = static_cast<std::uint32_t>(in.size());
    options.data_out = out.data();
    options.data_size_out = static_cast<std::uint32_t>(out.size());
    return options;
}

std::uint16_t next_port() {
    static std::uint16_t port = 20'000;
    return port++;
}

}  // namespace

const char* name_of(Program program) {
    return program == Program::xdp ? "XDP" : "TC";
}

std::ostream& operator<<(std::ostream& stream, Verdict verdict) {
    static const char* const names[] = {"pass", "drop", "redirect", "another verdict"};
    return stream << names[static_cast<int>(verdict)];
}

World* World::get() {
    static const auto world = create();
    if (!world) why_missing = world.error().line();
    return world ? world->get() : nullptr;
}

const std::string& World::missing() {
    return why_missing;
}

Result<std::unique_ptr<World>> World::create() {
    dataplane::quiet_libbpf();
    if (auto made = make_network(); !made) return std::unexpected(made.error());
    auto object = dataplane::BpfObject::load(1000, {});
    if (!object) return std::unexpected(object.error());
    std::unique_ptr<World> world(new World);
    world->object_ = std::make_unique<dataplane::BpfObject>(std::move(*object));
    const auto& loaded = *world->object_;
    world->maps_ = std::make_unique<dataplane::FlowMaps>(
        loaded.map("limpet_flows4"), loaded.map("limpet_flows6"), loaded.program("limpet_transit"));
    auto parking = dataplane::Parking::create();
    if (!parking) return std::unexpected(parking.error());
    world->parking_ = std::move(*parking);
    const std::uint32_t slot = worker;
    const int ring = world->parking_->ring();
    if (bpf_map_update_elem(loaded.map("limpet_parking"), &slot, &ring, BPF_ANY) != 0)
        return fail_errno("entering a parking ring", errno);
    world->event_reader_ =
        ring_buffer__new(loaded.map("limpet_events"), keep_event, &world->events_, nullptr);
    if (world->event_reader_ == nullptr) return fail_errno("reading the event ring", errno);
    world->client_ = side("t_client", "t_far_client", 0x91, 0x02);
    world->broker_ = side("t_broker", "t_far_broker", 0x92, 0x0b);
    for (const auto* side : {&world->client_, &world->broker_})
        if (bpf_map_update_elem(loaded.map("limpet_devices"), &side->index, &side->index, BPF_ANY) != 0)
            return fail_errno("entering a device that XDP may redirect to", errno);
    return world;
}

World::~World() {
    ring_buffer__free(event_reader_);
}

Outcome World::run(Program program, const packet::Bytes& frame, int interface_index) {
    if (program == Program::tc)
        return run_tc(object_->program("limpet_ingress"), frame, interface_index, 0, 0);
    Outcome outcome;
    outcome.frame.resize(frame.size() + 256);
    xdp_md context{};
    context.data_end = static_cast<std::uint32_t>(frame.size());
    context.ingress_ifindex = static_cast<std::uint32_t>(interface_index);
    auto options = test_run_options(frame, outcome.frame);
    options.ctx_in = &context;
    options.ctx_size_in = sizeof context;
    if (bpf_prog_test_run_opts(object_->program("limpet_xdp"), &options) != 0) outcome.error = errno;
    outcome.frame.resize(options.data_size_out);
    outcome.verdict = verdict_of(program, options.retval);
    return outcome;
}

Outcome World::run_tc(int program, const packet::Bytes& frame, int interface_index, std::uint32_t mark,
                      std::uint32_t flags) {
    Outcome outcome;
    outcome.frame.resize(frame.size() + 256);
    __sk_buff context{};
    context.ifindex = static_cast<std::uint32_t>(interface_index);
    context.mark = mark;
    __sk_buff after{};
    auto options = test_run_options(frame, outcome.frame);
    options.ctx_in = &context;
    options.ctx_size_in = sizeof context;
    options.ctx_out = &after;
    options.ctx_size_out = sizeof after;
    options.flags = flags;
    if (bpf_prog_test_run_opts(program, &options) != 0) outcome.error = errno;
    outcome.frame.resize(options.data_size_out);
    outcome.verdict = verdict_of(Program::tc, options.retval);
    outcome.mark = after.mark;
    return outcome;
}

Outcome World::egress(const packet::Bytes& frame, int interface_index, std::uint32_t mark) {
    return run_tc(object_->program("limpet_egress"), frame, interface_index, mark, 0);
}

Outcome World::run_with_complete_sum(const packet::Bytes& frame, int interface_index) {
    return run_tc(object_->program("limpet_ingress"), frame, interface_index, 0,
                  BPF_F_TEST_SKB_CHECKSUM_COMPLETE);
}

std::uint64_t World::counter(Reason reason) const {
    const auto processors = static_cast<std::size_t>(libbpf_num_possible_cpus());
    std::vector<std::uint64_t> values(processors);
    const auto slot = static_cast<std::uint32_t>(reason);
    if (bpf_map_lookup_elem(object_->map("limpet_counters"), &slot, values.data()) != 0) return ~0ULL;
    std::uint64_t sum = 0;
    for (const auto value : values) sum += value;
    return sum;
}

std::vector<limpet_event> World::events() {
    ring_buffer__consume(event_reader_);
    return std::exchange(events_, {});
}

Flow::Flow(World& of, std::uint8_t of_family) : world(of), family(of_family) {
    const auto port = next_port();
    const bool four = family == 4;
    client = packet::at(four ? "10.91.0.2:1" : "[2001:db8:91::2]:1");
    listener = packet::at(four ? "10.91.0.1:1883" : "[2001:db8:91::1]:1883");
    source = packet::at(four ? "10.92.0.1:1" : "[2001:db8:92::1]:1");
    broker = packet::at(four ? "10.92.0.11:1884" : "[2001:db8:92::b]:1884");
    client.port = port;
    source.port = static_cast<std::uint16_t>(port ^ 0x4321);
    client_key = dataplane::FlowKey::make(client, listener);
    broker_key = dataplane::FlowKey::make(broker, source);
}

Flow::~Flow() {
    for (const auto& key : {client_key, broker_key}) {
        world.maps().retire(key, 0, LIMPET_REASON_NONE);
        world.maps().remove(key, 0);
    }
}

void Flow::make_pending() {
    using Created = dataplane::FlowMaps::Created;
    ASSERT_EQ(world.maps().create(client_key, LIMPET_FLOW_CLIENT_LEG, client_generation), Created::made);
    ASSERT_EQ(world.maps().create(broker_key, 0, broker_generation), Created::made);
}

void Flow::be_noted() {
    auto packet = from_client();
    packet.options = packet::join({packet::option::nop(2), packet::option::timestamps(client_tsval, 1)});
    ASSERT_EQ(client_sends(Program::tc, packet).verdict, Verdict::pass);
    packet = from_broker();
    packet.options = packet::join({packet::option::nop(2), packet::option::timestamps(broker_tsval, 1)});
    ASSERT_EQ(broker_sends(Program::tc, packet).verdict, Verdict::pass);
}

limpet_command Flow::command(int operation) const {
    limpet_command result{};
    result.operation = static_cast<std::uint8_t>(operation);
    result.family = family;
    for (auto& leg : result.leg) leg.present = 1;
    std::memcpy(result.leg[0].key, client_key.bytes.data(), client_key.bytes.size());
    std::memcpy(result.leg[1].key, broker_key.bytes.data(), broker_key.bytes.size());
    return result;
}

limpet_command Flow::change(int operation) {
    auto result = command(operation);
    const auto ran = world.maps().run(result);
    EXPECT_TRUE(ran) << ran.error().line();
    return result;
}

void Flow::hold(std::int32_t ticks, std::uint8_t worker) {
    auto order = command(LIMPET_OPERATION_HOLD);
    order.worker = worker;
    for (auto& leg : order.leg) leg.tick = dataplane::tick_now() + static_cast<std::uint32_t>(ticks);
    ASSERT_TRUE(world.maps().run(order));
    for (const auto& leg : order.leg) ASSERT_EQ(leg.result, LIMPET_RESULT_OK);
}

namespace {

void fill_exit(limpet_leg& leg, const Endpoint& from, const Endpoint& to) {
    std::memcpy(leg.source, from.address.bytes.data(), 16);
    std::memcpy(leg.destination, to.address.bytes.data(), 16);
    leg.source_port = __builtin_bswap16(from.port);
    leg.destination_port = __builtin_bswap16(to.port);
}

}  // namespace

void Flow::activate(const Wanted& of) {
    wanted = of;
    auto order = command(LIMPET_OPERATION_ACTIVATE);
    auto& to_broker_leg = order.leg[0];
    auto& to_client_leg = order.leg[1];
    to_broker_leg.sequence_delta = ours_to_broker + wanted.moved - client_next;
    to_broker_leg.acknowledgement_delta = broker_next + wanted.moved - ours_to_client;
    to_client_leg.sequence_delta = ours_to_client - broker_next - wanted.moved;
    to_client_leg.acknowledgement_delta = client_next - ours_to_broker - wanted.moved;
    to_broker_leg.tsval_delta = wanted.client_tsval_delta;
    to_client_leg.tsval_delta = wanted.broker_tsval_delta;
    to_broker_leg.tsecr_delta = 0U - wanted.broker_tsval_delta;
    to_client_leg.tsecr_delta = 0U - wanted.client_tsval_delta;
    to_broker_leg.window_shift = wanted.client_shift;
    to_client_leg.window_shift = wanted.broker_shift;
    fill_exit(to_broker_leg, source, broker);
    fill_exit(to_client_leg, listener, client);
    for (auto& leg : order.leg) {
        leg.flags = wanted.flags;
        leg.egress_interface = wanted.egress_interface;
    }
    ASSERT_TRUE(world.maps().run(order));
    for (const auto& leg : order.leg) ASSERT_EQ(leg.result, LIMPET_RESULT_OK);
}

void Flow::splice(const Wanted& of) {
    wanted = of;  // the broker's numbers depend on it already
    make_pending();
    be_noted();
    hold();
    activate(of);
}

packet::Packet Flow::from_client() const {
    packet::Packet packet;
    packet.source = client;
    packet.destination = listener;
    packet.to = world.client().gateway;
    packet.from = world.client().neighbour;
    packet.sequence = client_next;
    packet.acknowledgement = ours_to_client;
    return packet;
}

packet::Packet Flow::from_broker() const {
    packet::Packet packet;
    packet.source = broker;
    packet.destination = source;
    packet.to = world.broker().gateway;
    packet.from = world.broker().neighbour;
    packet.sequence = broker_next + wanted.moved;
    packet.acknowledgement = ours_to_broker + wanted.moved;
    return packet;
}

packet::Packet Flow::translated(const packet::Packet& arriving, bool from_client) const {
    auto packet = arriving;
    packet.source = from_client ? source : listener;
    packet.destination = from_client ? broker : client;
    packet.hops = static_cast<std::uint8_t>(arriving.hops - 1);
    const auto ours = ours_to_broker + wanted.moved;
    const auto theirs = broker_next + wanted.moved;
    packet.sequence += from_client ? ours - client_next : ours_to_client - theirs;
    if ((arriving.flags & packet::ack) != 0)
        packet.acknowledgement += from_client ? theirs - ours_to_client : client_next - ours;
    return packet;
}

packet::Packet Flow::to_broker(const packet::Packet& arriving) const {
    auto packet = translated(arriving, true);
    packet.to = world.broker().neighbour;
    packet.from = world.broker().gateway;
    return packet;
}

packet::Packet Flow::to_client(const packet::Packet& arriving) const {
    auto packet = translated(arriving, false);
    packet.to = world.client().neighbour;
    packet.from = world.client().gateway;
    return packet;
}

Outcome Flow::client_sends(Program program, const packet::Packet& packet) {
    return world.run(program, packet.build(), world.client().index);
}

Outcome Flow::broker_sends(Program program, const packet::Packet& packet) {
    return world.run(program, packet.build(), world.broker().index);
}

limpet_flow Flow::client_entry() const {
    const auto entry = world.maps().read(client_key);
    EXPECT_TRUE(entry) << "the client leg has no entry";
    return entry ? entry->flow : limpet_flow{};
}

limpet_flow Flow::broker_entry() const {
    const auto entry = world.maps().read(broker_key);
    EXPECT_TRUE(entry) << "the broker leg has no entry";
    return entry ? entry->flow : limpet_flow{};
}

}  // namespace limpet::test
