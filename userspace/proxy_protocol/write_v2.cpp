// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "proxy_protocol/wire.h"

namespace limpet::proxy_protocol {
namespace {

using Buffer = std::vector<std::uint8_t>;

/// Appends vectors to a header. The first thing that cannot be written counts.
class V2Writer {
  public:
    explicit V2Writer(Command command) : bytes_(v2_signature.begin(), v2_signature.end()) {
        number(static_cast<std::uint8_t>(v2_version << 4 | static_cast<std::uint8_t>(command)));
    }

    void family(std::uint8_t family, Transport transport) {
        number(static_cast<std::uint8_t>(family << 4 | static_cast<std::uint8_t>(transport)));
        number(std::uint16_t{0});  // the length, which finish() knows
    }

    void bytes(Bytes more) { bytes_.insert(bytes_.end(), more.begin(), more.end()); }

    template <class Number>
    void number(Number value) {
        for (std::size_t shift = sizeof(Number) * 8; shift > 0; shift -= 8)
            bytes_.push_back(static_cast<std::uint8_t>(value >> (shift - 8)));
    }

    void tlv(std::uint8_t type, Bytes value) {
        if (value.size() > largest_length) {
            wrong("the value of TLV " + std::to_string(type) + " is longer than 65535 bytes");
            return;
        }
        number(type);
        number(static_cast<std::uint16_t>(value.size()));
        bytes(value);
    }
    void tlv(std::uint8_t type, const std::optional<std::string>& value) {
        if (value) tlv(type, as_bytes(*value));
    }

    void tls(const Tls& tls) {
        V2Writer inner;
        inner.number(tls.client);
        inner.number(tls.verify);
        inner.tlv(tlv_tls_version, tls.version);
        inner.tlv(tlv_tls_common_name, tls.common_name);
        inner.tlv(tlv_tls_cipher, tls.cipher);
        inner.tlv(tlv_tls_signature_algorithm, tls.signature_algorithm);
        inner.tlv(tlv_tls_key_algorithm, tls.key_algorithm);
        wrong(inner.wrong_);
        tlv(tlv_tls, inner.bytes_);
    }

    void checksum() {
        constexpr std::array<std::uint8_t, checksum_size> zeroes{};
        tlv(tlv_checksum, zeroes);
        checksum_at_ = bytes_.size() - checksum_size;
    }

    void wrong(std::string what) {
        if (wrong_.empty()) wrong_ = std::move(what);
    }

    Result<Buffer> finish() {
        const std::size_t length = bytes_.size() - v2_head_size;
        if (length > largest_length) wrong("the whole is longer than a header's 65551 bytes");
        if (!wrong_.empty()) return fail("writing a PROXY v2 header: " + wrong_);
        put(v2_head_size - 2, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length));
        if (checksum_at_ != 0) {
            Crc32c sum;
            sum.add(bytes_);
            for (std::size_t index = 0; index < checksum_size; ++index)
                put(checksum_at_ + index, static_cast<std::uint8_t>(sum.value() >> (24 - 8 * index)));
        }
        return std::move(bytes_);
    }

  private:
    V2Writer() = default;

    template <class... Values>
    void put(std::size_t at, Values... values) {
        ((bytes_[at++] = values), ...);
    }

    Buffer bytes_;
    std::string wrong_;
    std::size_t checksum_at_ = 0;  ///< 0: none
};

IpAddress to_ipv6(const IpAddress& address) {
    if (address.family == 6) return address;
    IpAddress mapped;
    mapped.family = 6;
    mapped.bytes[10] = mapped.bytes[11] = 0xFF;
    std::copy_n(address.bytes.begin(), 4, mapped.bytes.begin() + 12);
    return mapped;
}

void write_addresses(V2Writer& writer, Transport transport, const Addresses& ends) {
    const bool ipv4 = ends.source.address.family == 4 && ends.destination.address.family == 4;
    writer.family(ipv4 ? family_ipv4 : family_ipv6, transport);
    for (const Endpoint& end : {ends.source, ends.destination}) {
        const IpAddress address = ipv4 ? end.address : to_ipv6(end.address);
        writer.bytes(Bytes(address.bytes).first(ipv4 ? 4 : 16));
    }
    writer.number(ends.source.port);
    writer.number(ends.destination.port);
}

bool has_own_field(std::uint8_t type) {
    return (type >= tlv_alpn && type <= tlv_unique_id) || type == tlv_tls || type == tlv_network_namespace;
}

void write_tlvs(V2Writer& writer, const Header& header) {
    if (header.checksum) writer.checksum();
    writer.tlv(tlv_alpn, header.alpn);
    writer.tlv(tlv_authority, header.authority);
    if (header.unique_id) {
        if (header.unique_id->size() > longest_unique_id)
            writer.wrong("the unique id is longer than 128 bytes");
        writer.tlv(tlv_unique_id, *header.unique_id);
    }
    if (header.tls) writer.tls(*header.tls);
    writer.tlv(tlv_network_namespace, header.network_namespace);
    for (const Tlv& tlv : header.others) {
        if (has_own_field(tlv.type))
            writer.wrong("TLV " + std::to_string(tlv.type) + " has a field of its own");
        writer.tlv(tlv.type, tlv.value);
    }
}

void write_padding(V2Writer& writer, std::size_t padding) {
    if (padding == 0) return;
    if (padding < tlv_head_size) {
        writer.wrong("padding takes at least 3 bytes");
        return;
    }
    writer.tlv(tlv_noop, Buffer(padding - tlv_head_size));
}

}  // namespace

Result<std::vector<std::uint8_t>> write_v2(const Header& header, std::size_t padding) {
    V2Writer writer(header.command);
    if (header.command == Command::local) {
        writer.family(0, Transport::unspecified);
        return writer.finish();
    }
    if (!header.addresses || header.transport == Transport::unspecified)
        return fail("writing a PROXY v2 header: there are no addresses of a known transport");
    write_addresses(writer, header.transport, *header.addresses);
    write_tlvs(writer, header);
    write_padding(writer, padding);
    return writer.finish();
}

}  // namespace limpet::proxy_protocol
