// SPDX-License-Identifier: Apache-2.0
#include "admin/http.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "admin/dispatch.h"
#include "base/fd.h"

namespace limpet::admin {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using Tcp = asio::ip::tcp;
using HttpClient = Door<Tcp>::Client;
using Response = http::response<http::string_body>;

Response make_response(const HttpAnswer& answer, unsigned version, bool keep_alive) {
    Response response;
    response.version(version);
    response.result(answer.status);
    response.set(http::field::server, "limpet/" LIMPET_VERSION);
    response.set(http::field::content_type, answer.content_type);
    response.set(http::field::cache_control, "no-store");
    response.set("X-Content-Type-Options", "nosniff");
    if (!answer.allow.empty()) response.set(http::field::allow, answer.allow);
    response.keep_alive(keep_alive);
    response.body() = answer.body;
    response.prepare_payload();
    return response;
}

// What there is to say about bytes that are no request; nothing where the client just left.
std::optional<HttpAnswer> answer_error(const ErrorCode& error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
        return http_refusal(431, {"the request's header is too large", "send less", 0});
    if (error == http::error::body_limit)
        return http_refusal(413, {"the request's body is too large", "send less", 0});
    if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
    if (error.category() == make_error_code(http::error::bad_method).category())
        return http_refusal(400,
                            {"this is no HTTP request: " + error.message(), "send GET /healthz HTTP/1.1", 0});
    return std::nullopt;
}

// HEAD gets the header that GET would get, and no body (RFC 9110 9.3.2).
asio::awaitable<bool> write_response(HttpClient client, Response response, bool head,
                                     std::chrono::milliseconds deadline) {
    http::response_serializer<http::string_body> serializer(response);
    serializer.split(head);
    ErrorCode error;
    while (!error && !(head ? serializer.is_header_done() : serializer.is_done())) {
        client->set_deadline(deadline);
        co_await http::async_write_some(client->socket, serializer,
                                        asio::redirect_error(asio::use_awaitable, error));
    }
    co_return !error;
}

asio::awaitable<void> converse_http(HttpClient client, Verbs& verbs, Limits limits) {
    beast::flat_buffer buffer(limits.header_size + limits.body_size);
    while (client->socket.is_open()) {
        http::request_parser<http::string_body> parser;
        parser.header_limit(static_cast<std::uint32_t>(limits.header_size));
        parser.body_limit(limits.body_size);
        client->set_deadline(limits.deadline);
        ErrorCode error;
        co_await http::async_read(client->socket, buffer, parser,
                                  asio::redirect_error(asio::use_awaitable, error));
        // The daemon may have stopped while this was waiting: then nobody may be asked any more.
        if (!client->socket.is_open()) co_return;
        if (error) {
            const auto answer = answer_error(error);
            if (!answer) co_return;
            auto response = make_response(*answer, 11, false);
            co_await write_response(client, std::move(response), false, limits.deadline);
            co_return;
        }
        const auto& request = parser.get();
        const std::string method(request.method_string());
        const std::string target(request.target());
        const std::string content_type(request[http::field::content_type]);
        const auto answer = answer_http(verbs, {method, target, content_type, request.body()});
        const bool keep_alive = request.keep_alive();
        const bool head = request.method() == http::verb::head;
        auto response = make_response(answer, request.version(), keep_alive);
        const bool written = co_await write_response(client, std::move(response), head, limits.deadline);
        if (!written || !keep_alive) co_return;
    }
}

Result<Fd> open_http_socket(const std::string& text) {
    const auto doing = "serving HTTP on " + text;
    const auto endpoint = Endpoint::parse(text);
    if (!endpoint) return std::unexpected(endpoint.error());
    Fd socket(::socket(endpoint->address.family == 4 ? AF_INET : AF_INET6,
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno(doing, errno);
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // inherited by accepted sockets
    if (endpoint->address.family == 6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    sockaddr_storage storage{};
    const auto length = endpoint->to_sockaddr(storage);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0 ||
        ::listen(socket.get(), 64) != 0)
        return fail_errno(
            doing, errno,
            errno == EADDRINUSE
                ? "another program listens there: set [admin] http or --admin to another "
                  "address, or to \"\" for none"
                : "set [admin] http or --admin to an address of this host, or to \"\" for none");
    return socket;
}

}  // namespace

HttpServer::HttpServer(asio::io_context& io, Verbs& verbs, Limits limits)
    : io_(io), verbs_(verbs), limits_(limits) {}

Result<void> HttpServer::listen(const std::string& endpoint) {
    auto socket = open_http_socket(endpoint);
    if (!socket) return std::unexpected(socket.error());
    const auto local = local_endpoint(socket->get());
    if (!local) return std::unexpected(local.error());
    const std::string refusal =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    door_ = std::make_shared<Door<Tcp>>(io_, limits_, refusal,
                                        [&verbs = verbs_, limits = limits_](HttpClient client) {
                                            return converse_http(std::move(client), verbs, limits);
                                        });
    ErrorCode error;
    door_->acceptor.assign(local->address.family == 4 ? Tcp::v4() : Tcp::v6(), socket->release(), error);
    if (error) return fail("serving HTTP on " + endpoint + ": " + error.message());
    door_->open();
    return {};
}

std::optional<Endpoint> HttpServer::address() const {
    if (!door_) return std::nullopt;
    auto local = local_endpoint(const_cast<Door<Tcp>&>(*door_).acceptor.native_handle());
    if (!local) return std::nullopt;
    return *local;
}

void HttpServer::stop() {
    if (!door_) return;
    door_->close();
    door_.reset();
}

}  // namespace limpet::admin
