// SPDX-License-Identifier: Apache-2.0
#include "dataplane/claim.h"

#include <fcntl.h>
#include <sys/file.h>

#include <thread>

namespace limpet::dataplane {
namespace {

// The namespace itself is what is locked: one inode for all of its processes, whatever they have mounted.
constexpr const char* network_file = "/proc/self/ns/net";
// A daemon that was killed needs a moment until the kernel has closed all that it had.
constexpr std::chrono::milliseconds claim_pause{20};

}  // namespace

Result<Fd> claim_network(std::chrono::milliseconds patience) {
    Fd claim(::open(network_file, O_RDONLY | O_CLOEXEC));
    if (!claim) return fail_errno(std::string("opening ") + network_file, errno, "mount /proc");
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (::flock(claim.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail_errno("claiming the network namespace", errno);
        if (std::chrono::steady_clock::now() >= deadline)
            return fail("another limpet daemon has the data path of this network namespace",
                        "stop that daemon, or run this one with mode relay or in another network namespace");
        std::this_thread::sleep_for(claim_pause);
    }
    return claim;
}

bool network_is_claimed() {
    const Fd asked(::open(network_file, O_RDONLY | O_CLOEXEC));
    return asked && ::flock(asked.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace limpet::dataplane
