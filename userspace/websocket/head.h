// SPDX-License-Identifier: Apache-2.0
// The head of an HTTP request or response, read from a stream. Beast parses; what is added is that every
// judgement hangs on the stream alone and not on how it was cut, and that memory is bounded.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace limpet::websocket {

namespace http = boost::beast::http;
using RequestHead = http::header<true, http::fields>;
using ResponseHead = http::header<false, http::fields>;

/// What is wrong with bytes that are no head.
enum class HeadFault : std::uint8_t {
    none,
    not_http,   ///< the first bytes cannot begin an HTTP message: the peer speaks something else
    too_large,  ///< no end of the head within the maximum
    malformed,  ///< see detail()
};

template <bool is_request>
class HeadReader {
  public:
    /// `maximum_size`: bytes of the whole head, the empty line at its end included.
    explicit HeadReader(std::size_t maximum_size = 8192) : maximum_size_(maximum_size) {}

    /// Give all bytes from the beginning of the stream, again with those that came since. Bytes that were
    /// looked at are not looked at again until the end of the head is there.
    Status read(Bytes so_far);

    [[nodiscard]] Status status() const { return status_; }
    [[nodiscard]] HeadFault fault() const { return fault_; }
    /// What Beast says of a malformed head, for people.
    [[nodiscard]] const std::string& detail() const { return detail_; }
    /// Bytes of the head, the empty line included; 0 unless complete. What is behind it are frames.
    [[nodiscard]] std::size_t consumed() const { return consumed_; }
    /// Empty unless complete.
    [[nodiscard]] const http::header<is_request, http::fields>& head() const { return head_; }

  private:
    Status invalid(HeadFault fault, std::string detail = {});
    [[nodiscard]] bool begins_well(std::string_view text);
    Status parse(std::string_view text);

    std::size_t maximum_size_;
    Status status_ = Status::incomplete;
    HeadFault fault_ = HeadFault::none;
    std::string detail_;
    std::size_t scanned_ = 0;  ///< bytes in which there is no end
    bool method_seen_ = false;
    std::size_t consumed_ = 0;
    http::header<is_request, http::fields> head_;
};

extern template class HeadReader<true>;
extern template class HeadReader<false>;
using RequestReader = HeadReader<true>;
using ResponseReader = HeadReader<false>;

}  // namespace limpet::websocket
