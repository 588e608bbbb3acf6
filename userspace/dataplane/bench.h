// SPDX-License-Identifier: Apache-2.0
// What the fast path costs on this machine: nanoseconds a packet, the verifier's count, and packets per
// second of a generator beside a bare XDP redirect on the same devices. All of it happens in a network
// namespace of its own, on programs and maps of its own: a daemon and its connections are not touched.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace limpet::dataplane {

struct BenchOptions {
    std::uint64_t rounds = 9;  ///< of each measure, interleaved
    std::uint32_t flows = 64;  ///< that the generated packets belong to; a power of two, at most 16384
};

/// One program on one kind of packet (BPF_PROG_RUN).
struct ProgramFigure {
    std::string program;
    std::string packet;
    std::uint32_t nanoseconds = 0;  ///< median
    std::uint32_t least = 0;
    std::uint64_t runs = 0;
};

struct VerifierFigure {
    std::string program;
    std::uint32_t verified_instructions = 0;
    std::uint32_t translated_bytes = 0;
    std::uint32_t jited_bytes = 0;
};

/// Generated packets that came out behind a program.
struct PacketFigure {
    std::string program;
    double generated_per_second = 0;  ///< medians
    double forwarded_per_second = 0;
};

struct BenchResult {
    std::vector<ProgramFigure> programs;
    std::vector<VerifierFigure> verifier;
    std::vector<PacketFigure> packets;  ///< empty where the kernel cannot generate any, see `note`
    double ratio = 0;                   ///< packets that limpet_xdp forwards to those of the bare redirect
    std::string note;
};

/// Takes the calling process out of its network namespace for good.
[[nodiscard]] Result<BenchResult> run_bench(const BenchOptions& options);

}  // namespace limpet::dataplane
