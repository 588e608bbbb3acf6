// SPDX-License-Identifier: Apache-2.0
// The binary header of version 2 (2.2). Its head is judged byte by byte, its content when all of it is there.
#include <algorithm>

#include "proxy_protocol/wire.h"

namespace limpet::proxy_protocol {
namespace {

/// Gives every vector to `each`, which says what is wrong with it, and stops at the first fault.
template <class Each>
Fault walk_tlvs(Bytes rest, Each each) {
    while (!rest.empty()) {
        if (rest.size() < tlv_head_size) return Fault::tlv_length;
        const std::size_t length = number16(rest.subspan(1));
        if (rest.size() - tlv_head_size < length) return Fault::tlv_length;
        const Fault fault = each(rest[0], rest.subspan(tlv_head_size, length));
        if (fault != Fault::none) return fault;
        rest = rest.subspan(tlv_head_size + length);
    }
    return Fault::none;
}

template <class Value>
Fault set_once(std::optional<Value>& into, Bytes value) {
    if (into) return Fault::tlv_duplicate;
    into.emplace(value.begin(), value.end());
    return Fault::none;
}

Fault read_tls_tlv(Tls& tls, std::uint8_t type, Bytes value) {
    switch (type) {
        case tlv_tls_version:
            return set_once(tls.version, value);
        case tlv_tls_common_name:
            return set_once(tls.common_name, value);
        case tlv_tls_cipher:
            return set_once(tls.cipher, value);
        case tlv_tls_signature_algorithm:
            return set_once(tls.signature_algorithm, value);
        case tlv_tls_key_algorithm:
            return set_once(tls.key_algorithm, value);
        default:
            return Fault::none;  // of a later version of the protocol
    }
}

Fault read_tls(std::optional<Tls>& into, Bytes value) {
    if (into) return Fault::tlv_duplicate;
    if (value.size() < tls_head_size) return Fault::tlv_value;
    Tls& tls = into.emplace();
    tls.client = value[0];
    tls.verify = number32(value.subspan(1));
    return walk_tlvs(value.subspan(tls_head_size),
                     [&](std::uint8_t type, Bytes inner) { return read_tls_tlv(tls, type, inner); });
}

class V2Reader {
  public:
    V2Reader(Bytes bytes, std::size_t maximum_size) : bytes_(bytes), maximum_size_(maximum_size) {}

    Parsed read() {
        Parsed parsed;
        parsed.fault = head();
        if (parsed.fault == Fault::none && !whole_) return parsed;
        if (parsed.fault == Fault::none) parsed.fault = content();
        if (parsed.fault != Fault::none) {
            parsed.status = Status::invalid;
            return parsed;
        }
        parsed.status = Status::complete;
        parsed.consumed = bytes_.size();
        parsed.header = std::move(header_);
        return parsed;
    }

  private:
    /// As far as it has arrived. Sets whole_, and then cuts bytes_ behind the header.
    Fault head() {
        constexpr std::size_t at_command = v2_signature.size();
        constexpr std::size_t at_family = at_command + 1;
        constexpr std::size_t at_length = at_command + 2;
        if (bytes_.size() <= at_command) return Fault::none;
        if (bytes_[at_command] >> 4 != v2_version) return Fault::v2_version;
        const int command = bytes_[at_command] & 0x0F;
        if (command > static_cast<int>(Command::proxy)) return Fault::v2_command;
        header_.command = static_cast<Command>(command);
        if (bytes_.size() <= at_family) return Fault::none;
        if (const Fault fault = family(bytes_[at_family]); fault != Fault::none) return fault;
        if (bytes_.size() < v2_head_size) return Fault::none;
        const std::size_t length = number16(bytes_.subspan(at_length));
        if (length < addresses_size(family_)) return Fault::v2_length;
        const std::size_t size = v2_head_size + length;
        if (size > maximum_size_) return Fault::v2_too_large;
        whole_ = bytes_.size() >= size;
        if (whole_) bytes_ = bytes_.first(size);
        return Fault::none;
    }

    /// A combination that exists but has no addresses of a known extent counts as UNSPEC, and so does LOCAL,
    /// whose family "is ignored".
    Fault family(std::uint8_t byte) {
        const auto family = static_cast<std::uint8_t>(byte >> 4);
        const auto transport = static_cast<Transport>(byte & 0x0F);
        header_.transport = Transport::unspecified;
        if (header_.command == Command::local) return Fault::none;
        if (family > family_unix || transport > Transport::datagram) return Fault::v2_family;
        if (family == 0 || transport == Transport::unspecified) return Fault::none;
        family_ = family;
        header_.transport = transport;
        return Fault::none;
    }

    Fault content() {
        if (family_ == 0) return Fault::none;
        const Bytes ends = bytes_.subspan(v2_head_size, addresses_size(family_));
        if (family_ == family_unix)
            header_.paths = UnixPaths{path(ends.first(unix_path_size)), path(ends.last(unix_path_size))};
        else
            addresses(ends);
        const Fault fault = walk_tlvs(bytes_.subspan(v2_head_size + ends.size()),
                                      [&](std::uint8_t type, Bytes value) { return tlv(type, value); });
        return fault == Fault::none && header_.checksum ? check_sum() : fault;
    }

    static std::string path(Bytes field) {
        const std::string_view text = as_text(field);
        return std::string(text.substr(0, text.find_last_not_of('\0') + 1));
    }

    void addresses(Bytes ends) {
        const std::size_t size = family_ == family_ipv4 ? 4 : 16;
        Addresses& into = header_.addresses.emplace();
        std::size_t index = 0;
        for (Endpoint* end : {&into.source, &into.destination}) {
            end->address.family = family_ == family_ipv4 ? 4 : 6;
            std::ranges::copy(ends.subspan(index * size, size), end->address.bytes.begin());
            end->port = number16(ends.subspan(2 * size + 2 * index));
            ++index;
        }
    }

    Fault tlv(std::uint8_t type, Bytes value) {
        switch (type) {
            case tlv_alpn:
                return set_once(header_.alpn, value);
            case tlv_authority:
                return set_once(header_.authority, value);
            case tlv_checksum:
                if (header_.checksum) return Fault::tlv_duplicate;
                if (value.size() != checksum_size) return Fault::tlv_value;
                header_.checksum = true;
                checksum_at_ = static_cast<std::size_t>(value.data() - bytes_.data());
                return Fault::none;
            case tlv_noop:
                return Fault::none;
            case tlv_unique_id:
                if (value.size() > longest_unique_id) return Fault::tlv_value;
                return set_once(header_.unique_id, value);
            case tlv_tls:
                return read_tls(header_.tls, value);
            case tlv_network_namespace:
                return set_once(header_.network_namespace, value);
            default:
                header_.others.push_back({type, {value.begin(), value.end()}});
                return Fault::none;
        }
    }

    /// 2.2.3: of the whole header, with zeroes where the checksum is.
    [[nodiscard]] Fault check_sum() const {
        constexpr std::array<std::uint8_t, checksum_size> zeroes{};
        Crc32c sum;
        sum.add(bytes_.first(checksum_at_));
        sum.add(zeroes);
        sum.add(bytes_.subspan(checksum_at_ + checksum_size));
        return sum.value() == number32(bytes_.subspan(checksum_at_)) ? Fault::none : Fault::checksum;
    }

    Bytes bytes_;
    std::size_t maximum_size_;
    bool whole_ = false;
    std::uint8_t family_ = 0;  ///< of the addresses that are read
    std::size_t checksum_at_ = 0;
    Header header_;
};

}  // namespace

Parsed read_v2(Bytes bytes, std::size_t maximum_size) {
    return V2Reader(bytes, maximum_size).read();
}

}  // namespace limpet::proxy_protocol
