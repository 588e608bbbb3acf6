// SPDX-License-Identifier: Apache-2.0
// A range of IP addresses, as people write it: 10.0.0.0/8.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/endpoint.h"
#include "base/result.h"

namespace limpet {

struct Network {
    IpAddress address;         ///< the bits behind the prefix are zero
    std::uint8_t prefix = 32;  ///< bits that count: up to 32, or 128 in IPv6

    [[nodiscard]] bool contains(const IpAddress& other) const;
    [[nodiscard]] std::string text() const;
    /// Reads "10.0.0.0/8", "2001:db8::/32", or one address without a prefix.
    [[nodiscard]] static Result<Network> parse(std::string_view text);

    auto operator<=>(const Network&) const = default;
};

}  // namespace limpet
