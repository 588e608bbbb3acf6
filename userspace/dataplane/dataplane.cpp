// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dataplane.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "dataplane/adoption.h"
#include "dataplane/attachment.h"
#include "dataplane/claim.h"
#include "dataplane/neighbours.h"
#include "dataplane/policy_routing.h"
#include "dataplane/settings.h"
#include "dataplane/state.h"

namespace limpet::dataplane {
namespace {

constexpr unsigned hold_steps = 4;  // buckets for each power of two
// A predecessor that is just ending is waited for.
constexpr std::chrono::milliseconds claim_patience{2000};

std::vector<Interface> wanted_interfaces(const Options& options, std::string& note) {
    if (options.interfaces.empty()) return addressed_interfaces();
    std::vector<Interface> found;
    for (const auto& name : options.interfaces) {
        auto interface = find_interface(name);
        if (interface)
            found.push_back(*interface);
        else
            note = interface.error().line();
    }
    return found;
}

/// In mode relay only what transparent pools need is attached: TC, for the marks.
InterfaceView attach_as_wanted(const Dataplane::State& state, const Interface& interface,
                               const BpfObject& object) {
    const bool marks_only = state.options.mode == Mode::relay;
    auto view = attach(interface, marks_only ? Mode::tc : state.options.mode, object);
    view.redirect = follow_redirect(view, object);
    if (state.transparent().any() && view.mode != Mode::relay) {
        const auto obstacle = policy_obstacle(interface.name);
        if (!obstacle.empty()) view.note += (view.note.empty() ? "" : "; ") + obstacle;
    }
    return view;
}

/// How it looks from outside when nothing is spliced.
InterfaceView as_relay(InterfaceView view) {
    if (view.mode != Mode::relay && view.note.empty())
        view.note = "TC is attached for the marks of transparent pools";
    view.mode = Mode::relay;
    return view;
}

Result<void> make_rings(Kernel& kernel, unsigned workers) {
    for (std::uint32_t worker = 0; worker < workers; ++worker) {
        auto parking = Parking::create();
        if (!parking) return std::unexpected(parking.error());
        const int ring = (*parking)->ring();
        if (bpf_map_update_elem(kernel.object.map("limpet_parking"), &worker, &ring, BPF_ANY) != 0)
            return fail_errno("handing a parking ring to the data path", errno);
        kernel.parking.push_back(std::move(*parking));
    }
    return {};
}

Result<void> start_kernel(Dataplane::State& state) {
    auto adopted = find_lasting_maps(state.options);
    if (!adopted) return std::unexpected(adopted.error());
    auto object = BpfObject::load(state.options.max_flows, *adopted);
    if (!object) return std::unexpected(object.error());
    auto settings = settle_settings(*object, state.options.transparent.any(), state.options.hash_seed);
    if (!settings) return std::unexpected(settings.error());
    state.seed = settings->hash_key[0];
    auto sender = RawSender::open();
    if (!sender) return std::unexpected(sender.error());
    auto kernel = std::make_unique<Kernel>(std::move(*object), std::move(*sender));
    if (auto rings = make_rings(*kernel, state.options.workers); !rings) return rings;
    kernel->janitor = std::make_unique<Janitor>(state.options, kernel->maps, state.ports, kernel->sender,
                                                kernel->object.map("limpet_events"),
                                                [&state](Reason reason) { state.count(reason); });
    kernel->janitor->adopt();

    auto best = Mode::relay;
    for (const auto& interface : wanted_interfaces(state.options, state.note)) {
        auto view = attach_as_wanted(state, interface, kernel->object);
        if (view.mode == Mode::xdp || (view.mode == Mode::tc && best == Mode::relay)) best = view.mode;
        state.views.push_back(std::move(view));
    }
    if (best == Mode::relay) {
        if (state.note.empty())
            state.note =
                state.views.empty() ? "no Ethernet interface has an address" : state.views.front().note;
        return fail(state.note);
    }
    if (state.options.mode != Mode::relay)
        state.mode = best;
    else
        for (auto& view : state.views) view = as_relay(std::move(view));
    if (auto pinned = pin_maps(state.options.bpffs, kernel->object); !pinned)
        state.note = pinned.error().line() + " (the attached programs keep the connections all the same)";
    state.kernel = std::move(kernel);
    return {};
}

}  // namespace

std::string_view mode_name(Mode mode) {
    switch (mode) {
        case Mode::automatic:
            return "auto";
        case Mode::xdp:
            return "xdp";
        case Mode::tc:
            return "tc";
        case Mode::relay:
            return "relay";
    }
    return "relay";
}

bool HostView::is_own(const IpAddress& address) const {
    if (address.is_loopback()) return true;
    const std::lock_guard guard(mutex_);
    return std::find(own_.begin(), own_.end(), address) != own_.end();
}

Result<Route> HostView::route(const IpAddress& destination) {
    const Endpoint key{destination, 0};
    {
        const std::lock_guard guard(mutex_);
        if (const auto found = routes_.find(key); found != routes_.end()) return found->second;
    }
    auto route = route_to(destination);
    if (!route) return route;
    const std::lock_guard guard(mutex_);
    routes_.emplace(key, *route);
    return route;
}

void HostView::refresh() {
    auto own = own_addresses();
    const auto interfaces = addressed_interfaces();
    forwards_ = forwards_ipv6() && std::ranges::all_of(interfaces, &Interface::forwarding);
    const std::lock_guard guard(mutex_);
    own_ = std::move(own);
    routes_.clear();
}

void Dataplane::State::record_hold(std::chrono::nanoseconds time) {
    const auto microseconds = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(time.count()) / 1000);
    const auto power = static_cast<unsigned>(std::bit_width(microseconds)) - 1;
    const auto step = static_cast<unsigned>(((microseconds << 2) >> power) & 3);
    const auto bucket = std::min<std::size_t>(hold_buckets.size() - 1, power * hold_steps + step);
    hold_buckets[bucket].fetch_add(1, std::memory_order_relaxed);
}

/// Whether frames may be redirected to a device can change: a veth's peer gets or loses what it takes.
void Dataplane::State::follow(InterfaceView& view) const {
    if (view.mode != Mode::xdp) return;
    const bool redirect = follow_redirect(view, kernel->object);
    if (redirect == view.redirect) return;
    view.redirect = redirect;
    spdlog::info(
        "interface {}: XDP {}", view.name,
        redirect ? "sends to it directly" : "leaves what is for it to TC: it takes no redirected frames");
}

/// The janitor's thread alone changes what is attached. The kernel may keep it waiting (a namespace that goes
/// holds the lock of all network configuration), so it works on a copy: whoever asks meanwhile is answered.
void Dataplane::State::follow_interfaces() {
    host.refresh();
    std::string ignored;
    auto fresh = interface_views();
    for (const auto& interface : wanted_interfaces(options, ignored)) {
        const auto known = std::find_if(fresh.begin(), fresh.end(), [&](const auto& view) {
            return view.name == interface.name && view.index == interface.index;
        });
        if (known != fresh.end()) {
            follow(*known);
            continue;
        }
        std::erase_if(fresh, [&](const auto& view) { return view.name == interface.name; });
        auto view = attach_as_wanted(*this, interface, kernel->object);
        fresh.push_back(options.mode == Mode::relay ? as_relay(std::move(view)) : std::move(view));
        spdlog::info("interface {} appeared: {}", interface.name, mode_name(fresh.back().mode));
    }
    std::vector<unsigned> with_xdp;
    for (const auto& view : fresh)
        if (view.mode == Mode::xdp) with_xdp.push_back(view.index);
    {
        const std::lock_guard guard(views_mutex);
        views = std::move(fresh);
    }
    if (!with_xdp.empty()) use_stale_neighbours(with_xdp);
}

std::vector<InterfaceView> Dataplane::State::interface_views() const {
    const std::lock_guard guard(views_mutex);
    return views;
}

void Dataplane::State::keep_policy() {
    const auto families = transparent();
    if (!families.any()) return;
    const auto added = add_policy(families);
    if (added && *added)
        spdlog::warn("somebody removed the rule or the route of transparent pools: they are there again");
    if (!added && !policy_failed) spdlog::error("{}", added.error().line());
    policy_failed = !added;
}

Dataplane::Dataplane(std::unique_ptr<State> state) : state_(std::move(state)) {}

Dataplane::~Dataplane() {
    if (state_->kernel) state_->kernel->janitor.reset();  // its thread looks at all the rest
}

Result<std::unique_ptr<Dataplane>> Dataplane::start(Options options) {
    auto state = std::make_unique<State>(std::move(options));
    state->host.refresh();
    quiet_libbpf();
    const bool with_kernel = state->options.mode != Mode::relay || state->options.transparent.any();
    if (with_kernel || state->options.start_fresh) {
        auto claim = claim_network(claim_patience);
        if (!claim) return std::unexpected(claim.error());
        state->claim = std::move(*claim);
    }
    if (state->options.start_fresh)
        if (auto removed = remove_leftover(state->options.bpffs); !removed)
            return std::unexpected(removed.error());
    state->set_transparent(state->options.transparent);
    const bool transparent = state->transparent().any();
    auto routed = add_policy(state->transparent());
    if (!routed) return std::unexpected(routed.error());
    if (with_kernel) {
        if (auto started = start_kernel(*state); !started) {
            if (transparent) {
                if (*routed) remove_policy();
                return fail("transparent pools need the data path: " + started.error().what,
                            started.error().advice);
            }
            if (state->options.mode != Mode::automatic && !state->options.interfaces.empty())
                for (const auto& name : state->options.interfaces)
                    if (auto interface = find_interface(name); !interface)
                        return std::unexpected(interface.error());
            state->note = started.error().line();
            state->mode = Mode::relay;
            state->kernel.reset();
        }
    }
    if (!state->kernel) state->claim.reset();
    if (state->seed == 0) state->seed = state->options.hash_seed;
    if (state->seed == 0 && getrandom(&state->seed, sizeof state->seed, 0) != sizeof state->seed)
        state->seed = 1;
    auto* inside = state.get();
    std::unique_ptr<Dataplane> dataplane(new Dataplane(std::move(state)));
    if (inside->kernel) {
        inside->kernel->janitor->on_tick([inside] {
            inside->follow_interfaces();
            inside->keep_policy();
        });
        inside->kernel->janitor->start();
    }
    return dataplane;
}

Result<void> Dataplane::serve_transparent(Families families) {
    if (!families.any()) return {};
    if (!state_->kernel)
        return fail("a pool became transparent, which needs the data path that this daemon does not have",
                    "restart the daemon");
    if (auto routed = add_policy(families); !routed) return std::unexpected(routed.error());
    if (auto written = set_transparent(state_->kernel->object); !written) return written;
    state_->set_transparent(families);
    return {};
}

Mode Dataplane::mode() const {
    return state_->mode;
}

std::string Dataplane::note() const {
    return state_->note;
}

std::vector<InterfaceView> Dataplane::interfaces() const {
    return state_->interface_views();
}

std::uint64_t Dataplane::hash_seed() const {
    return state_->seed;
}

std::uint64_t Dataplane::flow_count() const {
    return state_->kernel ? state_->kernel->janitor->flow_count() : 0;
}

std::size_t Dataplane::grace_descriptors() const {
    return state_->kernel ? state_->kernel->janitor->grace_descriptors() : 0;
}

void Dataplane::for_each_flow(const std::function<bool(const FlowView&)>& visit) const {
    if (!state_->kernel) return;
    const auto& maps = state_->kernel->maps;
    const auto now = tick_now();
    maps.visit_all([&](const FlowKey& key, const FlowEntry& client) {
        if (!client.is_client_leg() || !client.is_spliced()) return true;
        const auto broker = maps.read(client.peer_key());
        return !broker || !broker->is_spliced() || visit(view_of(key, client, *broker, now));
    });
}

bool Dataplane::kill_flow(const Endpoint& client, const Endpoint& listener, Reason reason) {
    if (!state_->kernel || client.address.family != listener.address.family) return false;
    return state_->kernel->janitor->kill(FlowKey::make(client, listener), reason);
}

std::uint64_t Dataplane::end_flows(const EndOrder& order) {
    if (!state_->kernel) return 0;
    const auto id = state_->kernel->janitor->ending().order(order);
    state_->kernel->janitor->wake();
    return id;
}

void Dataplane::cancel_ending(std::uint64_t order) {
    if (state_->kernel) state_->kernel->janitor->ending().cancel(order);
}

std::optional<EndProgress> Dataplane::ending_progress(std::uint64_t order) const {
    if (!state_->kernel) return std::nullopt;
    return state_->kernel->janitor->ending().progress(order);
}

void Dataplane::on_broker_reset(std::function<void(const BrokerReset&)> handler) {
    if (state_->kernel) state_->kernel->janitor->on_broker_reset(std::move(handler));
}

void Dataplane::on_flow_end(std::function<void(const FlowEnd&)> handler) {
    if (!state_->kernel) return;
    auto* inside = state_.get();
    state_->kernel->janitor->on_flow_end([inside, handler = std::move(handler)](const FlowEnd& end) {
        inside->count(end.reason);
        handler(end);
    });
}

Offer Dataplane::common_offer(std::span<const Endpoint> brokers) const {
    return state_->offers.common(brokers);
}

bool Dataplane::knows_offer(const Endpoint& broker) const {
    return state_->offers.knows(broker);
}

void Dataplane::set_offer(const Endpoint& listener, std::uint8_t missing) {
    if (!state_->kernel) return;
    limpet_offer_key key{};
    key.family = listener.address.family;
    key.port = static_cast<std::uint16_t>(__builtin_bswap16(listener.port));
    std::memcpy(key.address, listener.address.bytes.data(), sizeof key.address);
    const int map = state_->kernel->object.map("limpet_offers");
    if (missing == 0) {
        bpf_map_delete_elem(map, &key);
        return;
    }
    limpet_offer offer{};
    offer.syn_edit = missing;
    // A full table leaves clients with offers that the brokers do not keep: they are relayed, by name.
    if (bpf_map_update_elem(map, &key, &offer, BPF_ANY) != 0)
        spdlog::warn("the data path has no room for what listener {} offers: its clients may be relayed",
                     listener.text());
}

std::array<std::uint64_t, LIMPET_REASON_COUNT> Dataplane::counters() const {
    std::array<std::uint64_t, LIMPET_REASON_COUNT> totals{};
    const int cpus = libbpf_num_possible_cpus();
    std::vector<std::uint64_t> values(cpus > 0 ? static_cast<std::size_t>(cpus) : 1);
    for (std::uint32_t reason = 0; reason < LIMPET_REASON_COUNT; ++reason) {
        totals[reason] = state_->counters[reason].load(std::memory_order_relaxed);
        if (!state_->kernel) continue;
        if (bpf_map_lookup_elem(state_->kernel->object.map("limpet_counters"), &reason, values.data()) != 0)
            continue;
        for (const auto value : values) totals[reason] += value;
    }
    return totals;
}

void Dataplane::count(Reason reason) {
    state_->count(reason);
}

Dataplane::HoldTimes Dataplane::hold_times() const {
    HoldTimes times;
    std::array<std::uint64_t, 64> buckets{};
    for (std::size_t at = 0; at < buckets.size(); ++at) {
        buckets[at] = state_->hold_buckets[at].load(std::memory_order_relaxed);
        times.count += buckets[at];
    }
    const auto quantile = [&](double share) {
        std::uint64_t sum = 0;
        for (std::size_t at = 0; at < buckets.size(); ++at) {
            sum += buckets[at];
            if (sum != 0 && static_cast<double>(sum) >= share * static_cast<double>(times.count)) {
                const auto power = static_cast<double>(1ULL << (at / hold_steps));
                return power * (1.0 + static_cast<double>(at % hold_steps + 1) / hold_steps);
            }
        }
        return 0.0;
    };
    times.p50 = quantile(0.5);
    times.p99 = quantile(0.99);
    times.p999 = quantile(0.999);
    return times;
}

std::vector<SourcePorts::Usage> Dataplane::source_ports() const {
    return state_->ports.usage();
}

void Dataplane::detach() {
    if (!state_->kernel) return;
    state_->kernel->janitor->stop();  // or it would attach again
    for (const auto& view : interfaces())
        if (const auto interface = find_interface(view.name)) dataplane::detach(*interface);
    remove_pins(state_->options.bpffs);
    remove_policy();
}

}  // namespace limpet::dataplane
