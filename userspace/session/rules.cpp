// SPDX-License-Identifier: Apache-2.0
#include "session/rules.h"

#include <algorithm>

namespace limpet::session {
namespace {

bool any_fits(const std::vector<std::string>& patterns, std::string_view text) {
    return patterns.empty() ||
           std::ranges::any_of(patterns, [&](const std::string& pattern) { return fits(pattern, text); });
}

bool keep_alive_fits(const Conditions& conditions, std::uint16_t keep_alive) {
    if (!conditions.keep_alive_below && !conditions.keep_alive_above) return true;
    const std::chrono::seconds said{keep_alive};
    if (keep_alive == 0) return conditions.keep_alive_above.has_value();
    return (conditions.keep_alive_below && said < *conditions.keep_alive_below) ||
           (conditions.keep_alive_above && said > *conditions.keep_alive_above);
}

}  // namespace

/// Goes back to the last star where the rest does not fit: linear in memory, and at worst the product of both
/// lengths in time.
bool fits(std::string_view pattern, std::string_view text) {
    std::size_t at = 0;
    std::size_t in = 0;
    auto behind_star = std::string_view::npos;
    std::size_t retry = 0;
    while (in < text.size()) {
        if (at < pattern.size() && pattern[at] == '*') {
            behind_star = ++at;
            retry = in;
            continue;
        }
        const bool escaped = at + 1 < pattern.size() && pattern[at] == '\\';
        const auto wanted = at + (escaped ? 1 : 0);
        if (wanted < pattern.size() && ((!escaped && pattern[at] == '?') || pattern[wanted] == text[in])) {
            at = wanted + 1;
            ++in;
            continue;
        }
        if (behind_star == std::string_view::npos) return false;
        at = behind_star;
        in = ++retry;
    }
    while (at < pattern.size() && pattern[at] == '*') ++at;
    return at == pattern.size();
}

bool fits(const Conditions& conditions, const mqtt::Connect& connect, const IpAddress& source) {
    const auto is_in = [&](const Network& network) { return network.contains(source); };
    if (!conditions.sources.empty() && std::ranges::none_of(conditions.sources, is_in)) return false;
    if (!conditions.versions.empty() &&
        std::ranges::find(conditions.versions, connect.version) == conditions.versions.end())
        return false;
    return keep_alive_fits(conditions, connect.keep_alive) &&
           any_fits(conditions.client_ids, connect.client_id) &&
           any_fits(conditions.usernames, connect.user_name ? std::string_view(*connect.user_name) : "");
}

}  // namespace limpet::session
