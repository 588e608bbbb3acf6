// SPDX-License-Identifier: Apache-2.0
// How far drains and rebalancing are, for whoever waits for them.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>

#include "admin/verbs.h"

namespace limpet::cli {

/// "drain b1  [#####.....]  50 %  100 of 200, 100/s, 1s left", at most `width` columns wide.
[[nodiscard]] std::string progress_bar(const admin::Json& move, std::size_t width);
/// The same for a log: "drain of main/b1: 100 of 200 ended, 100/s, 1s left".
[[nodiscard]] std::string progress_line(const admin::Json& move);

/// Shows moves until they are over: on a terminal bars that are drawn over, otherwise a line every few
/// seconds and for each end.
class ProgressView {
  public:
    explicit ProgressView(std::ostream& out);
    void show(const admin::Json& moves);
    [[nodiscard]] static bool over(const admin::Json& moves);

  private:
    std::ostream& out_;
    bool terminal_;
    std::size_t drawn_ = 0;  // lines on the terminal
    std::string last_;
    std::chrono::steady_clock::time_point next_{};
};

}  // namespace limpet::cli
