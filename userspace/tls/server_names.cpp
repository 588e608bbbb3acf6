// SPDX-License-Identifier: Apache-2.0
#include "tls/server_names.h"

#include <algorithm>

namespace limpet::tls {

std::string normalized(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    std::string result(name);
    for (auto& letter : result)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return result;
}

void ServerNames::add(std::string_view name, std::size_t certificate, int kind) {
    auto& entry = names_[normalized(name)];
    if (std::ranges::find(entry.kinds, kind) != entry.kinds.end()) return;
    entry.certificates.push_back(certificate);
    entry.kinds.push_back(kind);
}

const ServerNames::Certificates* ServerNames::find(std::string_view name) const {
    const auto wanted = normalized(name);
    if (const auto exact = names_.find(wanted); exact != names_.end()) return &exact->second.certificates;
    const auto dot = wanted.find('.');
    if (dot == 0 || dot == std::string::npos) return nullptr;
    const auto wildcard = names_.find("*" + wanted.substr(dot));
    return wildcard == names_.end() ? nullptr : &wildcard->second.certificates;
}

std::vector<ServerNames::Certificates> ServerNames::sets() const {
    std::vector<Certificates> sets;
    for (const auto& [name, entry] : names_)
        if (std::ranges::find(sets, entry.certificates) == sets.end()) sets.push_back(entry.certificates);
    return sets;
}

}  // namespace limpet::tls
