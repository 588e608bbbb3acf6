// SPDX-License-Identifier: Apache-2.0
// `limpet top`: what changes at a daemon, as a view that draws itself again.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "admin/verbs.h"

namespace limpet::cli {

using admin::Json;

/// One look at the daemon.
struct Look {
    Json status;
    Json flows;     ///< some of them, as many as are looked at
    double at = 0;  ///< seconds of a clock that only goes forward
};

struct ScreenSize {
    std::size_t columns = 80;
    std::size_t lines = 24;
};

/// What happened between two looks: {"seconds","brokers":[{"pool","name","chosen_per_second",
/// "failures_per_second"}],"reasons":{NAME:per second},"busiest":[{"client_id","client","broker_name",
/// "from_client_per_second","from_broker_per_second"}]}. Counters of another daemon process count from zero.
[[nodiscard]] Json changes_between(const Look& before, const Look& now);

/// The view for a screen of this size; `changes` is null at the first look.
[[nodiscard]] std::string top_text(const Look& now, const Json& changes, ScreenSize size);

}  // namespace limpet::cli
