// SPDX-License-Identifier: Apache-2.0
// How one connection leaves: docs/HANDOFF.md, "Leaving".
#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/state.h"
#include "dataplane/translate_host.h"
#include "handoff/handoff.h"
#include "handoff/leg_facts.h"
#include "handoff/tcp_socket.h"

namespace limpet::handoff {
namespace {

using Clock = std::chrono::steady_clock;
using dataplane::FlowKey;

constexpr int port_tries = 16;  // ports that somebody else turned out to use
/// A quiet moment is waited for this long and four round trips; then HOLD is taken under traffic.
constexpr std::chrono::milliseconds quiet_patience{10};
constexpr unsigned seen_polls = 40;  // looks at a silent client before its packets count as unseen
constexpr std::chrono::microseconds first_wait{100};
constexpr std::chrono::microseconds spin_time{150};  // in HOLD: look again at once for this long
constexpr std::chrono::milliseconds retry_wait{200};
/// HOLD is given up this long before its deadline, so that the data path never retires what we are
/// activating.
constexpr std::chrono::milliseconds deadline_margin{200};

}  // namespace

struct Connection::State {
    enum class Phase { pending, hold, gone, relay };

    dataplane::Dataplane& dataplane;
    unsigned worker;
    Endpoint client;
    Endpoint listener;
    Endpoint source;  // ours towards the broker
    Endpoint broker;
    FlowKey client_key;
    FlowKey broker_key;
    std::uint32_t client_generation = 0;  // 0: no entry
    std::uint32_t broker_generation = 0;
    std::uint32_t client_segment = 0;  // the client's MSS
    std::uint8_t syn_edit = 0;         // LIMPET_SYN_*
    bool broker_port_owned = false;
    Phase phase = Phase::pending;
    Reason reason = LIMPET_REASON_NONE;
    bool parity_checked = false;
    LegOptions client_options;
    LegOptions broker_options;
    unsigned polls = 0;
    unsigned tries = 0;
    Clock::time_point hold_began;
    Clock::time_point patience_ends;
    std::chrono::microseconds wait = first_wait;

    explicit State(dataplane::Dataplane& plane) : dataplane(plane) {}

    [[nodiscard]] dataplane::Dataplane::State& inside() const { return dataplane.state(); }
    [[nodiscard]] dataplane::Kernel& kernel() const { return *inside().kernel; }

    Step relay(Reason why) {
        reason = why;
        phase = Phase::relay;
        drop_entries();
        return {Step::Kind::relay, {}, why};
    }
    Step again(std::chrono::microseconds time) const { return {Step::Kind::again, time, LIMPET_REASON_NONE}; }

    void track_client(int socket);
    void drop_entry(const FlowKey& key, std::uint32_t& generation, bool broker_leg);
    void drop_broker_leg();
    void drop_entries();
    [[nodiscard]] std::vector<IpAddress> configured_sources(std::uint8_t family) const;
    /// Which of several source addresses is tried first. Fibonacci hashing, because Linux gives even ports to
    /// those who connect: a remainder of the client's port would leave every second address unused.
    [[nodiscard]] std::size_t first_source() const {
        return (client.port * 0x9e3779b1U >> 16) + std::hash<Endpoint>{}({client.address, 0});
    }
    [[nodiscard]] Result<Fd> open_as_client();
    [[nodiscard]] limpet_command command(limpet_operation operation) const;
    /// The data path has seen what a handoff needs to know of this leg.
    [[nodiscard]] bool noted(const limpet_leg& note) const {
        return (note.flags & LIMPET_FLOW_NOTE_SEEN) != 0 &&
               (!client_options.timestamps || (note.flags & LIMPET_FLOW_TSVAL_SEEN) != 0);
    }
    Reason learn_options(int client_socket, int broker_socket);
    Step prepare(int client_socket, int broker_socket, bool idle);
    Step look(int client_socket, int broker_socket, const FlowFacts& facts, const limpet_command& notes);
    Step not_yet();
    bool activate(const LegPosition& client_position, const LegPosition& broker_position,
                  const FlowFacts& facts);
    void deliver_parked();
};

void Connection::State::track_client(int socket) {
    auto& plane = inside();
    if (plane.options.mode == dataplane::Mode::relay) {
        reason = LIMPET_REASON_RELAY_CONFIGURED;
    } else if (!plane.kernel) {
        reason = LIMPET_REASON_RELAY_NO_DATAPLANE;
    } else if (plane.host.is_own(client.address)) {
        reason = LIMPET_REASON_RELAY_LOCAL_PEER;
    }
    if (reason != LIMPET_REASON_NONE) return;
    if (const auto info = read_socket(socket); info && info->established) {
        // The listener's TCP_MAXSEG is for what the client sends, and not for what is sent to it.
        const auto announced = handoff::client_segment(socket);
        client_segment = announced ? std::min(*announced, info->path_segment) : info->options.peer_segment;
        syn_edit = missing_options(info->options);
    }
    client_key = FlowKey::make(client, listener);
    using Created = dataplane::FlowMaps::Created;
    auto created = kernel().maps.create(client_key, LIMPET_FLOW_CLIENT_LEG, client_generation);
    if (created == Created::exists) {
        kernel().janitor->settle(client_key);
        if (kernel().maps.renew(client_key, LIMPET_FLOW_CLIENT_LEG, client_generation))
            created = Created::made;
    }
    if (created == Created::made) return;
    client_generation = 0;
    reason = created == Created::full ? LIMPET_REASON_RELAY_FLOW_MAP_FULL : LIMPET_REASON_RELAY_SOCKET_STATE;
}

void Connection::State::drop_entry(const FlowKey& key, std::uint32_t& generation, bool broker_leg) {
    if (generation == 0) return;
    kernel().maps.retire(key, generation, LIMPET_REASON_NONE);
    kernel().janitor->remove_later(key, generation, broker_leg);
    generation = 0;
}

void Connection::State::drop_broker_leg() {
    if (broker_generation != 0) {
        // A port of ours is free once the entry is gone.
        drop_entry(broker_key, broker_generation, broker_port_owned);
    } else if (broker_port_owned) {
        kernel().janitor->remove_later(broker_key, ~0U, true);
    }
    broker_port_owned = false;
}

void Connection::State::drop_entries() {
    if (!inside().kernel || phase == Phase::gone) return;
    if (client_generation != 0) {
        auto& parking = *kernel().parking[worker];
        parking.forget(client_key);
        parking.forget(broker_key);
    }
    drop_entry(client_key, client_generation, false);
    if (broker_generation != 0) {
        // The connection goes on as a relay on this port: only the entry goes, the port with the connection.
        kernel().maps.retire(broker_key, broker_generation, LIMPET_REASON_NONE);
        kernel().janitor->remove_later(broker_key, broker_generation, false);
        broker_generation = 0;
    }
}

limpet_command Connection::State::command(limpet_operation operation) const {
    limpet_command result{};
    result.operation = static_cast<std::uint8_t>(operation);
    result.family = client_key.family;
    result.worker = static_cast<std::uint8_t>(worker);
    result.leg[0].present = result.leg[1].present = 1;
    std::memcpy(result.leg[0].key, client_key.bytes.data(), client_key.bytes.size());
    std::memcpy(result.leg[1].key, broker_key.bytes.data(), broker_key.bytes.size());
    return result;
}

/// Options of both handshakes; NONE where they can be joined.
Reason Connection::State::learn_options(int client_socket, int broker_socket) {
    const auto client_info = read_socket(client_socket);
    const auto broker_info = read_socket(broker_socket);
    if (!client_info || !broker_info || !client_info->established || !broker_info->established)
        return LIMPET_REASON_RELAY_SOCKET_STATE;
    client_options = client_info->options;
    broker_options = broker_info->options;
    client_options.peer_segment = client_segment;  // as the broker was told
    patience_ends =
        Clock::now() + quiet_patience + 4 * std::max(client_info->round_trip, broker_info->round_trip);
    auto read = command(LIMPET_OPERATION_READ);
    if (!kernel().maps.run(read)) return LIMPET_REASON_RELAY_NO_DATAPLANE;
    // The broker's handshake crossed the data path; if it was not seen, packets come by another interface.
    if (read.leg[1].result != LIMPET_RESULT_OK || (read.leg[1].flags & LIMPET_FLOW_NOTE_SEEN) == 0)
        return LIMPET_REASON_RELAY_NOT_SEEN;
    // TCP_MAXSEG bounds what the socket knows of the peer's MSS too, so the note of the SYN-ACK counts.
    if (read.leg[1].egress_interface != 0) broker_options.peer_segment = read.leg[1].egress_interface;
    // What it was not offered it could not agree to, so nothing is learned of that.
    inside().offers.learn(broker, {missing_options(broker_options), broker_options.peer_segment},
                          static_cast<std::uint8_t>(all_options & ~syn_edit));
    return check_parity(client_options, broker_options);
}

/// Before HOLD: a quiet moment is waited for, but not for long.
Step Connection::State::prepare(int client_socket, int broker_socket, bool idle) {
    if (!parity_checked) {
        parity_checked = true;
        if (const auto why = learn_options(client_socket, broker_socket); why != LIMPET_REASON_NONE)
            return relay(why);
    }
    const auto client_left = unacknowledged_bytes(client_socket);
    const auto broker_left = unacknowledged_bytes(broker_socket);
    if (!client_left || !broker_left) return relay(LIMPET_REASON_RELAY_SOCKET_STATE);
    auto notes = command(LIMPET_OPERATION_READ);
    if (!kernel().maps.run(notes)) return relay(LIMPET_REASON_RELAY_NO_DATAPLANE);
    const bool seen = noted(notes.leg[0]) && noted(notes.leg[1]);
    const bool quiet = *client_left == 0 && *broker_left == 0;
    // A protocol in which nobody has spoken yet: there is nothing to note, and no hurry.
    if (!noted(notes.leg[0]) && quiet)
        if (const auto info = read_socket(client_socket); info && info->silent) return again(silent_wait);
    // Both ends have acknowledged all, and still not one packet of theirs was noted.
    if (!seen && quiet && ++polls > seen_polls) return relay(LIMPET_REASON_RELAY_NOT_SEEN);
    if (!idle || !seen || (!quiet && Clock::now() < patience_ends)) {
        const auto time = wait;
        wait = std::min<std::chrono::microseconds>(
            wait * 2, idle && seen ? std::chrono::milliseconds(5) : longest_wait);
        return again(time);
    }
    acknowledge_now(client_socket);
    acknowledge_now(broker_socket);
    mark_leaving(client_socket);
    mark_leaving(broker_socket);
    auto& parking = *kernel().parking[worker];
    parking.expect(client_key);
    parking.expect(broker_key);
    hold_began = Clock::now();
    const auto ticks =
        static_cast<std::uint64_t>(std::chrono::nanoseconds(inside().options.hold_timeout).count()) /
        dataplane::nanoseconds_per_tick;
    auto hold = command(LIMPET_OPERATION_HOLD);
    hold.leg[0].tick = hold.leg[1].tick = dataplane::tick_now() + static_cast<std::uint32_t>(ticks) + 1;
    if (!kernel().maps.run(hold) || hold.leg[0].result != LIMPET_RESULT_OK ||
        hold.leg[1].result != LIMPET_RESULT_OK)
        return relay(LIMPET_REASON_RELAY_SOCKET_STATE);
    phase = Phase::hold;
    wait = first_wait;
    return {Step::Kind::again, std::chrono::microseconds(0), LIMPET_REASON_NONE};
}

/// In HOLD and not drained: look again soon, or let go for a while, or for good.
Step Connection::State::not_yet() {
    const auto elapsed = Clock::now() - hold_began;
    if (elapsed < spin_time) return again(std::chrono::microseconds(0));
    const auto limit = std::max<std::chrono::milliseconds>(inside().options.hold_timeout - deadline_margin,
                                                           inside().options.hold_timeout / 2);
    if (elapsed < limit) {
        const auto time = wait;
        wait = std::min<std::chrono::microseconds>(wait * 2, std::chrono::milliseconds(5));
        return again(time);
    }
    auto release = command(LIMPET_OPERATION_RELEASE);
    const bool released = kernel().maps.run(release) && release.leg[0].result == LIMPET_RESULT_OK &&
                          release.leg[1].result == LIMPET_RESULT_OK;
    auto& parking = *kernel().parking[worker];
    std::uint64_t left = 0;
    left += parking.take(client_key, left).size();
    left += parking.take(broker_key, left).size();
    inside().count(LIMPET_REASON_PARKED_LEFT, left);
    if (!released || ++tries >= inside().options.handoff_tries) return relay(LIMPET_REASON_RELAY_NOT_DRAINED);
    inside().count(LIMPET_REASON_HANDOFF_RETRIED);
    phase = Phase::pending;
    polls = 0;
    wait = first_wait;
    return again(retry_wait * (1U << std::min(tries, 8U)));
}

/// In HOLD with empty buffers: are both legs drained? Then leave.
Step Connection::State::look(int client_socket, int broker_socket, const FlowFacts& facts,
                             const limpet_command& notes) {
    const auto& client_note = notes.leg[0];
    const auto& broker_note = notes.leg[1];
    if (client_note.result != LIMPET_RESULT_OK || broker_note.result != LIMPET_RESULT_OK ||
        client_note.state != LIMPET_STATE_HOLD || broker_note.state != LIMPET_STATE_HOLD)
        return relay(LIMPET_REASON_RELAY_NOT_DRAINED);
    Freeze client_freeze(client_socket);
    Freeze broker_freeze(broker_socket);
    if (!client_freeze.frozen() || !broker_freeze.frozen()) return relay(LIMPET_REASON_RELAY_SOCKET_STATE);
    auto client_position = client_freeze.position();
    auto broker_position = broker_freeze.position();
    const auto client_info = read_socket(client_socket);
    const auto broker_info = read_socket(broker_socket);
    if (!client_position || !broker_position || !client_info || !broker_info || !client_info->established ||
        !broker_info->established)
        return not_yet();
    // Everything that was let through has arrived and was read, and the peer has all that we sent.
    const auto drained = [](int socket, const LegPosition& position, const limpet_leg& note) {
        const auto unread = unread_bytes(socket);
        return position.receive_next == note.note_sequence_end && position.send_next == note.note_ack &&
               unread == 0;
    };
    if (!drained(client_socket, *client_position, client_note) ||
        !drained(broker_socket, *broker_position, broker_note))
        return not_yet();
    client_position->peer_tsval = client_note.note_tsval;
    broker_position->peer_tsval = broker_note.note_tsval;
    if (!activate(*client_position, *broker_position, facts)) return relay(LIMPET_REASON_RELAY_NOT_DRAINED);
    client_freeze.release();
    broker_freeze.release();
    phase = Phase::gone;
    inside().record_hold(Clock::now() - hold_began);
    deliver_parked();
    kernel().janitor->keep_for_grace(Fd(client_socket), Fd(broker_socket), {client_key, broker_key});
    return {Step::Kind::gone, {}, LIMPET_REASON_NONE};
}

namespace {

void fill_direction(limpet_leg& leg, const Direction& direction, const Endpoint& from, const Endpoint& to) {
    leg.sequence_delta = direction.sequence_delta;
    leg.acknowledgement_delta = direction.acknowledgement_delta;
    leg.tsval_delta = direction.tsval_delta;
    leg.tsecr_delta = direction.tsecr_delta;
    leg.window_shift = direction.window_shift;
    // As packets leave: from this address to that one.
    std::memcpy(leg.source, from.address.bytes.data(), 16);
    std::memcpy(leg.destination, to.address.bytes.data(), 16);
    leg.source_port = static_cast<std::uint16_t>(__builtin_bswap16(from.port));
    leg.destination_port = static_cast<std::uint16_t>(__builtin_bswap16(to.port));
}

}  // namespace

bool Connection::State::activate(const LegPosition& client_position, const LegPosition& broker_position,
                                 const FlowFacts& facts) {
    const auto translation =
        translation_between(client_options, client_position, broker_options, broker_position);
    auto go = command(LIMPET_OPERATION_ACTIVATE);
    fill_direction(go.leg[0], translation.from_client, source, broker);
    fill_direction(go.leg[1], translation.from_broker, listener, client);
    const auto flags = static_cast<std::uint8_t>((translation.timestamps ? LIMPET_FLOW_TIMESTAMPS : 0U) |
                                                 (translation.clear_ecn ? LIMPET_FLOW_CLEAR_ECN : 0U));
    const auto idle = static_cast<std::uint64_t>(facts.idle_timeout.count()) * 1'000'000'000ULL /
                      dataplane::nanoseconds_per_tick;
    for (auto& leg : go.leg) {
        leg.flags = flags;
        leg.client_hash = facts.client_hash;
        leg.stick_seconds = facts.stick_seconds;
        leg.id_length = static_cast<std::uint16_t>(std::min<std::size_t>(facts.client_id.size(), 65535));
    }
    go.leg[0].idle_ticks = static_cast<std::uint32_t>(std::min<std::uint64_t>(idle, 0x7fffffff));
    const auto part = dataplane::id_part_size(client_key.family);
    const auto first = facts.client_id.substr(0, part);
    std::memcpy(go.leg[0].id_part, first.data(), first.size());
    if (facts.client_id.size() > part) {
        const auto second = facts.client_id.substr(part, part);
        std::memcpy(go.leg[1].id_part, second.data(), second.size());
    }
    // Hints for hosts that do not forward: the device that the host itself would use.
    if (!inside().host.forwards()) {
        if (const auto route = inside().host.route(broker.address))
            go.leg[0].egress_interface = route->interface_index;
        if (const auto route = dataplane::route_to(client.address))
            go.leg[1].egress_interface = route->interface_index;
    }
    if (!kernel().maps.run(go)) return false;
    if (go.leg[0].result == LIMPET_RESULT_OK && go.leg[1].result == LIMPET_RESULT_OK) {
        kernel().janitor->spliced();
        return true;
    }
    return false;
}

/// Parked packets were never acknowledged; sending them on now saves their senders a timeout. They are
/// translated by the same translator, from a copy of the entry as it is now.
void Connection::State::deliver_parked() {
    auto& parking = *kernel().parking[worker];
    std::uint64_t left = 0;
    std::uint8_t ended[2] = {0, 0};
    bool reset = false;
    for (int side = 0; side < 2; ++side) {
        const auto& key = side == 0 ? client_key : broker_key;
        const auto segment = side == 0 ? broker_options.peer_segment : client_options.peer_segment;
        for (auto& frame : parking.take(key, left)) {
            std::array<std::uint8_t, sizeof(limpet_flow6)> entry{};
            if (!kernel().maps.read_raw(key, entry)) break;
            limpet_host_packet packet{};
            // A SYN of a new connection on this tuple comes again, and the data path knows what to do with
            // it.
            if (limpet_host_parse(frame.frame(), frame.length(), &packet) != 0 ||
                (packet.flags & 0x02) != 0 ||
                limpet_host_translate(frame.frame(), frame.length(), entry.data()) != 0)
                continue;
            const auto options = packet.tcp_header - 20;
            const auto sent = kernel().sender.send_frame({frame.frame(), frame.length()},
                                                         segment - std::min(segment / 2, options));
            inside().count(LIMPET_REASON_PARKED_SENT, sent);
            if ((packet.flags & 0x01) != 0) ended[side] = LIMPET_FLOW_FIN_SEEN;
            if ((packet.flags & 0x04) != 0) reset = true;
        }
    }
    inside().count(LIMPET_REASON_PARKED_LEFT, left);
    if (ended[0] == 0 && ended[1] == 0 && !reset) return;
    // These did not cross the data path: what it would have concluded is concluded here.
    auto mark = command(LIMPET_OPERATION_MARK);
    mark.leg[0].flags = ended[0];
    mark.leg[1].flags = ended[1];
    if (!kernel().maps.run(mark)) return;
    const bool both = (mark.leg[0].flags & mark.leg[1].flags & LIMPET_FLOW_FIN_SEEN) != 0;
    if (!both && !reset) return;
    auto close = command(LIMPET_OPERATION_CLOSE);
    const auto why = static_cast<std::uint8_t>(reset ? LIMPET_REASON_END_RST : LIMPET_REASON_END_FIN);
    close.leg[0].close_reason = close.leg[1].close_reason = why;
    if (kernel().maps.run(close)) kernel().janitor->watch_closing({client_key, broker_key});
}

Connection::Connection(dataplane::Dataplane& dataplane, unsigned worker, int client_socket, Reason relayed)
    : state_(std::make_unique<State>(dataplane)) {
    state_->worker = worker;
    state_->reason = relayed;
    const auto client = peer_endpoint(client_socket);
    const auto listener = local_endpoint(client_socket);
    if (client) state_->client = *client;
    if (listener) state_->listener = *listener;
    if (!client || !listener)
        state_->reason = LIMPET_REASON_RELAY_SOCKET_STATE;
    else if (relayed == LIMPET_REASON_NONE)
        state_->track_client(client_socket);
}

Connection::~Connection() {
    if (!state_->inside().kernel || state_->phase == State::Phase::gone) return;
    state_->drop_broker_leg();
    state_->drop_entries();
}

const Endpoint& Connection::client() const {
    return state_->client;
}

const Endpoint& Connection::listener() const {
    return state_->listener;
}

Reason Connection::relay_reason() const {
    return state_->reason;
}

std::vector<IpAddress> Connection::State::configured_sources(std::uint8_t family) const {
    std::vector<IpAddress> sources;
    for (const auto& address : inside().options.source_addresses)
        if (address.family == family) sources.push_back(address);
    return sources;
}

/// A transparent pool's leg. The entry is claimed before the socket is made, whether or not the connection
/// will be spliced: who holds the tuple, flow or socket, is never joined by a second one.
Result<Fd> Connection::State::open_as_client() {
    source = client;
    broker_key = FlowKey::make(broker, source);
    using Created = dataplane::FlowMaps::Created;
    auto created = kernel().maps.create(broker_key, 0, broker_generation, syn_edit);
    if (created == Created::exists) {
        if (!kernel().maps.renew(broker_key, 0, broker_generation, syn_edit)) {
            broker_generation = 0;
            return fail_errno("connecting to " + broker.text() + " as " + client.text(), EADDRINUSE);
        }
        created = Created::made;
    }
    if (created != Created::made) {
        broker_generation = 0;
        if (reason == LIMPET_REASON_NONE)
            relay(created == Created::full ? LIMPET_REASON_RELAY_FLOW_MAP_FULL
                                           : LIMPET_REASON_RELAY_SOCKET_STATE);
    }
    auto socket = make_broker_socket(source, client_segment, Source::client);
    if (!socket) drop_broker_leg();
    return socket;
}

Result<Fd> Connection::open_plain_leg(const Endpoint& broker) const {
    const auto sources = state_->configured_sources(broker.address.family);
    Endpoint source{IpAddress{broker.address.family, {}}, 0};
    if (!sources.empty()) source.address = sources[state_->first_source() % sources.size()];
    return make_broker_socket(source, 0);
}

Result<Fd> Connection::open_broker_leg(const Endpoint& broker, bool transparent) {
    auto& state = *state_;
    auto& plane = state.inside();
    if (state.broker_port_owned || state.broker_generation != 0) state.drop_broker_leg();
    state.broker = broker;
    if (!plane.kernel) return open_plain_leg(broker);
    // A client or a broker on this host is reached past every interface, and mixed families have no common
    // address: those come from an address of ours, and are relayed under their reason.
    if (transparent && state.client.address.family == broker.address.family &&
        !plane.host.is_own(state.client.address) && !plane.host.is_own(broker.address))
        return state.open_as_client();
    auto sources = state.configured_sources(broker.address.family);
    if (sources.empty()) {
        const auto route = plane.host.route(broker.address);
        if (!route) return std::unexpected(route.error());
        sources.push_back(route->source);
    }
    if (state.reason == LIMPET_REASON_NONE && state.client.address.family != broker.address.family)
        state.relay(LIMPET_REASON_RELAY_MIXED_FAMILIES);
    if (state.reason == LIMPET_REASON_NONE && plane.host.is_own(broker.address))
        state.relay(LIMPET_REASON_RELAY_LOCAL_PEER);
    // Connections are spread over the source addresses, so that none fills up first.
    for (std::size_t turn = 0; turn < sources.size(); ++turn) {
        const auto& address = sources[(state.first_source() + turn) % sources.size()];
        for (int attempt = 0; attempt < port_tries; ++attempt) {
            const auto port = plane.ports.take(address, broker);
            if (!port) break;
            state.source = Endpoint{address, *port};
            state.broker_key = FlowKey::make(broker, state.source);
            auto socket = make_broker_socket(state.source, state.client_segment);
            if (!socket) {
                // Somebody else's; it is tried again when its turn comes.
                plane.ports.give_back(address, broker, *port);
                if (socket.error().number == EADDRINUSE) continue;
                return socket;
            }
            state.broker_port_owned = true;
            if (state.reason != LIMPET_REASON_NONE) return socket;
            using Created = dataplane::FlowMaps::Created;
            auto created =
                state.kernel().maps.create(state.broker_key, 0, state.broker_generation, state.syn_edit);
            if (created == Created::exists &&
                state.kernel().maps.renew(state.broker_key, 0, state.broker_generation, state.syn_edit))
                created = Created::made;
            if (created == Created::made) return socket;
            state.broker_generation = 0;
            state.relay(created == Created::full ? LIMPET_REASON_RELAY_FLOW_MAP_FULL
                                                 : LIMPET_REASON_RELAY_SOCKET_STATE);
            return socket;
        }
    }
    if (state.reason == LIMPET_REASON_NONE) state.relay(LIMPET_REASON_RELAY_NO_SOURCE_PORT);
    return fail("no source port is free towards " + broker.text(),
                "add addresses to dataplane.source_addresses, or widen dataplane.source_ports");
}

void Connection::port_refused() {
    state_->drop_broker_leg();
}

Step Connection::step(int client_socket, int broker_socket, bool idle, const FlowFacts& facts) {
    auto& state = *state_;
    if (state.phase == State::Phase::relay || state.reason != LIMPET_REASON_NONE)
        return state.relay(state.reason);
    if (state.phase == State::Phase::pending) {
        const auto prepared = state.prepare(client_socket, broker_socket, idle);
        if (state.phase != State::Phase::hold) return prepared;
    }
    state.kernel().parking[state.worker]->collect();
    if (!idle) return state.not_yet();
    auto notes = state.command(LIMPET_OPERATION_READ);
    if (!state.kernel().maps.run(notes)) return state.not_yet();
    return state.look(client_socket, broker_socket, facts, notes);
}

void Connection::give_up(Reason reason) {
    if (state_->phase != State::Phase::gone) state_->relay(reason);
}

}  // namespace limpet::handoff
