// SPDX-License-Identifier: Apache-2.0
// Many MQTT clients in one process: connects them at a rate, says what became of each, and then does what its
// standard input says, one line of JSON for each command.
//
//   mass --connect ADDR:PORT,... --count N [--prefix TEXT] [--rate PER_SECOND] [--window N] [--source
//   ADDR,...]
//        [--timeout SECONDS] [--keep-alive SECONDS] [--stay 0|1]
//
// Client ids are the prefix and a number. --stay 0: each client leaves once it was served and its PINGREQ
// answered. --window: at most so many clients that are neither served nor refused nor gone.
// Commands: ping (PINGREQ on every connection), leave (DISCONNECT), connect (those who are away come back).
#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "common.h"

namespace {

using namespace load;

enum class Fate { away, connecting, served, refused, closed, reset, failed, hung, lost };

struct Client {
    Fd fd;
    Fate fate = Fate::away;
    bool greeted = false;
    bool answered = false;  ///< PINGRESP came
    std::uint8_t code = 0;  ///< of CONNACK
    std::int64_t begin = 0;
    std::int64_t took = 0;
    std::string input;
};

class Mass {
  public:
    explicit Mass(const Arguments& arguments)
        : targets_(arguments.addresses("connect")),
          sources_(arguments.addresses("source")),
          prefix_(arguments.text("prefix", "mass-")),
          rate_(arguments.count("rate", 0)),
          window_(arguments.count("window", arguments.count("count", 100))),
          timeout_(static_cast<std::int64_t>(arguments.count("timeout", 60)) * 1'000'000),
          keep_alive_(static_cast<unsigned>(arguments.count("keep-alive", 600))),
          stay_(arguments.count("stay", 1) != 0),
          epoll_(epoll_create1(EPOLL_CLOEXEC)),
          clients_(arguments.count("count", 100)) {
        if (targets_.empty()) fail("--connect ADDR:PORT is missing");
        if (sources_.empty()) sources_.emplace_back();
    }

    /// Everybody who is away connects; returns when the fate of each is known.
    void connect_all() {
        const std::int64_t begin = now();
        std::size_t next = 0;
        undecided_ = 0;
        while (next < clients_.size() || undecided_ > 0) {
            const auto due = rate_ == 0 ? clients_.size()
                                        : static_cast<std::size_t>(now() - begin) * rate_ / 1'000'000 + 1;
            for (int batch = 0; batch < 64 && next < std::min(due, clients_.size()) && undecided_ < window_;
                 ++batch)
                start(next++);
            turn();
            give_up();
        }
        report(begin);
    }

    /// PINGREQ on every connection that stands, and its answer within the timeout.
    void ping_all() {
        const std::int64_t begin = now();
        std::size_t asked = 0;
        for (Client& client : clients_) {
            client.answered = false;
            if (client.fate != Fate::served) continue;
            ++asked;
            send(client.fd.get(), "\xC0\0", 2, MSG_NOSIGNAL);
        }
        const auto answered = [this] {
            return std::count_if(clients_.begin(), clients_.end(), [](const Client& client) {
                return client.fate == Fate::served && client.answered;
            });
        };
        const auto standing = [this] { return count(Fate::served); };
        while (answered() < standing() && now() - begin < timeout_)
            for (int i = 0; i < 16; ++i) turn();
        std::printf("{\"event\":\"ping\",\"asked\":%zu,\"answered\":%ld,\"silent\":%ld,\"lost\":%ld}\n",
                    asked, answered(), standing() - answered(), count(Fate::lost));
    }

    void leave_all() {
        for (Client& client : clients_) leave(client);
        std::printf("{\"event\":\"leave\"}\n");
    }

    /// Reads what arrived while nobody gave a command, so that a loss is noticed.
    void idle() { turn(); }

  private:
    void start(std::size_t index) {
        Client& client = clients_[index];
        if (client.fate == Fate::served) return;
        client = Client();
        client.begin = now();
        client.fd = start_connect(targets_[index % targets_.size()], sources_[index % sources_.size()]);
        if (!client.fd.open()) {
            client.fate = Fate::failed;
            return;
        }
        client.fate = Fate::connecting;
        ++undecided_;
        epoll_event event{};
        event.events = EPOLLIN | EPOLLOUT | EPOLLET;
        event.data.u64 = index;
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.fd.get(), &event) != 0) fail("epoll_ctl");
    }

    void turn() {
        std::array<epoll_event, 512> events;
        const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 1);
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            Client& client = clients_[event.data.u64];
            if ((event.events & EPOLLOUT) != 0 && !client.greeted) greet(client, event.data.u64);
            if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && client.fd.open()) receive(client);
        }
    }

    void greet(Client& client, std::size_t index) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(client.fd.get(), SOL_SOCKET, SO_ERROR, &error, &length);
        if (error != 0) return decide(client, error == ECONNRESET ? Fate::reset : Fate::failed);
        client.greeted = true;
        const std::string packet = connect_packet(prefix_ + std::to_string(index), keep_alive_);
        send(client.fd.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    }

    void receive(Client& client) {
        std::array<char, 4096> buffer;
        for (;;) {
            const ssize_t count = read(client.fd.get(), buffer.data(), buffer.size());
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) break;
            if (count <= 0) {
                const Fate early = count < 0 ? Fate::reset : Fate::closed;
                return client.fate == Fate::connecting ? decide(client, early) : end(client, Fate::lost);
            }
            client.input.append(buffer.data(), static_cast<std::size_t>(count));
        }
        digest(client);
    }

    void digest(Client& client) {
        if (client.fate == Fate::connecting && client.input.size() >= 4) {
            client.code = static_cast<std::uint8_t>(client.input[3]);
            client.input.erase(0, 4);
            decide(client, client.code == 0 ? Fate::served : Fate::refused);
            if (client.fate == Fate::served && !stay_) send(client.fd.get(), "\xC0\0", 2, MSG_NOSIGNAL);
        }
        if (client.fate == Fate::served && client.input.size() >= 2) {
            client.answered = client.input[0] == '\xD0';
            client.input.clear();
            if (!stay_) leave(client);
        }
    }

    void decide(Client& client, Fate fate) {
        client.took = now() - client.begin;
        --undecided_;
        if (fate == Fate::served)
            client.fate = fate;
        else
            end(client, fate);
    }

    static void end(Client& client, Fate fate) {
        client.fate = fate;
        client.fd.close();
    }

    /// DISCONNECT and FIN; the descriptor is closed. A client that leaves keeps its fate "served" in the
    /// report of its connect, which counts those who answered too.
    void leave(Client& client) {
        if (!client.fd.open()) return;
        send(client.fd.get(), "\xE0\0", 2, MSG_NOSIGNAL);
        if (!stay_ && client.answered) ++left_;
        end(client, Fate::away);
    }

    void give_up() {
        const std::int64_t time = now();
        for (Client& client : clients_)
            if (client.fate == Fate::connecting && time - client.begin > timeout_) decide(client, Fate::hung);
    }

    [[nodiscard]] std::ptrdiff_t count(Fate fate) const {
        return std::count_if(clients_.begin(), clients_.end(),
                             [fate](const Client& client) { return client.fate == fate; });
    }

    void report(std::int64_t begin) {
        // Those who leave at once must have had their PINGREQ answered as well.
        while (!stay_ && count(Fate::served) > 0 && now() - begin < timeout_) turn();
        std::vector<std::int64_t> times;
        std::map<unsigned, unsigned> codes;
        for (const Client& client : clients_) {
            if (client.took != 0) times.push_back(client.took);
            if (client.fate == Fate::refused) ++codes[client.code];
        }
        std::sort(times.begin(), times.end());
        const auto quantile = [&](double share) {
            return times.empty()
                       ? 0.0
                       : static_cast<double>(
                             times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))]) /
                             1000;
        };
        std::string refused;
        for (const auto& [code, many] : codes)
            refused += (refused.empty() ? "\"" : ",\"") + std::to_string(code) + "\":" + std::to_string(many);
        std::printf(
            "{\"event\":\"connect\",\"count\":%zu,\"served\":%ld,\"left\":%zu,\"refused\":{%s},"
            "\"closed\":%ld,\"reset\":%ld,\"failed\":%ld,\"hung\":%ld,\"lost\":%ld,\"seconds\":%.3f,"
            "\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"max_ms\":%.1f}\n",
            clients_.size(), count(Fate::served), std::exchange(left_, 0), refused.c_str(),
            count(Fate::closed), count(Fate::reset), count(Fate::failed), count(Fate::hung),
            count(Fate::lost), static_cast<double>(now() - begin) / 1e6, quantile(0.5), quantile(0.99),
            quantile(1));
    }

    std::vector<Address> targets_, sources_;
    std::string prefix_;
    std::uint64_t rate_, window_;
    std::int64_t timeout_;
    unsigned keep_alive_;
    bool stay_;
    Fd epoll_;
    std::vector<Client> clients_;
    std::uint64_t undecided_ = 0;
    std::size_t left_ = 0;
};

/// Follows the commands on standard input until it ends.
void obey(Mass& mass) {
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    std::string input;
    for (;;) {
        char buffer[256];
        const ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
        if (count == 0) return;
        if (count > 0) input.append(buffer, static_cast<std::size_t>(count));
        for (auto end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
            const std::string command = input.substr(0, end);
            input.erase(0, end + 1);
            if (command == "ping")
                mass.ping_all();
            else if (command == "leave")
                mass.leave_all();
            else if (command == "connect")
                mass.connect_all();
            else
                std::printf("{\"event\":\"error\",\"what\":\"unknown command\"}\n");
            std::fflush(stdout);
        }
        mass.idle();
    }
}

}  // namespace

int main(int count, char** values) {
    Mass mass(Arguments(count, values, 1));
    mass.connect_all();
    std::fflush(stdout);
    obey(mass);
    return 0;
}
