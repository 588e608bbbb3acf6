// SPDX-License-Identifier: Apache-2.0
#include "discovery/resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>

namespace limpet::discovery {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int query_timeout = 1000;  // milliseconds, of the first try; later ones wait longer
constexpr int query_tries = 2;       // with each server

/// c-ares once in a process, before the first channel.
int start_library() {
    static std::once_flag once;
    static int status = ARES_SUCCESS;
    std::call_once(once, [] { status = ares_library_init(ARES_LIB_INIT_ALL); });
    return status;
}

struct FreeAddresses {
    void operator()(ares_addrinfo* info) const { ares_freeaddrinfo(info); }
};
struct FreeData {
    void operator()(void* data) const { ares_free_data(data); }
};

/// A question under way; c-ares holds a pointer to it.
struct Pending {
    Answer answer;
    bool done = false;
};

void take_addresses(void* argument, int status, int, ares_addrinfo* info) {
    const std::unique_ptr<ares_addrinfo, FreeAddresses> owned(info);
    auto& pending = *static_cast<Pending*>(argument);
    pending.done = true;
    if (status != ARES_SUCCESS) {
        pending.answer.error = ares_strerror(status);
        return;
    }
    int lifetime = std::numeric_limits<int>::max();
    for (const auto* node = owned->nodes; node; node = node->ai_next) {
        sockaddr_storage storage{};
        std::copy_n(reinterpret_cast<const char*>(node->ai_addr), node->ai_addrlen,
                    reinterpret_cast<char*>(&storage));
        const auto endpoint = Endpoint::from_sockaddr(storage);
        if (!endpoint) continue;
        pending.answer.addresses.push_back(endpoint->address);
        lifetime = std::min(lifetime, node->ai_ttl);
    }
    for (const auto* alias = owned->cnames; alias; alias = alias->next)
        lifetime = std::min(lifetime, alias->ttl);
    if (pending.answer.addresses.empty()) pending.answer.error = "there is no address of this name";
    pending.answer.lifetime = std::chrono::seconds(std::max(lifetime, 0));
}

/// The shortest lifetime of the answer's records; ares_parse_srv_reply() does not tell it.
std::chrono::seconds lifetime_of(const unsigned char* packet, int length) {
    ns_msg message;
    std::uint32_t lifetime = std::numeric_limits<std::int32_t>::max();
    if (ns_initparse(packet, length, &message) != 0) return std::chrono::seconds(0);
    for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
        ns_rr record;
        if (ns_parserr(&message, ns_s_an, i, &record) == 0) lifetime = std::min(lifetime, ns_rr_ttl(record));
    }
    return std::chrono::seconds(lifetime);
}

void take_services(void* argument, int status, int, unsigned char* packet, int length) {
    auto& pending = *static_cast<Pending*>(argument);
    pending.done = true;
    ares_srv_reply* first = nullptr;
    if (status == ARES_SUCCESS) status = ares_parse_srv_reply(packet, length, &first);
    const std::unique_ptr<ares_srv_reply, FreeData> owned(first);
    if (status != ARES_SUCCESS) {
        pending.answer.error = ares_strerror(status);
        return;
    }
    for (const auto* record = first; record; record = record->next)
        if (std::string_view(record->host) != "." &&
            *record->host)  // "." says: there is no such service (RFC 2782)
            pending.answer.services.push_back(
                {record->host, record->port, record->priority, record->weight, {}});
    if (pending.answer.services.empty()) pending.answer.error = "there is no such service";
    pending.answer.lifetime = lifetime_of(packet, length);
}

}  // namespace

struct Resolver::State {
    ares_channel channel = nullptr;

    ~State() {
        if (channel) ares_destroy(channel);
    }
    void wait(Clock::time_point deadline) const;
};

Resolver::Resolver(std::unique_ptr<State> state) : state_(std::move(state)) {}
Resolver::~Resolver() = default;
Resolver::Resolver(Resolver&&) noexcept = default;
Resolver& Resolver::operator=(Resolver&&) noexcept = default;

Result<Resolver> Resolver::make(const std::vector<std::string>& servers) {
    const auto failed = [](int status) {
        return fail(std::string("preparing DNS: ") + ares_strerror(status),
                    "look at /etc/resolv.conf and dns_servers");
    };
    if (const int status = start_library(); status != ARES_SUCCESS) return failed(status);
    auto state = std::make_unique<State>();
    ares_options options{};
    options.timeout = query_timeout;
    options.tries = query_tries;
    int status = ares_init_options(&state->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (status != ARES_SUCCESS) return failed(status);
    if (!servers.empty()) {
        std::string list;
        for (const auto& server : servers) list += (list.empty() ? "" : ",") + server;
        status = ares_set_servers_ports_csv(state->channel, list.c_str());
        if (status != ARES_SUCCESS) return failed(status);
    }
    return Resolver(std::move(state));
}

std::vector<Answer> Resolver::ask(std::span<const Question> questions, std::chrono::milliseconds patience) {
    std::vector<Pending> pending(questions.size());
    for (std::size_t i = 0; i < questions.size(); ++i) {
        const auto* name = questions[i].name.c_str();
        if (questions[i].service) {
            ares_query(state_->channel, name, ns_c_in, ns_t_srv, take_services, &pending[i]);
            continue;
        }
        ares_addrinfo_hints hints{};
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;  // otherwise each address comes once for every sort of socket
        ares_getaddrinfo(state_->channel, name, nullptr, &hints, take_addresses, &pending[i]);
    }
    const auto deadline = Clock::now() + patience;
    while (std::ranges::any_of(pending, [](const Pending& one) { return !one.done; }) &&
           Clock::now() < deadline)
        state_->wait(deadline);
    ares_cancel(state_->channel);  // tells those that are open: nothing refers to them afterwards
    std::vector<Answer> answers;
    for (auto& one : pending) answers.push_back(std::move(one.answer));
    return answers;
}

/// Waits for the next packet or time limit, and has c-ares look at it.
void Resolver::State::wait(Clock::time_point deadline) const {
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
    const auto bits = static_cast<unsigned>(ares_getsock(channel, sockets.data(), ARES_GETSOCK_MAXNUM));
    std::vector<pollfd> waits;
    for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
        short events = 0;
        if (ARES_GETSOCK_READABLE(bits, i)) events |= POLLIN;
        if (ARES_GETSOCK_WRITABLE(bits, i)) events |= POLLOUT;
        if (events) waits.push_back({sockets[i], events, 0});
    }
    timeval longest{};
    longest.tv_usec = 200'000;
    timeval next{};
    ares_timeout(channel, &longest, &next);
    const auto own = std::chrono::seconds(next.tv_sec) + std::chrono::microseconds(next.tv_usec);
    const auto rest = std::max<Clock::duration>(deadline - Clock::now(), Clock::duration::zero());
    const auto time = std::chrono::ceil<std::chrono::milliseconds>(std::min<Clock::duration>(own, rest));
    ::poll(waits.data(), waits.size(), static_cast<int>(time.count()));
    ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // time limits
    for (const auto& wait : waits)
        ares_process_fd(channel, wait.revents & (POLLIN | POLLERR | POLLHUP) ? wait.fd : ARES_SOCKET_BAD,
                        wait.revents & POLLOUT ? wait.fd : ARES_SOCKET_BAD);
}

}  // namespace limpet::discovery
