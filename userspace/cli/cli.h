// SPDX-License-Identifier: Apache-2.0
// The commands of the one binary.
#pragma once

#include <iosfwd>

namespace limpet::cli {

/// Exit statuses that scripts may rely on.
inline constexpr int status_ok = 0;
inline constexpr int status_failed = 1;  ///< refused, failed
inline constexpr int status_usage = 2;

[[nodiscard]] int run(int argc, char** argv);
[[nodiscard]] int run(int argc, const char* const* argv, std::istream& in, std::ostream& out,
                      std::ostream& err);

}  // namespace limpet::cli
