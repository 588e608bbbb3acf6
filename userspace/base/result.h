// SPDX-License-Identifier: Apache-2.0
// Errors as values: what was being done, what went wrong, and what a person can do about it.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace limpet {

/// Why something could not be done. `what` says what was being done and what went wrong; `advice` says what
/// to do about it and may be empty; `number` is the errno, or 0 where no system call failed.
struct Error {
    std::string what;
    std::string advice;
    int number = 0;

    /// One line for people: "what: advice".
    [[nodiscard]] std::string line() const { return advice.empty() ? what : what + ": " + advice; }
};

template <class T>
using Result = std::expected<T, Error>;

/// An error of our own judgement.
[[nodiscard]] inline std::unexpected<Error> fail(std::string what, std::string advice = {}) {
    return std::unexpected(Error{std::move(what), std::move(advice), 0});
}

/// An error of the system's: appends the text of `number` to what was being done.
[[nodiscard]] inline std::unexpected<Error> fail_errno(std::string doing, int number,
                                                       std::string advice = {}) {
    doing += ": ";
    doing += std::strerror(number);
    return std::unexpected(Error{std::move(doing), std::move(advice), number});
}

}  // namespace limpet
