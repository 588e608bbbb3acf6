// SPDX-License-Identifier: Apache-2.0
// What a TLS client says before anything is encrypted: the name it wants, its protocols and versions, read
// from the ClientHello by somebody who passes the bytes on. Bytes in, values out: no sockets, no clocks.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace limpet::tls_hello {

/// GREASE values (RFC 8701), which clients throw in at random, are left out of all lists.
struct ClientHello {
    std::uint16_t legacy_version = 0;      ///< 0x0303 is TLS 1.2, and in 1.3 too (RFC 8446 4.1.2)
    std::vector<std::uint16_t> versions;   ///< supported_versions, best first; empty before TLS 1.3
    std::string server_name;               ///< SNI (RFC 6066 3) in lower case; empty: none
    std::vector<std::string> application;  ///< ALPN (RFC 7301 3.1), best first: bytes, unchecked

    bool operator==(const ClientHello&) const = default;
};

/// What is wrong with bytes that are no ClientHello.
enum class Fault : std::uint8_t {
    none,
    not_tls,
    record_version,
    record_length,
    record_interleaved,
    not_client_hello,
    too_large,
    malformed,
    duplicate_extension,
    server_name,
    application_list,
    version_list,
};
/// One sentence for people.
[[nodiscard]] std::string_view fault_sentence(Fault fault);

/// Reads the ClientHello of one connection, in whatever pieces it comes: segments, records (RFC 8446 5.1 lets
/// the message be split over several) or both. What is judged once stays so. Holds up to `maximum_size`
/// bytes.
///
/// Only what is asked is judged; whether the rest pleases, the server behind will say.
class ClientHelloReader {
  public:
    /// The message must end within the first `maximum_size` bytes of the stream. Usual ones take 200 to 600,
    /// with post-quantum keys 1,800; session tickets make them longer.
    explicit ClientHelloReader(std::size_t maximum_size = 16'384) : maximum_size_(maximum_size) {}

    /// Takes the bytes behind those that it was given before. Once the status is not incomplete, they are
    /// ignored.
    Status read(Bytes more);

    [[nodiscard]] Status status() const { return status_; }
    [[nodiscard]] Fault fault() const { return fault_; }
    /// How many bytes of the stream the ClientHello took, record headers included; 0 unless complete.
    [[nodiscard]] std::size_t consumed() const { return status_ == Status::complete ? position_ : 0; }
    /// Has nothing in it unless complete.
    [[nodiscard]] const ClientHello& hello() const { return hello_; }

  private:
    void invalid(Fault fault);
    void header_byte(std::uint8_t byte);
    std::size_t fragment(Bytes bytes);
    void message_header();
    void message_end();
    [[nodiscard]] std::size_t missing() const;

    std::size_t maximum_size_;
    Status status_ = Status::incomplete;
    Fault fault_ = Fault::none;
    std::size_t position_ = 0;  ///< in the stream
    std::array<std::uint8_t, 5> record_header_{};
    std::size_t record_header_size_ = 0;
    std::size_t fragment_left_ = 0;
    std::vector<std::uint8_t> message_;
    std::size_t message_size_ = 0;  ///< header included, 0 until the header is whole
    ClientHello hello_;
};

/// Reads what is behind the header of the handshake message.
[[nodiscard]] std::expected<ClientHello, Fault> read_content(Bytes body);

}  // namespace limpet::tls_hello
