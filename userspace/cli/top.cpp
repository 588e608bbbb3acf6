// SPDX-License-Identifier: Apache-2.0
#include "cli/top.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "cli/fields.h"
#include "cli/table.h"

namespace limpet::cli {
namespace {

constexpr std::size_t most_busy = 20;
constexpr std::size_t bar_width = 20;

/// Per second; a counter that went back belongs to a new process and counts from zero.
double rate(double before, double now, double seconds) {
    return (now >= before ? now - before : now) / seconds;
}

std::string one_digit(double value) {
    std::array<char, 40> shown{};
    std::snprintf(shown.data(), shown.size(), "%.1f", value);
    return shown.data();
}

std::string key_of(const Json& object, const char* first, const char* second) {
    return text(object, first) + " " + text(object, second);
}

std::map<std::string, const Json*> by_key(const Json& list, const char* first, const char* second) {
    std::map<std::string, const Json*> found;
    if (list.is_array())
        for (const auto& one : list) found.emplace(key_of(one, first, second), &one);
    return found;
}

Json broker_changes(const Look& before, const Look& now, double seconds) {
    const auto known = by_key(at(before.status, "brokers"), "pool", "name");
    Json changes = Json::array();
    for (const auto& [key, broker] : by_key(at(now.status, "brokers"), "pool", "name")) {
        static const Json nothing;
        const auto found = known.find(key);
        const Json& was = found == known.end() ? nothing : *found->second;
        changes.push_back(
            {{"pool", at(*broker, "pool")},
             {"name", at(*broker, "name")},
             {"chosen_per_second", rate(number(was, "chosen"), number(*broker, "chosen"), seconds)},
             {"failures_per_second", rate(number(was, "failures"), number(*broker, "failures"), seconds)}});
    }
    return changes;
}

Json reason_changes(const Look& before, const Look& now, double seconds) {
    const auto& was = at(before.status, "reasons");
    Json changes = Json::object();
    if (const auto& reasons = at(now.status, "reasons"); reasons.is_object())
        for (const auto& [name, count] : reasons.items()) {
            if (!count.is_number()) continue;
            const double grown = rate(number(was, name.c_str()), count.get<double>(), seconds);
            if (grown > 0) changes[name] = grown;
        }
    return changes;
}

Json busiest(const Look& before, const Look& now, double seconds) {
    const auto known = by_key(before.flows, "client", "listener");
    std::vector<std::pair<double, Json>> rows;
    for (const auto& [key, flow] : by_key(now.flows, "client", "listener")) {
        const auto was = known.find(key);
        if (was == known.end()) continue;
        const auto grown = [&](const char* name) {
            return rate(number(*was->second, name), number(*flow, name), seconds);
        };
        const double up = grown("bytes_from_client");
        const double down = grown("bytes_from_broker");
        if (up + down <= 0) continue;
        rows.emplace_back(up + down, Json{{"client_id", at(*flow, "client_id")},
                                          {"client", at(*flow, "client")},
                                          {"broker_name", at(*flow, "broker_name")},
                                          {"from_client_per_second", up},
                                          {"from_broker_per_second", down}});
    }
    std::ranges::sort(rows, std::greater{}, &std::pair<double, Json>::first);
    Json list = Json::array();
    for (auto& [sum, row] : rows)
        if (list.size() < most_busy) list.push_back(std::move(row));
    return list;
}

std::string head_part(const Json& status) {
    const auto& connections = at(status, "connections");
    const auto& rates = at(status, "rates");
    const auto& hold = at(status, "hold_microseconds");
    return "limpet " + text(status, "version") + ", mode " + text(status, "mode") + ", up " +
           age_text(number(status, "uptime_seconds")) + "\n" + text(connections, "spliced") + " spliced, " +
           text(connections, "relayed") + " relayed, " + text(connections, "tls") + " TLS, " +
           text(connections, "pending") + " being set up; " + text(rates, "accepted_per_second") +
           " accepted/s, " + text(rates, "spliced_per_second") + " spliced/s, HOLD p99 " + text(hold, "p99") +
           " us\n";
}

std::string brokers_part(const Json& brokers, const Json& changes) {
    if (!brokers.is_array() || brokers.empty()) return {};
    const auto rates = by_key(at(changes, "brokers"), "pool", "name");
    double most = 1;
    for (const auto& broker : brokers) most = std::max(most, number(broker, "connections"));
    Table table({{"POOL"},
                 {"BROKER"},
                 {"STATE"},
                 {"CONNECTIONS", Align::right},
                 {"NEW/S", Align::right},
                 {"FAILED/S", Align::right},
                 {""}});
    for (const auto& broker : brokers) {
        const auto found = rates.find(key_of(broker, "pool", "name"));
        const auto per_second = [&](const char* name) {
            return found == rates.end() ? std::string("-") : one_digit(number(*found->second, name));
        };
        const auto bar =
            static_cast<std::size_t>(number(broker, "connections") / most * static_cast<double>(bar_width));
        table.add({text(broker, "pool"), text(broker, "name"), text(broker, "state"),
                   text(broker, "connections"), per_second("chosen_per_second"),
                   per_second("failures_per_second"), std::string(bar, '#')});
    }
    return "\n" + table.text();
}

std::string reasons_part(const Json& changes) {
    const auto& reasons = at(changes, "reasons");
    if (!reasons.is_object() || reasons.empty()) return {};
    std::vector<std::pair<double, std::string>> rows;
    for (const auto& [name, value] : reasons.items()) rows.emplace_back(value.get<double>(), name);
    std::ranges::sort(rows, std::greater{}, &std::pair<double, std::string>::first);
    Table table({{"REASON"}, {"PER SECOND", Align::right}});
    for (const auto& [value, name] : rows) table.add({visible(name), one_digit(value)});
    return "\n" + table.text();
}

std::string busiest_part(const Json& changes) {
    const auto& rows = at(changes, "busiest");
    if (!rows.is_array() || rows.empty()) return {};
    Table table({{"BUSIEST CLIENT"},
                 {"ADDRESS"},
                 {"BROKER"},
                 {"FROM CLIENT/S", Align::right},
                 {"FROM BROKER/S", Align::right}});
    for (const auto& row : rows)
        table.add({text(row, "client_id"), text(row, "client"), text(row, "broker_name"),
                   bytes_text(number(row, "from_client_per_second")),
                   bytes_text(number(row, "from_broker_per_second"))});
    return "\n" + table.text();
}

/// As many lines as there are, each cut to as many characters as a line has.
std::string fitted(const std::string& text, ScreenSize size) {
    std::string out;
    std::size_t lines = 0;
    std::size_t column = 0;
    for (const char byte : text) {
        if (byte == '\n') {
            if (++lines == size.lines) return out;
            out += byte;
            column = 0;
            continue;
        }
        const bool begins = (static_cast<unsigned char>(byte) & 0xc0) != 0x80;
        if (begins) ++column;
        if (column <= size.columns) out += byte;
    }
    return out;
}

}  // namespace

Json changes_between(const Look& before, const Look& now) {
    const double seconds = std::max(now.at - before.at, 0.001);
    return Json{{"seconds", seconds},
                {"brokers", broker_changes(before, now, seconds)},
                {"reasons", reason_changes(before, now, seconds)},
                {"busiest", busiest(before, now, seconds)}};
}

std::string top_text(const Look& now, const Json& changes, ScreenSize size) {
    return fitted(head_part(now.status) + brokers_part(at(now.status, "brokers"), changes) +
                      busiest_part(changes) + reasons_part(changes),
                  size);
}

}  // namespace limpet::cli
