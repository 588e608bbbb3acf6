// SPDX-License-Identifier: Apache-2.0
#include "health/probe.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "handoff/probe_leg.h"

namespace limpet::health {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Code = boost::system::error_code;
using Stream = beast::tcp_stream;

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);
// of an answer to an HTTP probe, bytes
constexpr std::uint32_t largest_head = 16 * 1024;
// after DISCONNECT the broker closes (MQTT-5.0 3.14.4): then the wait for late packets is its own
constexpr std::chrono::milliseconds farewell{200};

std::string words(const std::string& doing, const Code& failed) {
    if (failed == beast::error::timeout) return doing + ": no answer in time";
    if (failed == asio::error::eof) return doing + ": the broker hung up";
    return doing + ": " + failed.message();
}

asio::awaitable<std::string> greet(Stream& stream, const ProbeTerms& terms, Endpoint broker) {
    if (!terms.proxy_header || terms.port != 0 || terms.kind == Kind::http) co_return "";
    proxy_protocol::Header header;
    header.command = *terms.proxy_header;
    if (header.command == proxy_protocol::Command::proxy) {
        const auto ours = local_endpoint(stream.socket().native_handle());
        if (!ours) co_return ours.error().line();
        header.addresses = proxy_protocol::Addresses{*ours, broker};
    }
    const auto bytes = proxy_protocol::write_v2(header);
    if (!bytes) co_return bytes.error().line();
    const auto [failed, count] = co_await asio::async_write(stream, asio::buffer(*bytes), quietly);
    co_return failed ? words("sending the PROXY header", failed) : "";
}

/// Reads until the broker closes, for a moment.
asio::awaitable<void> await_end(Stream& stream) {
    stream.expires_after(farewell);
    std::array<std::uint8_t, 512> rest{};
    for (;;) {
        const auto [failed, count] = co_await stream.async_read_some(asio::buffer(rest), quietly);
        if (failed) co_return;
    }
}

asio::awaitable<std::string> talk_mqtt(Stream& stream, const MqttTerms& terms, std::string client_id) {
    MqttDialogue dialogue(terms, client_id);
    std::array<std::uint8_t, 4096> buffer{};
    for (;;) {
        const auto output = dialogue.take_output();
        if (!output.empty()) {
            const auto [failed, count] = co_await asio::async_write(stream, asio::buffer(output), quietly);
            if (failed) co_return words(dialogue.explanation(), failed);
        }
        if (dialogue.state() == MqttDialogue::State::failed) co_return dialogue.explanation();
        if (dialogue.state() == MqttDialogue::State::passed) {
            co_await await_end(stream);
            co_return "";
        }
        const auto [failed, count] = co_await stream.async_read_some(asio::buffer(buffer), quietly);
        if (failed) co_return words(dialogue.explanation(), failed);
        dialogue.hear({buffer.data(), count});
    }
}

asio::awaitable<std::string> talk_http(Stream& stream, const HttpTerms& terms, const Endpoint& target) {
    http::request<http::empty_body> request(http::verb::get, terms.path, 11);
    request.set(http::field::host, terms.host.empty() ? target.text() : terms.host);
    request.set(http::field::user_agent, "limpet-health");
    request.set(http::field::connection, "close");
    const auto [unsent, sent] = co_await http::async_write(stream, request, quietly);
    if (unsent) co_return words("sending the request", unsent);
    beast::flat_buffer buffer(largest_head);
    http::response_parser<http::empty_body> parser;
    parser.header_limit(largest_head);
    parser.skip(true);  // the status says all
    const auto [failed, read] = co_await http::async_read_header(stream, buffer, parser, quietly);
    if (failed) co_return words("reading the answer", failed);
    const auto status = parser.get().result_int();
    if (status == terms.status) co_return "";
    co_return fmt::format("GET {} answered {}, not {}", terms.path, status, terms.status);
}

asio::ip::tcp::endpoint asio_endpoint(const Endpoint& endpoint) {
    const auto& bytes = endpoint.address.bytes;
    if (endpoint.address.family == 4) {
        asio::ip::address_v4::bytes_type four{bytes[0], bytes[1], bytes[2], bytes[3]};
        return {asio::ip::address_v4(four), endpoint.port};
    }
    return {asio::ip::address_v6(bytes), endpoint.port};
}

}  // namespace

std::string_view kind_name(Kind kind) {
    switch (kind) {
        case Kind::tcp:
            return "tcp";
        case Kind::mqtt:
            return "mqtt";
        case Kind::http:
            break;
    }
    return "http";
}

asio::awaitable<Answer> probe(dataplane::Dataplane& dataplane, Endpoint broker, const ProbeTerms& terms,
                              std::string client_id) {
    if (terms.port != 0) broker.port = terms.port;
    auto leg = handoff::ProbeLeg::open(dataplane, broker);
    if (!leg) co_return Answer{false, leg.error().line()};
    const auto target = asio_endpoint(broker);
    Code failed;
    asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
    socket.assign(target.protocol(), leg->socket(), failed);
    if (failed) co_return Answer{false, words("making a socket", failed)};
    leg->release_socket();
    Stream stream(std::move(socket));
    stream.expires_after(terms.timeout);
    const auto [refused] = co_await stream.async_connect(target, quietly);
    if (refused == asio::error::address_in_use || refused == boost::system::errc::address_not_available)
        co_return Answer{false, words("connecting", refused)};
    if (refused) co_return Answer{true, words("connecting", refused)};
    std::string wrong = co_await greet(stream, terms, broker);
    if (wrong.empty() && terms.kind == Kind::mqtt)
        wrong = co_await talk_mqtt(stream, terms.mqtt, std::move(client_id));
    if (wrong.empty() && terms.kind == Kind::http) wrong = co_await talk_http(stream, terms.http, broker);
    stream.close();
    co_return Answer{true, std::move(wrong)};
}

}  // namespace limpet::health
