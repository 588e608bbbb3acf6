// SPDX-License-Identifier: Apache-2.0
#include "base/network.h"

#include <charconv>

namespace limpet {
namespace {

unsigned bits_of(const IpAddress& address) {
    return address.family == 4 ? 32 : 128;
}

/// The address with its first `prefix` bits only.
IpAddress masked(IpAddress address, unsigned prefix) {
    for (unsigned index = 0; index < address.bytes.size(); ++index) {
        const unsigned kept = prefix > index * 8 ? prefix - index * 8 : 0;
        if (kept < 8) address.bytes[index] &= static_cast<std::uint8_t>(0xff00u >> kept);
    }
    return address;
}

}  // namespace

bool Network::contains(const IpAddress& other) const {
    return other.family == address.family && masked(other, prefix) == address;
}

std::string Network::text() const {
    return address.text() + "/" + std::to_string(prefix);
}

Result<Network> Network::parse(std::string_view text) {
    const auto slash = text.find('/');
    const auto bad = [&] {
        return fail("\"" + std::string(text) + "\" is not a network",
                    "write it as 10.0.0.0/8 or 2001:db8::/32");
    };
    const auto address = IpAddress::parse(text.substr(0, slash));
    if (!address) return bad();
    unsigned prefix = bits_of(*address);
    if (slash != std::string_view::npos) {
        const auto digits = text.substr(slash + 1);
        const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
        if (code != std::errc{} || end != digits.data() + digits.size() || prefix > bits_of(*address))
            return bad();
    }
    const Network network{masked(*address, prefix), static_cast<std::uint8_t>(prefix)};
    if (network.address != *address)
        return fail("\"" + std::string(text) + "\" is an address in a network, not a network",
                    "write it as " + network.text());
    return network;
}

}  // namespace limpet
