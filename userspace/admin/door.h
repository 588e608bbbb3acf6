// SPDX-License-Identifier: Apache-2.0
// What the control socket and HTTP have in common: an accept loop, a bounded number of clients, a deadline
// for each, and an end that leaves nobody behind. Used on one thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "admin/server.h"

namespace limpet::admin {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

/// One client: its socket, closed when a deadline passes.
template <class Protocol>
class Connection : public std::enable_shared_from_this<Connection<Protocol>> {
  public:
    explicit Connection(typename Protocol::socket&& client)
        : socket(std::move(client)), timer_(socket.get_executor()) {}

    /// From now on; replaces an earlier one.
    void set_deadline(std::chrono::milliseconds patience) {
        timer_.expires_after(patience);
        timer_.async_wait([weak = this->weak_from_this()](const ErrorCode& error) {
            const auto self = weak.lock();
            // A handler that was on its way when a new deadline was set finds that one ahead.
            if (!error && self && self->timer_.expiry() <= asio::steady_timer::clock_type::now())
                self->close();
        });
    }
    void close() {
        ErrorCode ignored;
        timer_.cancel();
        socket.shutdown(Protocol::socket::shutdown_both, ignored);
        socket.close(ignored);
    }

    typename Protocol::socket socket;

  private:
    asio::steady_timer timer_;
};

template <class Protocol>
class Door : public std::enable_shared_from_this<Door<Protocol>> {
  public:
    using Client = std::shared_ptr<Connection<Protocol>>;
    using Session = std::function<asio::awaitable<void>(Client)>;

    /// `session` is run for each client; whoever comes when all places are taken gets `refusal` and is
    /// closed.
    Door(asio::io_context& io, const Limits& limits, std::string refusal, Session session)
        : acceptor(io),
          pause_(io),
          limits_(limits),
          refusal_(std::move(refusal)),
          session_(std::move(session)) {}

    /// Takes clients until close(); `acceptor` listens already.
    void open() {
        asio::co_spawn(acceptor.get_executor(), accept_all(this->shared_from_this()), asio::detached);
    }

    void close() {
        ErrorCode ignored;
        acceptor.close(ignored);
        pause_.cancel();
        for (const auto& client : clients_) client->close();
    }

    typename Protocol::acceptor acceptor;

  private:
    // Coroutines take what they need by value: they may outlive whoever started them.
    static asio::awaitable<void> accept_all(std::shared_ptr<Door> self) {
        while (self->acceptor.is_open()) {
            ErrorCode error;
            typename Protocol::socket socket(self->acceptor.get_executor());
            co_await self->acceptor.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
            if (!self->acceptor.is_open()) co_return;
            if (error) {
                // Descriptors ran out, or the client left already: look again in a moment.
                self->pause_.expires_after(std::chrono::milliseconds(100));
                co_await self->pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
                continue;
            }
            self->admit(std::move(socket));
        }
    }

    void admit(typename Protocol::socket&& socket) {
        if (clients_.size() >= limits_.clients) {
            ErrorCode ignored;
            socket.non_blocking(true, ignored);
            socket.write_some(asio::buffer(refusal_), ignored);
            return;
        }
        auto client = std::make_shared<Connection<Protocol>>(std::move(socket));
        clients_.insert(client);
        asio::co_spawn(acceptor.get_executor(), serve(this->shared_from_this(), client), asio::detached);
    }

    static asio::awaitable<void> serve(std::shared_ptr<Door> self, Client client) {
        try {
            co_await self->session_(client);
        } catch (const std::exception&) {
            // Memory ran out for this one answer: the client sees its connection end, the others go on.
        }
        client->close();
        self->clients_.erase(client);
    }

    asio::steady_timer pause_;
    Limits limits_;
    std::string refusal_;
    Session session_;
    std::set<Client> clients_;
};

}  // namespace limpet::admin
