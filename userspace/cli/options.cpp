// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <ostream>

#include "cli/cli.h"
#include "config/values.h"

namespace limpet::cli {
namespace {

class Parser {
  public:
    explicit Parser(Options& options) : options_(options) {
        app_.require_subcommand(1);
        app_.set_version_flag("-V,--version", std::string("limpet ") + LIMPET_VERSION);
        root_json_ = add_json(&app_);
        root_socket_ = add_socket(&app_);
        add_serve();
        add_local();
        add_daemon_commands();
        add_flows();
        add_watching();
        add_trace();
        add_bench();
        add_brokers();
        add_stick();
    }

    std::optional<int> parse(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
        try {
            app_.parse(argc, argv);
            refuse_misplaced();
        } catch (const CLI::ParseError& error) {
            if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
                app_.exit(error, out, err);
                return status_ok;
            }
            if (const auto word = unknown_command(); !word.empty()) {
                err << "limpet: the command " << word << "\n";
                return status_usage;
            }
            err << "limpet: " << one_line(error.what()) << ": see `" << deepest() << " --help`\n";
            return status_usage;
        }
        return std::nullopt;
    }

  private:
    // A value that may be empty and of which it counts whether it was said.
    static CLI::Option* text(CLI::App* app, const std::string& name, std::optional<std::string>& value,
                             const std::string& what, const std::string& type) {
        return app
            ->add_option_function<std::string>(
                name, [&value](const std::string& said) { value = said; }, what)
            ->type_name(type);
    }
    static CLI::Option* number(CLI::App* app, const std::string& name, std::optional<std::int64_t>& value,
                               const std::string& what) {
        return app
            ->add_option_function<std::int64_t>(
                name, [&value](const std::int64_t& said) { value = said; }, what)
            ->type_name("N");
    }
    static void repeated(CLI::App* app, const std::string& name, std::vector<std::string>& values,
                         const std::string& what, const std::string& type) {
        app->add_option(name, values, what)->type_name(type)->allow_extra_args(false);
    }
    // `-i a -i b` and `-i a b`.
    void add_interfaces(CLI::App* app, const std::string& what) {
        app->add_option("-i,--interface", options_.interfaces, what)->type_name("NAME ...");
    }
    CLI::Option* add_json(CLI::App* app) {
        return app->add_flag("-j,--json", options_.json, "print JSON, for scripts");
    }
    CLI::Option* add_socket(CLI::App* app) {
        return text(app, "--socket", options_.socket, "control socket [/run/limpet/limpet.sock]", "PATH");
    }
    CLI::Option* add_config(CLI::App* app) {
        return app
            ->add_option("-c,--config", options_.config_file, "configuration file (docs/CONFIGURATION.md)")
            ->check([](const std::string& path) { return path.empty() ? "the name is empty" : ""; })
            ->type_name("FILE");
    }

    CLI::App* command(CLI::App* parent, const std::string& name, Command value, const std::string& what) {
        auto* app = parent->add_subcommand(name, what);
        // The innermost command speaks last, because CLI11 calls back from the inside out.
        app->parse_complete_callback([this, value] {
            if (!said_) options_.command = value;
            said_ = true;
        });
        return app;
    }
    CLI::App* talking(CLI::App* parent, const std::string& name, Command value, const std::string& what) {
        auto* app = command(parent, name, value, what);
        add_json(app);
        add_socket(app);
        return app;
    }

    void add_serve() {
        auto* app = command(&app_, "serve", Command::serve, "run the balancer, in the foreground");
        add_config(app);
        repeated(app, "--listen", options_.listen, "where clients connect to (repeatable)", "ADDR:PORT");
        repeated(app, "--broker", options_.brokers, "a broker, named b1, b2 … or NAME (repeatable)",
                 "[NAME=]ADDR:PORT");
        text(app, "--strategy", options_.strategy,
             "sticky, hash, least_connections, round_robin, random or power_of_two", "NAME");
        text(app, "--mode", options_.mode, "auto, xdp, tc or relay", "MODE");
        add_interfaces(app, "where to attach (repeatable) [all]");
        text(app, "--bpffs", options_.bpffs, "folder for pinned state [/sys/fs/bpf/limpet]", "DIR");
        add_socket(app);
        text(app, "--admin", options_.admin, "HTTP for metrics and health, \"\" for none [127.0.0.1:9883]",
             "ADDR:PORT");
        number(app, "--workers", options_.workers, "threads, 0 for one per core [0]");
        number(app, "--max-flows", options_.max_flows, "connections in the kernel at once [1000000]");
        text(app, "--log-level", options_.log_level, "trace, debug, info, warn or error [info]", "LEVEL");
        app->add_flag("--flush", options_.flush,
                      "remove what an earlier daemon left before starting, and everything when stopping");
    }

    void add_local() {
        auto* detach = command(&app_, "detach", Command::detach,
                               "remove programs, pins and marks that a daemon left behind");
        add_config(detach);
        text(detach, "--bpffs", options_.bpffs, "folder of the pinned state [/sys/fs/bpf/limpet]", "DIR");
        add_socket(detach);
        add_json(detach);
        detach->add_flag("--force", options_.force, "even where live connections end with them");
        auto* check = command(&app_, "check", Command::check, "validate a configuration and start nothing");
        add_config(check)->required();
        add_json(check);
        auto* features =
            command(&app_, "features", Command::features, "what this kernel and each interface can do");
        add_interfaces(features, "look at this interface (repeatable) [all]");
        add_json(features);
        auto* decode = command(&app_, "decode", Command::decode,
                               "read the bytes of one MQTT packet on standard input, print JSON");
        decode->add_flag("--hex", options_.hex, "the input is hexadecimal text");
        add_json(decode);
        add_json(command(&app_, "version", Command::version, "print the version"));
    }

    void add_daemon_commands() {
        talking(&app_, "status", Command::status, "what the daemon does right now");
        auto* lookup =
            talking(&app_, "lookup", Command::lookup, "the broker that a client has or would get, and why");
        lookup->add_option("CLIENT_ID", options_.lookup_client, "the client id")->required();
        text(lookup, "--pool", options_.pool, "in this pool, where there are several", "NAME");
        talking(&app_, "reload", Command::reload, "have the daemon read its configuration again");
    }

    // A whole number within bounds.
    static void bounded(CLI::App* app, const std::string& name, std::uint64_t& value, std::uint64_t least,
                        std::uint64_t most, const std::string& what) {
        app->add_option_function<std::int64_t>(
               name,
               [&value, name, least, most](const std::int64_t& said) {
                   if (said < static_cast<std::int64_t>(least) || said > static_cast<std::int64_t>(most))
                       throw CLI::ValidationError(
                           name, "it must be from " + std::to_string(least) + " to " + std::to_string(most));
                   value = static_cast<std::uint64_t>(said);
               },
               what)
            ->type_name("N");
    }

    void add_watching() {
        auto* top = talking(&app_, "top", Command::top, "what changes at the daemon, as a live view");
        top->add_option_function<double>(
               "-d,--interval",
               [this](const double& said) {
                   if (!(said >= 0.1 && said <= 3600))
                       throw CLI::ValidationError("--interval", "it must be from 0.1 to 3600 seconds");
                   options_.interval = std::chrono::milliseconds(std::llround(said * 1000));
               },
               "from one look to the next [1]")
            ->type_name("SECONDS");
        bounded(top, "-n,--count", options_.count, 1, 1'000'000'000,
                "end after so many looks [without end on a terminal, once elsewhere]");
    }

    void add_trace() {
        auto* trace =
            talking(&app_, "trace", Command::trace, "what happens to chosen clients, as it happens");
        trace->add_option_function<std::string>(
            "CLIENT_ID", [this](const std::string& said) { options_.client_id = said; },
            "only of this client [all]");
        text(trace, "--client-id", options_.client_id, "the same", "ID");
        text(trace, "--source", options_.source, "only of clients with this address", "ADDRESS");
        bounded(trace, "-n,--count", options_.count, 1, 1'000'000'000, "end after so many events");
    }

    void add_bench() {
        auto* bench = command(&app_, "bench", Command::bench,
                              "measure the fast path on this machine, in a network namespace of its own");
        bounded(bench, "--rounds", options_.rounds, 1, 1000, "of each measure, medians are printed [9]");
        bounded(bench, "--flows", options_.bench_flows, 1, 16'384,
                "connections that the generated packets belong to, a power of two [64]");
        add_json(bench);
    }

    void add_filters(CLI::App* app, const std::string& limit) {
        text(app, "--client-id", options_.client_id, "only of this client", "ID");
        text(app, "--broker", options_.broker, "only to this broker", "NAME");
        if (!limit.empty()) add_limit(app, limit);
    }
    void add_limit(CLI::App* app, const std::string& limit) {
        app->add_option_function<std::int64_t>(
               "--limit",
               [this](const std::int64_t& said) {
                   if (said < 0) throw CLI::ValidationError("--limit", "it must be 0 or more");
                   options_.limit = static_cast<std::uint64_t>(said);
               },
               limit)
            ->type_name("N");
    }

    void add_flows() {
        auto* flows =
            talking(&app_, "flows", Command::flows_list, "the connections that the kernel forwards");
        add_filters(flows, "at most so many, 0 for all [0]");
        add_filters(talking(flows, "list", Command::flows_list, "list them (what `limpet flows` does)"),
                    "at most so many, 0 for all [0]");
        add_filters(talking(flows, "count", Command::flows_count, "how many there are"), "");
        add_filters(talking(flows, "show", Command::flows_show, "everything about one of them"), "");
        auto* kill = talking(flows, "kill", Command::flows_kill, "end them, with a reset to both ends");
        add_filters(kill, "at most so many, 0 for all [0]");
        kill->add_flag("--all", options_.all, "all of them, where no filter is given");
    }

    CLI::App* broker_command(CLI::App* parent, const std::string& name, Command value,
                             const std::string& what) {
        auto* app = talking(parent, name, value, what);
        app->add_option("NAME", options_.broker_name, "the broker's name")->required();
        text(app, "--pool", options_.pool, "of this pool, where several have a broker of that name", "NAME");
        return app;
    }
    // A value that a function of the configuration reads, so that both accept the same.
    template <class Value, class Parse>
    static void parsed(CLI::App* app, const std::string& name, std::optional<Value>& value,
                       const std::string& what, const std::string& type, Parse parse) {
        app->add_option_function<std::string>(
               name,
               [name, &value, parse](const std::string& said) {
                   auto read = parse(said);
                   if (!read) throw CLI::ValidationError(name, read.error().line());
                   value = *read;
               },
               what)
            ->type_name(type);
    }
    void add_pace(CLI::App* app) {
        parsed(app, "--rate", options_.rate, "so many in a time, 0 for none [100/s]", "N/s",
               config::parse_rate);
        parsed(app, "--deadline", options_.deadline, "all of them within this time, evenly", "TIME",
               whole_seconds);
        app->add_flag("--no-wait", options_.no_wait, "do not stay until it is done");
        app->add_flag("--cancel", options_.cancel, "stop what is under way");
    }

    static Result<std::chrono::seconds> whole_seconds(std::string_view said) {
        const auto read = config::parse_duration(said);
        if (!read) return std::unexpected(read.error());
        return std::chrono::ceil<std::chrono::seconds>(*read);
    }

    void add_stick() {
        auto* stick = talking(&app_, "stick", Command::stick_list, "what sticky pools remember");
        auto* list = talking(stick, "list", Command::stick_list, "list it (what `limpet stick` does)");
        for (auto* app : {stick, list}) {
            text(app, "--broker", options_.broker, "only of this broker", "NAME");
            text(app, "--pool", options_.pool, "only of this pool", "NAME");
            add_limit(app, "at most so many, 0 for all [0]");
        }
        auto* show = talking(stick, "show", Command::stick_show, "what is remembered of one client");
        show->add_option("CLIENT_ID", options_.lookup_client, "the client id")->required();
        text(show, "--pool", options_.pool, "in this pool, where there are several", "NAME");
        auto* set = talking(stick, "set", Command::stick_set, "have a client remembered at a broker");
        set->add_option("CLIENT_ID", options_.lookup_client, "the client id")->required();
        set->add_option("BROKER", options_.broker_name, "the broker's name")->required();
        text(set, "--pool", options_.pool, "in this pool, where there are several", "NAME");
        parsed(set, "--ttl", options_.ttl, "for so long [stick_maximum]", "TIME", whole_seconds);
        auto* clear = talking(stick, "clear", Command::stick_clear, "forget clients");
        text(clear, "CLIENT_ID", options_.client_id, "this client", "");
        text(clear, "--broker", options_.broker, "all that are away and were at this broker", "NAME");
        text(clear, "--pool", options_.pool, "only in this pool", "NAME");
        clear->add_flag("--all", options_.all, "all that are away");
    }

    void add_brokers() {
        auto* brokers = talking(&app_, "brokers", Command::brokers, "the brokers of all pools");
        talking(brokers, "list", Command::brokers, "list them (what `limpet brokers` does)");
        auto* add =
            broker_command(brokers, "add", Command::brokers_add, "add a broker, until a reload or restart");
        add->add_option("ADDR:PORT", options_.broker_address, "where it is")->required();
        number(add, "--weight", options_.weight, "its share against the others [1]");
        number(add, "--maxconn", options_.max_connections,
               "connections that it may have, 0 for no limit [0]");
        broker_command(brokers, "remove", Command::brokers_remove,
                       "take a broker out; connections that it has stay");
        broker_command(brokers, "enable", Command::brokers_enable, "let a drained broker have clients again");
        auto* weight = broker_command(brokers, "weight", Command::brokers_weight, "change its weight");
        value(weight, "the weight, 1 to 65535");
        auto* most = broker_command(brokers, "maxconn", Command::brokers_maxconn,
                                    "change how many connections it may have");
        value(most, "connections, 0 for no limit");
        add_pace(broker_command(brokers, "drain", Command::brokers_drain,
                                "keep new clients away, and end the connections that are there at a pace"));
        auto* rebalance = talking(brokers, "rebalance", Command::brokers_rebalance,
                                  "move what brokers have above their share to the others, at a pace");
        text(rebalance, "--pool", options_.pool, "only in this pool", "NAME");
        parsed(rebalance, "--tolerance", options_.tolerance, "what is not worth moving, of a fair share [5%]",
               "PERCENT", config::parse_share);
        add_pace(rebalance);
        talking(brokers, "moves", Command::brokers_moves, "drains and rebalancing, and how far they are");
    }
    void value(CLI::App* app, const std::string& what) {
        app->add_option_function<std::int64_t>(
               "N", [this](const std::int64_t& said) { options_.value = said; }, what)
            ->required();
    }

    // An option in front of a command that has no use for it would be silently ignored.
    void refuse_misplaced() const {
        const auto chosen = app_.get_subcommands();
        if (chosen.empty()) return;
        for (const auto* option : {root_json_, root_socket_})
            if (option->count() > 0 && !chosen.front()->get_option_no_throw(option->get_name()))
                throw CLI::ExtrasError(
                    {option->get_name() + " (not an option of " + chosen.front()->get_name() + ")"});
    }

    // What stands where a command should, and those that there are.
    [[nodiscard]] std::string unknown_command() const {
        const auto extras = app_.remaining();
        if (!app_.get_subcommands().empty() || extras.empty() || extras.front().starts_with('-')) return {};
        std::vector<std::string> names;
        for (const auto* one : app_.get_subcommands([](const CLI::App*) { return true; }))
            names.push_back(one->get_name());
        const std::vector<std::string_view> views(names.begin(), names.end());
        return config::unknown_word(extras.front(), views).line();
    }

    [[nodiscard]] std::string deepest() const {
        std::string name = "limpet";
        const CLI::App* app = &app_;
        while (!app->get_subcommands().empty()) {
            app = app->get_subcommands().front();
            name += " " + app->get_name();
        }
        return name;
    }

    static std::string one_line(std::string text) {
        for (auto& byte : text)
            if (byte == '\n') byte = ' ';
        while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
        return text;
    }

    Options& options_;
    bool said_ = false;
    CLI::App app_{
        "A load balancer for MQTT that leaves the path: sticky by client id, forwarded by the kernel.",
        "limpet"};
    CLI::Option* root_json_ = nullptr;
    CLI::Option* root_socket_ = nullptr;
};

}  // namespace

std::optional<int> read_options(int argc, const char* const* argv, Options& options, std::ostream& out,
                                std::ostream& err) {
    return Parser(options).parse(argc, argv, out, err);
}

}  // namespace limpet::cli
