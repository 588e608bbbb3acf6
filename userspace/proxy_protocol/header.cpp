// SPDX-License-Identifier: Apache-2.0
#include "proxy_protocol/header.h"

#include <algorithm>

#include "proxy_protocol/wire.h"

namespace limpet::proxy_protocol {
namespace {

/// Whether the bytes there are agree with the signature as far as both reach.
bool agrees(Bytes bytes, Bytes signature) {
    const std::size_t length = std::min(bytes.size(), signature.size());
    return std::ranges::equal(bytes.first(length), signature.first(length));
}

Parsed invalid(Fault fault) {
    Parsed parsed;
    parsed.status = Status::invalid;
    parsed.fault = fault;
    return parsed;
}

}  // namespace

Parsed parse_header(Bytes bytes, const Accept& accept) {
    if (bytes.empty()) return {};
    // The signatures differ in their first byte, so that at most one of them agrees.
    const bool v1 = agrees(bytes, v1_signature);
    if (!v1 && !agrees(bytes, v2_signature)) return invalid(Fault::not_proxy_protocol);
    if (bytes.size() < (v1 ? v1_signature.size() : v2_signature.size())) return {};
    if (!(v1 ? accept.v1 : accept.v2)) return invalid(Fault::version_not_accepted);
    return v1 ? read_v1(bytes) : read_v2(bytes, accept.maximum_size);
}

std::string_view fault_sentence(Fault fault) {
    switch (fault) {
        case Fault::none:
            return "nothing is wrong";
        case Fault::not_proxy_protocol:
            return "the first bytes are no PROXY protocol header";
        case Fault::version_not_accepted:
            return "a PROXY protocol header of a version that is not accepted here";
        case Fault::v1_line_too_long:
            return "PROXY v1: no end of line within 107 bytes";
        case Fault::v1_line_ending:
            return "PROXY v1: the line ends without a carriage return";
        case Fault::v1_protocol:
            return "PROXY v1: the protocol is none of TCP4, TCP6 and UNKNOWN";
        case Fault::v1_fields:
            return "PROXY v1: not exactly two addresses and two ports, one space between each";
        case Fault::v1_address:
            return "PROXY v1: an address is not one of its family in canonical form";
        case Fault::v1_port:
            return "PROXY v1: a port is not a number up to 65535 without leading zeroes";
        case Fault::v2_version:
            return "PROXY v2: the version behind the signature is not 2";
        case Fault::v2_command:
            return "PROXY v2: the command is neither LOCAL nor PROXY";
        case Fault::v2_family:
            return "PROXY v2: an address family or transport that does not exist";
        case Fault::v2_length:
            return "PROXY v2: the length is too small for the addresses";
        case Fault::v2_too_large:
            return "PROXY v2: the header is larger than what is accepted here";
        case Fault::tlv_length:
            return "PROXY v2: the length of a TLV does not fit";
        case Fault::tlv_duplicate:
            return "PROXY v2: a TLV that may come once came twice";
        case Fault::tlv_value:
            return "PROXY v2: a checksum, unique id or SSL TLV of an impossible length";
        case Fault::checksum:
            return "PROXY v2: the checksum is wrong";
    }
    return "unknown";
}

}  // namespace limpet::proxy_protocol
