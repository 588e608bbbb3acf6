// SPDX-License-Identifier: Apache-2.0
// `limpet bench`: figures of the fast path, as a table or as JSON.
#include "dataplane/bench.h"

#include <cstdio>
#include <ostream>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/table.h"

namespace limpet::cli {
namespace {

Json bench_json(const dataplane::BenchResult& result) {
    Json json{{"programs", Json::array()}, {"verifier", Json::array()}, {"packets", Json::array()}};
    for (const auto& one : result.programs)
        json["programs"].push_back({{"program", one.program},
                                    {"packet", one.packet},
                                    {"nanoseconds", one.nanoseconds},
                                    {"least", one.least},
                                    {"runs", one.runs}});
    for (const auto& one : result.verifier)
        json["verifier"].push_back({{"program", one.program},
                                    {"verified_instructions", one.verified_instructions},
                                    {"translated_bytes", one.translated_bytes},
                                    {"jited_bytes", one.jited_bytes}});
    for (const auto& one : result.packets)
        json["packets"].push_back({{"program", one.program},
                                   {"generated_per_second", one.generated_per_second},
                                   {"forwarded_per_second", one.forwarded_per_second}});
    json["ratio"] = result.packets.empty() ? Json() : Json(result.ratio);
    json["note"] = result.note;
    return json;
}

std::string million(double value) {
    char shown[40];
    std::snprintf(shown, sizeof shown, "%.2f M", value / 1e6);
    return shown;
}

std::string bench_text(const dataplane::BenchResult& result) {
    Table programs({{"PROGRAM"}, {"PACKET"}, {"NS/PACKET", Align::right}, {"LEAST", Align::right}});
    for (const auto& one : result.programs)
        programs.add({one.program, one.packet, std::to_string(one.nanoseconds), std::to_string(one.least)});
    Table verifier({{"PROGRAM"},
                    {"VERIFIED INSTRUCTIONS", Align::right},
                    {"BYTES", Align::right},
                    {"JITED BYTES", Align::right}});
    for (const auto& one : result.verifier)
        verifier.add({one.program, std::to_string(one.verified_instructions),
                      std::to_string(one.translated_bytes), std::to_string(one.jited_bytes)});
    Table packets({{"GENERATOR BEFORE"}, {"SENT/S", Align::right}, {"FORWARDED/S", Align::right}});
    for (const auto& one : result.packets)
        packets.add({one.program, million(one.generated_per_second), million(one.forwarded_per_second)});
    auto text = programs.text() + "\n" + verifier.text() + "\n";
    if (result.packets.empty()) return text + result.note + "\n";
    char ratio[80];
    std::snprintf(ratio, sizeof ratio, "limpet_xdp forwards %.2f times what a bare redirect does\n",
                  result.ratio);
    return text + packets.text() + "\n" + ratio;
}

}  // namespace

int run_bench(const Options& options, std::ostream& out, std::ostream& err) {
    const auto result =
        dataplane::run_bench({options.rounds, static_cast<std::uint32_t>(options.bench_flows)});
    if (!result) return complain(err, result.error());
    out << (options.json ? bench_json(*result).dump() + "\n" : bench_text(*result));
    return status_ok;
}

}  // namespace limpet::cli
