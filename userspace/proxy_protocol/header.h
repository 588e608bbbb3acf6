// SPDX-License-Identifier: Apache-2.0
// The header of the PROXY protocol, version 1 (text) and 2 (binary), as a value: who is behind the peer of a
// connection. Bytes in, values out: no sockets, no clocks. Source of the rules: haproxy's proxy-protocol.txt,
// by its section numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/endpoint.h"
#include "base/result.h"

namespace limpet::proxy_protocol {

enum class Version : std::uint8_t { v1 = 1, v2 = 2 };

/// 2.2: "local" is the sender's own connection, a health check; nobody is behind it.
enum class Command : std::uint8_t { local = 0, proxy = 1 };

enum class Transport : std::uint8_t { unspecified = 0, stream = 1, datagram = 2 };

/// Both ends of the client's connection, as the sender saw it. An IPv4-mapped IPv6 address stays what it is.
struct Addresses {
    Endpoint source;
    Endpoint destination;

    bool operator==(const Addresses&) const = default;
};

/// Both ends where they are UNIX sockets: bytes, without the zeroes that fill up the field. An abstract name
/// begins with a zero.
struct UnixPaths {
    std::string source;
    std::string destination;

    bool operator==(const UnixPaths&) const = default;
};

/// Bits of Tls::client (2.2.6).
inline constexpr std::uint8_t client_used_tls = 0x01;
inline constexpr std::uint8_t client_certificate_on_connection = 0x02;
inline constexpr std::uint8_t client_certificate_in_session = 0x04;

/// What is known of the client's TLS (2.2.6). The texts are the sender's and unchecked.
struct Tls {
    std::uint8_t client = 0;
    /// 0: the certificate that the client gave was verified. haproxy writes 0 without a certificate too, so
    /// that this says nothing unless a certificate's bit is set.
    std::uint32_t verify = 0;
    std::optional<std::string> version;              // 0x21, "TLSv1.3"
    std::optional<std::string> common_name;          // 0x22, of the client's certificate
    std::optional<std::string> cipher;               // 0x23
    std::optional<std::string> signature_algorithm;  // 0x24, of our side's certificate
    std::optional<std::string> key_algorithm;        // 0x25

    bool operator==(const Tls&) const = default;
};

/// A vector of a type that has no field of its own below (2.2).
struct Tlv {
    std::uint8_t type = 0;
    std::vector<std::uint8_t> value;

    bool operator==(const Tlv&) const = default;
};

struct Header {
    Version version = Version::v2;
    Command command = Command::proxy;
    Transport transport = Transport::stream;
    /// Neither addresses nor paths: the connection's own addresses count (local, UNKNOWN, UNSPEC).
    std::optional<Addresses> addresses;
    std::optional<UnixPaths> paths;
    std::optional<std::string> alpn;                     // 0x01
    std::optional<std::string> authority;                // 0x02, the name that the client asked for (SNI)
    std::optional<std::vector<std::uint8_t>> unique_id;  // 0x05, up to 128 bytes
    std::optional<Tls> tls;                              // 0x20
    std::optional<std::string> network_namespace;        // 0x30
    std::vector<Tlv> others;                             ///< in their order
    bool checksum = false;                               ///< has one (0x03); read: and it was right

    bool operator==(const Header&) const = default;
};

/// What is wrong with bytes that are no header.
enum class Fault : std::uint8_t {
    none,
    not_proxy_protocol,
    version_not_accepted,
    v1_line_too_long,
    v1_line_ending,
    v1_protocol,
    v1_fields,
    v1_address,
    v1_port,
    v2_version,
    v2_command,
    v2_family,
    v2_length,
    v2_too_large,
    tlv_length,
    tlv_duplicate,
    tlv_value,
    checksum,
};
/// One sentence for people.
[[nodiscard]] std::string_view fault_sentence(Fault fault);

/// What a listener takes.
struct Accept {
    bool v1 = true;
    bool v2 = true;
    /// Bytes of a whole version 2 header. Senders stay below 536 (2) but for long TLVs; 65,551 is the most
    /// that there can be. A version 1 line has its own end, 107 bytes.
    std::size_t maximum_size = 4096;
};

/// Outcome of reading a prefix of a stream. `consumed` is the length of the header when complete: what comes
/// behind it is the client's. `header` has nothing in it unless complete.
struct Parsed {
    Status status = Status::incomplete;
    Fault fault = Fault::none;
    std::size_t consumed = 0;
    Header header;
};

/// Reads a header from the beginning of `bytes`. Stateless: call again with all bytes when more have come; as
/// long as the header is not whole a call costs O(1). What is judged once stays so when more bytes come.
///
/// Stricter than the text where leniency would let two readers see two clients: a TLV that has a field above
/// may come once only. Of LOCAL and UNSPEC everything behind the length is skipped unread (2.2).
[[nodiscard]] Parsed parse_header(Bytes bytes, const Accept& accept = {});

/// Writes a version 2 header; what parse_header reads back is equal. `padding` is the whole length in bytes
/// of a NOOP vector at the end (2.2.4), 0 for none, else at least 3. A local header is always the bare 16
/// bytes. Where only one end is IPv4 it is written IPv4-mapped, as there is but one family. Fails where there
/// are no addresses, and where something does not fit its length.
[[nodiscard]] Result<std::vector<std::uint8_t>> write_v2(const Header& header, std::size_t padding = 0);

}  // namespace limpet::proxy_protocol
