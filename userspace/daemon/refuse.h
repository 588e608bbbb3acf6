// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace limpet::daemon {

/// An error of our own judgement with the errno by which the HTTP API tells what kind it is.
[[nodiscard]] inline std::unexpected<Error> refuse(int number, std::string what, std::string advice) {
    return std::unexpected(Error{std::move(what), std::move(advice), number});
}

}  // namespace limpet::daemon
