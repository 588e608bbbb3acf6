// SPDX-License-Identifier: Apache-2.0
// A packet generator, the bare XDP redirect beside which the fast path is measured, and a counter.
//
//   packet_rig generate --object FILE --device NAME --frames FILE [--seconds N] [--core N]
//   packet_rig redirect --object FILE --device NAME --to NAME --source MAC --destination MAC
//   packet_rig count    --object FILE --device NAME
//
// generate sends the frames of the file (one in hex a line, a power of two of them) out of the device as fast
// as it goes and prints one line of JSON. The other two attach a program to the device, print one line when
// it is there, answer each line of standard input with the packets seen, and detach at its end.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>

#include <fstream>
#include <iostream>

#include "common.h"
#include "packet_rig.h"

namespace {

using namespace load;

class Rig {
  public:
    Rig(const std::string& object, const std::string& program) : object_(bpf_object__open(object.c_str())) {
        if (object_ == nullptr) fail("open " + object);
        bpf_program* each = nullptr;
        bpf_object__for_each_program(each, object_)
            bpf_program__set_autoload(each, program == bpf_program__name(each));
        if (bpf_object__load(object_) != 0) fail("load " + object);
        program_ = bpf_program__fd(bpf_object__find_program_by_name(object_, program.c_str()));
    }
    ~Rig() { bpf_object__close(object_); }
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;

    [[nodiscard]] int program() const { return program_; }

    template <class Value>
    void set(const char* map, std::uint32_t index, const Value& value) const {
        if (bpf_map_update_elem(descriptor(map), &index, &value, BPF_ANY) != 0) fail(map);
    }

    [[nodiscard]] std::uint64_t packets() const {
        std::vector<std::uint64_t> each(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        const std::uint32_t zero = 0;
        if (bpf_map_lookup_elem(descriptor("counter"), &zero, each.data()) != 0) fail("counter");
        std::uint64_t sum = 0;
        for (const std::uint64_t value : each) sum += value;
        return sum;
    }

  private:
    [[nodiscard]] int descriptor(const char* map) const {
        return bpf_object__find_map_fd_by_name(object_, map);
    }

    bpf_object* object_;
    int program_ = -1;
};

unsigned device_index(const std::string& name) {
    const unsigned index = if_nametoindex(name.c_str());
    if (index == 0) fail("device " + name);
    return index;
}

void parse_mac(const std::string& text, __u8 (&out)[6]) {
    errno = 0;
    if (std::sscanf(text.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &out[0], &out[1], &out[2], &out[3],
                    &out[4], &out[5]) != 6)
        fail("not a MAC address: " + text);
}

std::vector<rig_frame> read_frames(const std::string& path) {
    std::vector<rig_frame> frames;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        errno = 0;
        if (line.size() != 2 * RIG_FRAME_BYTES) fail("a frame of the wrong length in " + path);
        rig_frame& frame = frames.emplace_back();
        for (std::size_t i = 0; i < RIG_FRAME_BYTES; ++i)
            std::from_chars(line.data() + 2 * i, line.data() + 2 * i + 2, frame.bytes[i], 16);
    }
    errno = 0;
    if (frames.empty() || frames.size() > RIG_FRAMES || (frames.size() & (frames.size() - 1)) != 0)
        fail("the number of frames is not a power of two up to 64: " + path);
    return frames;
}

void generate(const Arguments& arguments) {
    const Rig rig(arguments.text("object"), "generate");
    const auto frames = read_frames(arguments.text("frames"));
    for (std::uint32_t i = 0; i < frames.size(); ++i) rig.set("frames", i, frames[i]);
    const rig_settings settings{
        device_index(arguments.text("device")), static_cast<__u32>(frames.size() - 1), {}, {}};
    rig.set("settings", 0, settings);
    if (arguments.text("core") != "") {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(arguments.count("core", 0), &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
    }
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frames[0].bytes;
    options.data_size_in = RIG_FRAME_BYTES;
    options.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
    options.repeat = 1 << 15;
    const std::int64_t begin = now();
    const auto duration = static_cast<std::int64_t>(arguments.count("seconds", 1)) * 1'000'000;
    while (now() - begin < duration)
        if (bpf_prog_test_run_opts(rig.program(), &options) != 0) fail("BPF_PROG_RUN on live frames");
    const double seconds = static_cast<double>(now() - begin) / 1e6;
    std::printf("{\"packets\":%lu,\"seconds\":%.4f}\n", rig.packets(), seconds);
}

void attend(const Rig& rig, const Arguments& arguments) {
    const int device = static_cast<int>(device_index(arguments.text("device")));
    if (bpf_xdp_attach(device, rig.program(), XDP_FLAGS_DRV_MODE, nullptr) != 0) fail("attach");
    std::printf("{\"attached\":true}\n");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        std::printf("{\"packets\":%lu}\n", rig.packets());
        std::fflush(stdout);
    }
    if (bpf_xdp_detach(device, XDP_FLAGS_DRV_MODE, nullptr) != 0) fail("detach");
    std::printf("{\"attached\":false}\n");
}

void redirect(const Arguments& arguments) {
    const Rig rig(arguments.text("object"), "redirect");
    rig_settings settings{};
    settings.device = device_index(arguments.text("to"));
    parse_mac(arguments.text("destination"), settings.destination);
    parse_mac(arguments.text("source"), settings.source);
    rig.set("settings", 0, settings);
    attend(rig, arguments);
}

}  // namespace

int main(int count, char** values) {
    const std::string verb = count > 1 ? values[1] : "";
    const Arguments arguments(count, values, 2);
    if (verb == "generate")
        generate(arguments);
    else if (verb == "redirect")
        redirect(arguments);
    else if (verb == "count")
        attend(Rig(arguments.text("object"), "count"), arguments);
    else
        fail("usage: packet_rig generate|redirect|count --object FILE --device NAME ...");
    return 0;
}
