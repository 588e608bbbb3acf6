// SPDX-License-Identifier: Apache-2.0
#include "session/gate.h"

#include <dirent.h>
#include <sys/resource.h>

#include <memory>

namespace limpet::session {

std::size_t descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
    return static_cast<std::size_t>(limit.rlim_cur);
}

std::size_t open_descriptors() {
    const auto close_folder = [](DIR* folder) { closedir(folder); };
    const std::unique_ptr<DIR, decltype(close_folder)> folder(opendir("/proc/self/fd"));
    if (!folder) return 32;  // without /proc: about what a daemon opens
    std::size_t count = 0;
    while (const auto* entry = readdir(folder.get()))
        if (entry->d_name[0] != '.') ++count;
    return count - 1;  // the folder itself
}

}  // namespace limpet::session
