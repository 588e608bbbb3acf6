// SPDX-License-Identifier: Apache-2.0
#include "websocket/head.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

namespace limpet::websocket {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view end_of_head = "\r\n\r\n"sv;
constexpr std::string_view start_of_response = "HTTP/1."sv;

/// A character of a token (RFC 9110 5.6.2), such as the method that a request begins with.
bool is_token_character(char character) {
    const bool letter = (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z');
    const bool digit = character >= '0' && character <= '9';
    return letter || digit ||
           (character != '\0' && "!#$%&'*+-.^_`|~"sv.find(character) != std::string_view::npos);
}

}  // namespace

template <bool is_request>
Status HeadReader<is_request>::invalid(HeadFault fault, std::string detail) {
    fault_ = fault;
    detail_ = std::move(detail);
    status_ = Status::invalid;
    return status_;
}

/// Whether what is new may belong to the first word of a message; a peer that speaks another protocol is
/// known by its first bytes, not when a deadline runs out.
template <bool is_request>
bool HeadReader<is_request>::begins_well(std::string_view text) {
    if constexpr (!is_request) {
        const std::size_t length = std::min(text.size(), start_of_response.size());
        return text.substr(0, length) == start_of_response.substr(0, length);
    } else {
        for (std::size_t at = scanned_; at < text.size() && !method_seen_; ++at) {
            method_seen_ = text[at] == ' ' && at > 0;
            if (!method_seen_ && !is_token_character(text[at])) return false;
        }
        return true;
    }
}

template <bool is_request>
Status HeadReader<is_request>::read(Bytes so_far) {
    if (status_ != Status::incomplete) return status_;
    const std::string_view text = as_text(so_far.first(std::min(so_far.size(), maximum_size_)));
    if (!begins_well(text)) return invalid(HeadFault::not_http);
    const std::size_t overlap = end_of_head.size() - 1;
    const std::size_t end = text.find(end_of_head, scanned_ - std::min(scanned_, overlap));
    scanned_ = text.size();
    if (end != std::string_view::npos) return parse(text.substr(0, end + end_of_head.size()));
    if (text.size() == maximum_size_) return invalid(HeadFault::too_large);
    return status_;
}

/// Beast gets the head in one piece: given pieces, it would name one defect or another as they are cut.
template <bool is_request>
Status HeadReader<is_request>::parse(std::string_view text) {
    http::parser<is_request, http::empty_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(text.size() + 1));
    parser.body_limit(boost::none);  // no body is read here; who wants none says so better than a limit
    boost::system::error_code error;
    const std::size_t taken = parser.put(boost::asio::buffer(text.data(), text.size()), error);
    if (error) return invalid(HeadFault::malformed, error.message());
    if (!parser.is_header_done() || taken != text.size())
        return invalid(HeadFault::malformed, "the head does not end where it seems to");
    head_ = std::move(parser.get().base());
    consumed_ = text.size();
    status_ = Status::complete;
    return status_;
}

template class HeadReader<true>;
template class HeadReader<false>;

}  // namespace limpet::websocket
