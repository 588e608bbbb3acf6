// SPDX-License-Identifier: Apache-2.0
// The way through the records to the message. Every judgement hangs on the position in the stream alone,
// never on how the bytes were cut.
#include "tls_hello/client_hello.h"

#include <algorithm>

namespace limpet::tls_hello {
namespace {

constexpr std::uint8_t record_handshake = 22;  // RFC 8446 5.1
constexpr std::uint8_t major_version = 3;      // SSL 3.0 to TLS 1.3; the minor number says nothing any more
constexpr std::size_t largest_record = 16'384;
constexpr std::uint8_t message_client_hello = 1;  // RFC 8446 4
constexpr std::size_t message_header_size = 4;

}  // namespace

Status ClientHelloReader::read(Bytes more) {
    while (status_ == Status::incomplete && !more.empty()) {
        std::size_t taken = 1;
        if (record_header_size_ < record_header_.size())
            header_byte(more[0]);
        else
            taken = fragment(more);
        more = more.subspan(taken);
    }
    return status_;
}

void ClientHelloReader::invalid(Fault fault) {
    status_ = Status::invalid;
    fault_ = fault;
    message_ = {};
}

void ClientHelloReader::header_byte(std::uint8_t byte) {
    record_header_[record_header_size_++] = byte;
    ++position_;
    if (record_header_size_ == 1 && byte != record_handshake)
        return invalid(message_.empty() ? Fault::not_tls : Fault::record_interleaved);
    if (record_header_size_ == 2 && byte != major_version) return invalid(Fault::record_version);
    if (record_header_size_ < record_header_.size()) return;
    fragment_left_ = static_cast<std::size_t>(record_header_[3] << 8 | record_header_[4]);
    // RFC 8446 5.1: no empty fragments of handshake messages, and no more than 2^14 bytes in plain text.
    if (fragment_left_ == 0 || fragment_left_ > largest_record) return invalid(Fault::record_length);
    if (position_ + std::min(fragment_left_, missing()) > maximum_size_) return invalid(Fault::too_large);
}

/// How many bytes of the message, or of its header if that is not whole yet, have still to come.
std::size_t ClientHelloReader::missing() const {
    return (message_size_ == 0 ? message_header_size : message_size_) - message_.size();
}

/// Takes what belongs to the message's header, or to the message, and to this record; returns how much.
std::size_t ClientHelloReader::fragment(Bytes bytes) {
    const std::size_t taken = std::min({bytes.size(), fragment_left_, missing()});
    const bool first = message_.empty();
    message_.insert(message_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    position_ += taken;
    fragment_left_ -= taken;
    if (fragment_left_ == 0) record_header_size_ = 0;
    if (first && message_[0] != message_client_hello)
        invalid(Fault::not_client_hello);
    else if (missing() == 0 && message_size_ == 0)
        message_header();
    else if (missing() == 0)
        message_end();
    return taken;
}

void ClientHelloReader::message_header() {
    const auto body = static_cast<std::size_t>(message_[1] << 16 | message_[2] << 8 | message_[3]);
    message_size_ = message_header_size + body;
    if (position_ + body > maximum_size_) return invalid(Fault::too_large);
    message_.reserve(message_size_);
    if (body == 0) message_end();
}

void ClientHelloReader::message_end() {
    auto content = read_content(Bytes(message_).subspan(message_header_size));
    if (!content) return invalid(content.error());
    hello_ = *std::move(content);
    message_ = {};
    status_ = Status::complete;
}

std::string_view fault_sentence(Fault fault) {
    switch (fault) {
        case Fault::none:
            return "nothing is wrong";
        case Fault::not_tls:
            return "the first byte is not that of a TLS handshake";
        case Fault::record_version:
            return "a TLS record of a version that does not exist";
        case Fault::record_length:
            return "a TLS record that is empty or longer than 16384 bytes";
        case Fault::record_interleaved:
            return "a TLS record of another type within the ClientHello";
        case Fault::not_client_hello:
            return "the first TLS handshake message is not a ClientHello";
        case Fault::too_large:
            return "a ClientHello above the maximum size";
        case Fault::malformed:
            return "the fields of the ClientHello do not fit its length";
        case Fault::duplicate_extension:
            return "an extension of the ClientHello came twice";
        case Fault::server_name:
            return "the server name of the ClientHello is not one host name";
        case Fault::application_list:
            return "the ALPN list of the ClientHello is malformed";
        case Fault::version_list:
            return "the list of supported versions of the ClientHello is malformed";
    }
    return "unknown";
}

}  // namespace limpet::tls_hello
