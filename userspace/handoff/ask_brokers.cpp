// SPDX-License-Identifier: Apache-2.0
#include "handoff/ask_brokers.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <vector>

#include "dataplane/state.h"
#include "handoff/leg_facts.h"
#include "handoff/syn_answer.h"

namespace limpet::handoff {
namespace {

using Clock = std::chrono::steady_clock;

/// A SYN that was not answered is sent again after this time.
constexpr std::chrono::milliseconds repeat_after{100};

struct Question {
    Endpoint broker;
    Endpoint source;
    std::uint32_t sequence = 0;
    std::uint32_t path_mtu = 0;  // bytes; 0: not known
};

Result<IpAddress> source_towards(dataplane::Dataplane::State& plane, const Endpoint& broker) {
    for (const auto& address : plane.options.source_addresses)
        if (address.family == broker.address.family) return address;
    auto route = plane.host.route(broker.address);
    if (!route) return std::unexpected(route.error());
    return route->source;
}

/// What the host knows of the way, as a datagram socket on it says; no packet is sent.
std::uint32_t path_mtu(const Endpoint& broker) {
    const bool four = broker.address.family == 4;
    const Fd socket(::socket(four ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const auto length = broker.to_sockaddr(storage);
    int mtu = 0;
    socklen_t size = sizeof mtu;
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0 ||
        getsockopt(socket.get(), four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_MTU : IPV6_MTU, &mtu, &size) !=
            0)
        return 0;
    return static_cast<std::uint32_t>(std::max(mtu, 0));
}

std::uint32_t headers(const Endpoint& endpoint) {
    return endpoint.address.family == 4 ? 40 : 60;  // IP and TCP, without options
}

std::optional<Question> make_question(dataplane::Dataplane::State& plane, const Endpoint& broker) {
    const auto source = source_towards(plane, broker);
    if (!source) return std::nullopt;
    const auto port = plane.ports.take(*source, broker);
    if (!port) return std::nullopt;
    Question question{broker, {*source, *port}, 0, path_mtu(broker)};
    if (getrandom(&question.sequence, sizeof question.sequence, 0) != sizeof question.sequence)
        question.sequence = 1;
    return question;
}

void send(dataplane::Dataplane::State& plane, const Question& question) {
    const auto room =
        question.path_mtu > headers(question.broker) ? question.path_mtu - headers(question.broker) : 1400;
    plane.kernel->sender.send_syn(question.source, question.broker, question.sequence,
                                  static_cast<std::uint16_t>(std::min<std::uint32_t>(room, 65000)));
}

/// Hears SYN-ACKs alone: the kernel gives a raw socket a copy of every TCP packet for this host.
Fd open_ear(bool four) {
    Fd ear(::socket(four ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
    if (!ear) return ear;
    // IPv4: x = length of the IP header, which the packet begins with; IPv6 packets begin with TCP.
    std::array<sock_filter, 6> program{{
        {BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0},
        {BPF_LD | BPF_B | BPF_IND, 0, 0, 13},
        {BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x12},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x12},
        {BPF_RET | BPF_K, 0, 0, 256},
        {BPF_RET | BPF_K, 0, 0, 0},
    }};
    if (!four) program[0] = {BPF_LDX | BPF_W | BPF_IMM, 0, 0, 0};
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    if (setsockopt(ear.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) return {};
    return ear;
}

/// Takes what the ear has heard; questions that were answered are taken off the list.
void hear(dataplane::Dataplane::State& plane, int ear, bool four, std::vector<Question>& open) {
    std::array<std::uint8_t, 256> packet;
    sockaddr_storage storage{};
    for (;;) {
        socklen_t length = sizeof storage;
        const auto size =
            ::recvfrom(ear, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&storage), &length);
        if (size <= 0) return;
        std::span<const std::uint8_t> segment(packet.data(), static_cast<std::size_t>(size));
        if (four) {
            const std::size_t header = static_cast<std::size_t>(segment[0] & 15) * 4;
            if (header > segment.size()) continue;
            segment = segment.subspan(header);
        }
        const auto answer = read_syn_answer(segment);
        const auto from = Endpoint::from_sockaddr(storage);
        if (!answer || !from) continue;
        const auto found = std::ranges::find_if(open, [&](const Question& question) {
            return question.broker.address == from->address && question.broker.port == answer->source_port &&
                   question.source.port == answer->destination_port &&
                   question.sequence + 1 == answer->acknowledgement;
        });
        if (found == open.end()) continue;
        auto offer = answer->offer;
        if (found->path_mtu > headers(found->broker))
            offer.segment = std::min(offer.segment, found->path_mtu - headers(found->broker));
        plane.offers.learn(found->broker, offer, all_options);
        open.erase(found);
    }
}

}  // namespace

void ask_brokers(dataplane::Dataplane& dataplane, std::span<const Endpoint> brokers,
                 std::chrono::milliseconds patience) {
    auto& plane = dataplane.state();
    if (!plane.kernel || brokers.empty()) return;
    const Fd ear4 = open_ear(true);
    const Fd ear6 = open_ear(false);
    std::vector<Question> open;
    for (const auto& broker : brokers)
        if (auto question = make_question(plane, broker)) open.push_back(*question);
    const auto asked = open;
    const auto deadline = Clock::now() + patience;
    auto next = Clock::now();
    while (!open.empty() && Clock::now() < deadline) {
        if (Clock::now() >= next) {
            for (const auto& question : open) send(plane, question);
            next += repeat_after;
        }
        std::array<pollfd, 2> waits{
            {{ear4.get(), POLLIN, 0}, {ear6.get(), POLLIN, 0}}};  // one below 0 is left out
        const auto wait = std::min(next, deadline) - Clock::now();
        ::poll(waits.data(), waits.size(),
               static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count()));
        if (ear4) hear(plane, ear4.get(), true, open);
        if (ear6) hear(plane, ear6.get(), false, open);
    }
    for (const auto& question : asked)
        plane.ports.give_back(question.source.address, question.broker, question.source.port);
}

}  // namespace limpet::handoff
