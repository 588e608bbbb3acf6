// SPDX-License-Identifier: Apache-2.0
// The few Asio types that sessions use, bound to the plain io_context so that nothing is type-erased.
#pragma once

#include <boost/asio.hpp>
#include <chrono>
#include <optional>
#include <utility>

// g++ 12 takes a coroutine frame's operator delete for one that does not belong to its operator new, in
// builds with sanitizers. Both are Asio's own pair.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace limpet::session {

using Clock = std::chrono::steady_clock;
using Executor = boost::asio::io_context::executor_type;
using Token = boost::asio::use_awaitable_t<Executor>;
using Descriptor = boost::asio::posix::basic_stream_descriptor<Executor>;
using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor>;
template <class Value>
using Awaitable = boost::asio::awaitable<Value, Executor>;

/// No deadline.
inline constexpr Clock::time_point never = Clock::time_point::max();

/// Resumes the one coroutine that waits on it. All on one thread; raising it while nobody waits does nothing,
/// so whoever waits looks at the state of things first.
class Signal {
    using Handler = boost::asio::async_result<Token, void()>::handler_type;

  public:
    [[nodiscard]] Awaitable<void> wait() {
        return boost::asio::async_initiate<Token, void()>(
            [this](Handler&& handler) { waiting_.emplace(std::move(handler)); }, token_);
    }
    /// Runs the waiting coroutine up to its next suspension; its owner may be gone afterwards.
    void raise() {
        if (!waiting_) return;
        Handler handler(std::move(*waiting_));
        waiting_.reset();
        handler();
    }

  private:
    std::optional<Handler> waiting_;
    [[no_unique_address]] Token token_;
};

}  // namespace limpet::session
