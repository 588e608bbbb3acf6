// SPDX-License-Identifier: Apache-2.0
#include "cli/print.h"

#include <cmath>
#include <string_view>

#include "base/reason.h"
#include "cli/fields.h"
#include "cli/table.h"

namespace limpet::cli {
namespace {

std::string age(const Json& object, const char* name) {
    const auto& value = at(object, name);
    return value.is_number() ? age_text(value.get<double>()) : "-";
}
std::string bytes(const Json& object, const char* name) {
    const auto& value = at(object, name);
    return value.is_number() ? bytes_text(value.get<double>()) : "-";
}

// Of a histogram of powers of two: more digits would be a lie.
std::string microseconds(const Json& object, const char* name) {
    const auto& value = at(object, name);
    return value.is_number() ? std::to_string(std::llround(value.get<double>())) + " us" : "-";
}

// 0 is no limit.
std::string maximum(const Json& broker) {
    const auto& most = at(broker, "max_connections");
    return most.is_number() && most.get<double>() > 0 ? most.dump() : "-";
}

// A line below the table for each broker with one; it may be long.
std::string last_errors(const Json& brokers) {
    std::string lines;
    for (const auto& one : brokers)
        if (const auto& error = at(one, "last_error"); error.is_string() && !error.get<std::string>().empty())
            lines += text(one, "pool") + "/" + text(one, "name") + ": " + text(one, "last_error") + "\n";
    return lines.empty() ? lines : "\n" + lines;
}

std::string_view sentence_of(std::string_view name) {
    for (unsigned i = 0; i < LIMPET_REASON_COUNT; ++i)
        if (reason_name(static_cast<Reason>(i)) == name) return reason_sentence(static_cast<Reason>(i));
    return "";
}

std::string head_text(const Json& status) {
    Lines lines;
    lines.add("version", text(status, "version"));
    lines.add("pid", text(status, "pid"));
    lines.add("uptime", age(status, "uptime_seconds"));
    lines.add("mode", text(status, "mode"));
    if (const auto note = text(status, "note"); note != "-" && !note.empty()) lines.add("note", note);
    const auto& connections = at(status, "connections");
    lines.add("connections", text(connections, "spliced") + " spliced, " + text(connections, "relayed") +
                                 " relayed, " + text(connections, "tls") + " TLS, " +
                                 text(connections, "pending") + " being set up");
    const auto& rates = at(status, "rates");
    lines.add("per second", text(rates, "accepted_per_second") + " accepted, " +
                                text(rates, "spliced_per_second") + " spliced");
    const auto& hold = at(status, "hold_microseconds");
    lines.add("time in HOLD", "p50 " + microseconds(hold, "p50") + ", p99 " + microseconds(hold, "p99") +
                                  ", p99.9 " + microseconds(hold, "p999") + " (" + text(hold, "count") +
                                  " handoffs)");
    return lines.text();
}

std::string interfaces_text(const Json& interfaces) {
    Table table({{"INTERFACE"}, {"MODE"}, {"DISPATCHER"}, {"NOTE"}});
    for (const auto& one : interfaces)
        table.add({text(one, "name"), text(one, "mode"), text(one, "dispatcher"), text(one, "note")});
    return table.empty() ? "" : "\n" + table.text();
}

std::string listeners_text(const Json& listeners) {
    Table table({{"LISTENER"}, {"ADDRESS"}, {"PROTOCOL"}, {"POOL"}, {"ACCEPTED", Align::right}});
    for (const auto& one : listeners)
        table.add({text(one, "name"), text(one, "address"), text(one, "protocol"), text(one, "pool"),
                   text(one, "accepted")});
    return table.empty() ? "" : "\n" + table.text();
}

std::string certificates_text(const Json& listeners) {
    Table table(
        {{"CERTIFICATE"}, {"LISTENER"}, {"COMMON NAME"}, {"KEY"}, {"EXPIRES"}, {"DAYS", Align::right}});
    for (const auto& listener : listeners)
        for (const auto& one : at(listener, "certificates"))
            table.add({text(one, "file"), text(listener, "name"), text(one, "common_name"), text(one, "kind"),
                       text(one, "expires"), text(one, "days_left")});
    return table.empty() ? "" : "\n" + table.text();
}

std::string reasons_text(const Json& reasons) {
    Table table({{"REASON"}, {"COUNT", Align::right}, {"MEANING"}});
    if (reasons.is_object())
        for (const auto& [name, count] : reasons.items())
            table.add({visible(name), text(count), std::string(sentence_of(name))});
    return table.empty() ? "" : "\n" + table.text();
}

}  // namespace

std::string status_text(const Json& status) {
    auto out = head_text(status) + interfaces_text(at(status, "interfaces")) +
               listeners_text(at(status, "listeners")) + certificates_text(at(status, "listeners"));
    const auto& brokers = at(status, "brokers");
    if (!brokers.empty()) out += "\n" + brokers_text(brokers);
    return out + reasons_text(at(status, "reasons"));
}

std::string brokers_text(const Json& brokers) {
    Table table({{"POOL"},
                 {"BROKER"},
                 {"ADDRESS"},
                 {"STATE"},
                 {"WEIGHT", Align::right},
                 {"CONNECTIONS", Align::right},
                 {"MAXIMUM", Align::right},
                 {"CHOSEN", Align::right},
                 {"FAILURES", Align::right}});
    for (const auto& one : brokers)
        table.add({text(one, "pool"), text(one, "name"), text(one, "address"), text(one, "state"),
                   text(one, "weight"), text(one, "connections"), maximum(one), text(one, "chosen"),
                   text(one, "failures")});
    return table.empty() ? "no brokers\n" : table.text() + last_errors(brokers);
}

std::string moves_text(const Json& moves) {
    Table table({{"MOVE"},
                 {"POOL"},
                 {"BROKER"},
                 {"STATE"},
                 {"ENDED", Align::right},
                 {"LEFT", Align::right},
                 {"PER SECOND", Align::right},
                 {"ELAPSED", Align::right},
                 {"ETA", Align::right}});
    for (const auto& one : moves)
        table.add({text(one, "kind"), text(one, "pool"), text(one, "broker"), text(one, "state"),
                   text(one, "ended"), text(one, "left"), text(one, "per_second"),
                   age(one, "elapsed_seconds"), age(one, "eta_seconds")});
    return table.empty() ? "nothing is drained or rebalanced\n" : table.text();
}

std::string sticks_text(const Json& sticks) {
    Table table({{"POOL"}, {"KEY"}, {"CLIENT ID"}, {"BROKER"}, {"CONNECTED"}, {"EXPIRES IN", Align::right}});
    for (const auto& one : sticks)
        table.add({text(one, "pool"), text(one, "key"), text(one, "client_id"), text(one, "broker"),
                   text(one, "connected"), age(one, "expires_in_seconds")});
    return table.empty() ? "nobody is remembered\n" : table.text();
}

std::string stick_text(const Json& stick) {
    Lines lines;
    lines.add("client id", text(stick, "client_id"));
    lines.add("pool", text(stick, "pool"));
    lines.add("broker", text(stick, "broker"));
    lines.add("connected", text(stick, "connected"));
    lines.add("lifetime", age(stick, "lifetime_seconds"));
    lines.add("expires in", age(stick, "expires_in_seconds"));
    return lines.text();
}

std::string flows_text(const Json& flows) {
    Table table({{"CLIENT ID"},
                 {"CLIENT"},
                 {"LISTENER"},
                 {"BROKER"},
                 {"STATE"},
                 {"AGE", Align::right},
                 {"IDLE", Align::right},
                 {"FROM CLIENT", Align::right},
                 {"FROM BROKER", Align::right}});
    for (const auto& one : flows)
        table.add({text(one, "client_id"), text(one, "client"), text(one, "listener"),
                   text(one, "broker_name"), text(one, "state"), age(one, "age_seconds"),
                   age(one, "idle_seconds"), bytes(one, "bytes_from_client"),
                   bytes(one, "bytes_from_broker")});
    return table.empty() ? "no flows\n" : table.text();
}

std::string flow_text(const Json& flow) {
    Lines lines;
    lines.add("client id", text(flow, "client_id"));
    lines.add("client", text(flow, "client"));
    lines.add("listener", text(flow, "listener"));
    lines.add("source", text(flow, "source"));
    lines.add("broker", text(flow, "broker_name") + " (" + text(flow, "broker") + ")");
    lines.add("state", text(flow, "state"));
    lines.add("age", age(flow, "age_seconds"));
    lines.add("idle", age(flow, "idle_seconds"));
    lines.add("from client",
              bytes(flow, "bytes_from_client") + " in " + text(flow, "packets_from_client") + " packets");
    lines.add("from broker",
              bytes(flow, "bytes_from_broker") + " in " + text(flow, "packets_from_broker") + " packets");
    return lines.text();
}

std::string lookup_text(const Json& lookup) {
    Lines lines;
    lines.add("client id", text(lookup, "client_id"));
    lines.add("pool", text(lookup, "pool"));
    lines.add("broker", text(lookup, "broker") + " (" + text(lookup, "address") + ")");
    lines.add("why", text(lookup, "why"));
    lines.add("connected", text(lookup, "connected"));
    return lines.text();
}

std::string reload_text(const Json& reload) {
    std::string out;
    for (const auto& line : at(reload, "changed")) out += text(line) + "\n";
    return out.empty() ? "nothing changed\n" : out;
}

}  // namespace limpet::cli
