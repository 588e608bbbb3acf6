// SPDX-License-Identifier: Apache-2.0
// Which certificates a server shows to a client that named it (SNI, RFC 6066 3).
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace limpet::tls {

/// Names, exact ("a.example.org") and wildcard ("*.example.org": one label, RFC 6125 6.4.3), each with the
/// certificates that carry it: at most one for each kind of key. Certificates are numbered by the caller.
class ServerNames {
  public:
    using Certificates = std::vector<std::size_t>;

    /// `kind` tells keys apart that can stand side by side (RSA, ECDSA). Of two certificates with the same
    /// name and kind the first one counts.
    void add(std::string_view name, std::size_t certificate, int kind);

    /// What carries this name: exactly, or by a wildcard. Nothing: nobody does.
    [[nodiscard]] const Certificates* find(std::string_view name) const;
    /// Every set of certificates that find() can return.
    [[nodiscard]] std::vector<Certificates> sets() const;

  private:
    struct Entry {
        Certificates certificates;
        std::vector<int> kinds;
    };
    std::map<std::string, Entry, std::less<>> names_;
};

/// Lower case, without the root's dot at the end.
[[nodiscard]] std::string normalized(std::string_view name);

}  // namespace limpet::tls
