// SPDX-License-Identifier: Apache-2.0
// An unkind network at one end host: loses, doubles and delays TCP frames that leave a device
// (disorder.bpf.c).
//
//   disorder --object FILE --device NAME
//
// Prints one line when the program is attached; then standard input says
//   set lose=N duplicate=N late=N least=US most=US    shares in hundredths of a percent; lateness in
//   microseconds read                                              what was done so far
// and each line is answered by one line of JSON. At the end of the input what is still late is sent, and the
// program is detached. Frames are expected to be no super-packets: `ip link set DEVICE gso_max_segs 1`.
#include "disorder.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/prctl.h>

#include <array>
#include <ctime>
#include <limits>
#include <span>
#include <sstream>

#include "common.h"
#include "stream.h"

namespace {

using namespace load;

using Frame = std::vector<std::uint8_t>;

/// The Internet checksum (RFC 1071) of some bytes, on top of a sum that was begun elsewhere; not yet folded.
std::uint64_t add_up(std::span<const std::uint8_t> bytes, std::uint64_t sum) {
    for (std::size_t at = 0; at + 1 < bytes.size(); at += 2)
        sum += static_cast<std::uint64_t>(bytes[at] << 8 | bytes[at + 1]);
    return bytes.size() % 2 != 0 ? sum + (static_cast<std::uint64_t>(bytes.back()) << 8) : sum;
}

/// A frame that was copied before the device would have summed it up still lacks its TCP checksum.
void finish_checksum(Frame& frame) {
    constexpr std::size_t ethernet = 14;
    constexpr std::size_t field = 16;
    const bool four = frame[12] == 0x08;
    const std::size_t header = four ? (frame[ethernet] & 0xfu) * 4 : 40;
    const auto word = [&](std::size_t at) {
        return static_cast<std::size_t>(frame[at] << 8 | frame[at + 1]);
    };
    const std::size_t length = four ? word(ethernet + 2) - header : word(ethernet + 4);
    if (frame.size() < ethernet + header + length || length < 20) return;
    const std::span all(frame);
    const auto addresses = four ? all.subspan(ethernet + 12, 8) : all.subspan(ethernet + 8, 32);
    const auto segment = all.subspan(ethernet + header, length);
    segment[field] = segment[field + 1] = 0;
    std::uint64_t sum = add_up(segment, add_up(addresses, IPPROTO_TCP + length));
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    segment[field] = static_cast<std::uint8_t>(~sum >> 8);
    segment[field + 1] = static_cast<std::uint8_t>(~sum);
}

/// The program on the device's way out.
class Attached {
  public:
    Attached(const std::string& path, unsigned device) : object_(bpf_object__open(path.c_str())) {
        if (object_ == nullptr || bpf_object__load(object_) != 0) fail("load " + path);
        hook_.sz = sizeof hook_;
        hook_.ifindex = static_cast<int>(device);
        hook_.attach_point = BPF_TC_EGRESS;
        if (const int error = bpf_tc_hook_create(&hook_); error != 0 && error != -EEXIST) fail("clsact");
        options_.sz = sizeof options_;
        options_.prog_fd = bpf_program__fd(bpf_object__find_program_by_name(object_, "disorder"));
        options_.handle = options_.priority = 1;
        if (bpf_tc_attach(&hook_, &options_) != 0) fail("attach");
    }
    ~Attached() {
        options_.prog_fd = 0;
        options_.flags = options_.prog_id = 0;
        bpf_tc_detach(&hook_, &options_);
        bpf_object__close(object_);
    }
    Attached(const Attached&) = delete;
    Attached& operator=(const Attached&) = delete;

    [[nodiscard]] int map(const char* name) const { return bpf_object__find_map_fd_by_name(object_, name); }

    void set(const disorder_settings& settings) const {
        const std::uint32_t zero = 0;
        if (bpf_map_update_elem(map("settings"), &zero, &settings, BPF_ANY) != 0) fail("settings");
    }
    [[nodiscard]] disorder_counts counts() const {
        std::vector<disorder_counts> each(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        const std::uint32_t zero = 0;
        if (bpf_map_lookup_elem(map("counts"), &zero, each.data()) != 0) fail("counts");
        disorder_counts sum{};
        for (const auto& one : each) {
            sum.seen += one.seen;
            sum.lost += one.lost;
            sum.duplicated += one.duplicated;
            sum.late += one.late;
            sum.untouched += one.untouched;
        }
        return sum;
    }

  private:
    bpf_object* object_;
    bpf_tc_hook hook_{};
    bpf_tc_opts options_{};
};

/// Frames that wait until it is their time to be late.
class Late {
  public:
    explicit Late(unsigned device) : socket_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) {
        const std::uint32_t mark = DISORDER_MARK;
        if (!socket_.open() || setsockopt(socket_.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0)
            fail("a packet socket");
        to_.sll_family = AF_PACKET;
        to_.sll_ifindex = static_cast<int>(device);
        to_.sll_halen = ETH_ALEN;
    }
    void lateness(std::uint64_t least, std::uint64_t most) {
        if (least > most) fail("least is more than most");
        least_ = least;
        span_ = most - least + 1;
    }
    void take(const disorder_frame& frame) {
        random_ = mix(random_);
        const auto due = now() + static_cast<std::int64_t>(least_ + random_ % span_);
        waiting_.emplace(due, Frame(frame.bytes, frame.bytes + frame.length));
    }
    void send_due(std::int64_t time) {
        while (!waiting_.empty() && waiting_.begin()->first <= time) {
            Frame& frame = waiting_.begin()->second;
            finish_checksum(frame);
            std::copy_n(frame.begin(), ETH_ALEN, to_.sll_addr);
            sendto(socket_.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to_),
                   sizeof to_);
            waiting_.erase(waiting_.begin());
        }
    }
    /// Microseconds until the next one is due.
    [[nodiscard]] std::int64_t rest(std::int64_t time, std::int64_t otherwise) const {
        return waiting_.empty() ? otherwise
                                : std::clamp<std::int64_t>(waiting_.begin()->first - time, 0, otherwise);
    }

  private:
    Fd socket_;
    sockaddr_ll to_{};
    std::uint64_t least_ = 100, span_ = 900, random_ = 1;
    std::multimap<std::int64_t, Frame> waiting_;
};

int on_frame(void* context, void* data, std::size_t size) {
    if (size >= sizeof(disorder_frame))
        static_cast<Late*>(context)->take(*static_cast<disorder_frame*>(data));
    return 0;
}

/// One line of standard input.
void obey(const std::string& line, const Attached& attached, disorder_settings& settings, Late& late) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "read") {
        const disorder_counts counts = attached.counts();
        std::printf("{\"seen\":%llu,\"lost\":%llu,\"duplicated\":%llu,\"late\":%llu,\"untouched\":%llu}\n",
                    counts.seen, counts.lost, counts.duplicated, counts.late, counts.untouched);
        return;
    }
    if (word != "set") fail("unknown command " + line);
    std::map<std::string, std::uint64_t> values;
    while (words >> word) {
        const auto equals = word.find('=');
        if (equals == std::string::npos) fail("expected name=value, not " + word);
        values[word.substr(0, equals)] = number<std::uint64_t>(std::string_view(word).substr(equals + 1));
    }
    settings.lose = static_cast<std::uint32_t>(values["lose"]);
    settings.duplicate = static_cast<std::uint32_t>(values["duplicate"]);
    settings.late = static_cast<std::uint32_t>(values["late"]);
    late.lateness(values["least"], values["most"]);
    attached.set(settings);
    std::printf("{\"set\":true}\n");
}

void attend(const Arguments& arguments) {
    const unsigned device = if_nametoindex(arguments.text("device").c_str());
    if (device == 0) fail("device " + arguments.text("device"));
    const Attached attached(arguments.text("object"), device);
    disorder_settings settings{0, 0, 0, device};
    attached.set(settings);
    Late late(device);
    ring_buffer* ring = ring_buffer__new(attached.map("frames"), on_frame, &late, nullptr);
    if (ring == nullptr) fail("ring buffer");
    prctl(PR_SET_TIMERSLACK, 1000UL);  // nanoseconds: late is late enough
    std::printf("{\"attached\":true}\n");
    std::fflush(stdout);
    std::string input;
    for (bool ended = false; !ended;) {
        std::array<pollfd, 2> watched{{{ring_buffer__epoll_fd(ring), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
        const std::int64_t rest = late.rest(now(), 1'000'000);
        const timespec patience{rest / 1'000'000, rest % 1'000'000 * 1000};
        ppoll(watched.data(), watched.size(), &patience, nullptr);
        ring_buffer__consume(ring);
        late.send_due(now());
        if (watched[1].revents == 0) continue;
        std::array<char, 512> buffer;
        const ssize_t count = read(STDIN_FILENO, buffer.data(), buffer.size());
        ended = count <= 0;
        if (!ended) input.append(buffer.data(), static_cast<std::size_t>(count));
        for (auto end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
            obey(input.substr(0, end), attached, settings, late);
            std::fflush(stdout);
            input.erase(0, end + 1);
        }
    }
    late.send_due(std::numeric_limits<std::int64_t>::max());
    ring_buffer__free(ring);
    std::printf("{\"attached\":false}\n");
}

}  // namespace

int main(int count, char** values) {
    attend(Arguments(count, values, 1));
    return 0;
}
