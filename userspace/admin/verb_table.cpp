// SPDX-License-Identifier: Apache-2.0
#include "admin/verb_table.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>

#include "admin/dispatch.h"

namespace limpet::admin {
namespace {

std::optional<std::string> text(const Json& args, const char* name) {
    const auto found = args.find(name);
    return found == args.end() || found->is_null() ? std::nullopt : std::optional(found->get<std::string>());
}

std::optional<std::uint64_t> count(const Json& args, const char* name) {
    const auto found = args.find(name);
    return found == args.end() || found->is_null() ? std::nullopt
                                                   : std::optional(found->get<std::uint64_t>());
}

std::optional<double> number(const Json& args, const char* name) {
    const auto found = args.find(name);
    return found == args.end() || found->is_null() ? std::nullopt : std::optional(found->get<double>());
}

bool flag(const Json& args, const char* name) {
    const auto found = args.find(name);
    return found != args.end() && !found->is_null() && found->get<bool>();
}

FlowQuery flow_query(const Json& args) {
    FlowQuery query;
    query.client_id = text(args, "client_id");
    query.broker = text(args, "broker");
    query.limit = count(args, "limit").value_or(0);
    return query;
}

BrokerName broker_name(const Json& args) {
    return {*text(args, "broker"), text(args, "pool")};
}

Pace pace(const Json& args) {
    Pace pace;
    pace.per_second = number(args, "rate");
    if (const auto seconds = count(args, "deadline")) pace.deadline = std::chrono::seconds{*seconds};
    return pace;
}

template <Result<Json> (Verbs::*method)()>
Result<Json> plain(Verbs& verbs, const Json&) {
    return (verbs.*method)();
}
template <Result<Json> (Verbs::*method)(const FlowQuery&)>
Result<Json> filtered(Verbs& verbs, const Json& args) {
    return (verbs.*method)(flow_query(args));
}
template <Result<Json> (Verbs::*method)(const BrokerName&)>
Result<Json> named(Verbs& verbs, const Json& args) {
    return (verbs.*method)(broker_name(args));
}
template <Result<Json> (Verbs::*method)(const BrokerName&, std::uint64_t)>
Result<Json> set(Verbs& verbs, const Json& args) {
    return (verbs.*method)(broker_name(args), *count(args, "value"));
}

Result<Json> ready(Verbs& verbs, const Json&) {
    return Json{{"ready", verbs.ready()}};
}

Result<Json> kill(Verbs& verbs, const Json& args) {
    const auto query = flow_query(args);
    if (!flag(args, "all") && !query.client_id && !query.broker)
        return std::unexpected(
            Error{"nothing says which flows to end", "name a client id or a broker, or say all", EINVAL});
    return verbs.flows_kill(query);
}

Result<Json> lookup(Verbs& verbs, const Json& args) {
    return verbs.lookup(*text(args, "client_id"), text(args, "pool"));
}

Result<Json> trace(Verbs& verbs, const Json& args) {
    return verbs.trace({text(args, "client_id"), text(args, "source"), count(args, "from").value_or(0)});
}

Result<Json> add(Verbs& verbs, const Json& args) {
    return verbs.brokers_add(
        {broker_name(args), *text(args, "address"), count(args, "weight"), count(args, "max_connections")});
}

Result<Json> drain(Verbs& verbs, const Json& args) {
    return verbs.brokers_drain(broker_name(args), pace(args));
}

Result<Json> rebalance(Verbs& verbs, const Json& args) {
    return verbs.brokers_rebalance({text(args, "pool"), number(args, "tolerance"), pace(args)});
}

Result<Json> cancel(Verbs& verbs, const Json& args) {
    return verbs.brokers_cancel(text(args, "broker"), text(args, "pool"));
}

Result<Json> list_sticks(Verbs& verbs, const Json& args) {
    return verbs.stick_list({text(args, "pool"), text(args, "broker"), count(args, "limit").value_or(0)});
}

Result<Json> show_stick(Verbs& verbs, const Json& args) {
    return verbs.stick_show(*text(args, "client_id"), text(args, "pool"));
}

Result<Json> set_stick(Verbs& verbs, const Json& args) {
    StickOrder order{*text(args, "client_id"), *text(args, "broker"), text(args, "pool"), std::nullopt};
    constexpr std::uint64_t longest = 1ULL << 40;  // seconds that no clock runs out of
    if (const auto ttl = count(args, "ttl")) order.ttl = std::chrono::seconds{std::min(*ttl, longest)};
    return verbs.stick_set(order);
}

Result<Json> clear_sticks(Verbs& verbs, const Json& args) {
    const StickClearance order{text(args, "client_id"), text(args, "broker"), text(args, "pool")};
    if (order.client_id && order.broker)
        return std::unexpected(
            Error{"a client and a broker are named", "name one of them, or say all", EINVAL});
    if (!order.client_id && !order.broker && !flag(args, "all"))
        return std::unexpected(
            Error{"nothing says what to forget", "name a client id or a broker, or say all", EINVAL});
    return verbs.stick_clear(order);
}

constexpr Parameter limit_parameter{"limit", Kind::count, "at most so many, 0 for all"};
constexpr Parameter pool_parameter{"pool", Kind::text, "the pool, where several have a broker of that name"};
constexpr Parameter broker_parameter{"broker", Kind::text, "the broker's name", true};
constexpr Parameter rate_parameter{"rate", Kind::number,
                                   "connections that are ended in a second; 0: none is ended"};
constexpr Parameter deadline_parameter{"deadline", Kind::count, "seconds until all of them are ended"};

constexpr std::array client_or_broker{
    Parameter{"client_id", Kind::text, "only of this client; empty: clients without an id"},
    Parameter{"broker", Kind::text, "only to this broker"}};
constexpr std::array flow_filters{client_or_broker[0], client_or_broker[1], limit_parameter};
constexpr std::array kill_filters{client_or_broker[0], client_or_broker[1], limit_parameter,
                                  Parameter{"all", Kind::flag, "all of them, where no filter is given"}};
constexpr std::array lookup_parameters{Parameter{"client_id", Kind::text, "the client id", true},
                                       Parameter{"pool", Kind::text, "in this pool"}};
constexpr std::array trace_parameters{
    Parameter{"client_id", Kind::text, "only of this client"},
    Parameter{"source", Kind::text, "only of clients at this IP address"},
    Parameter{"from", Kind::count, "events from this number on; 0: those that happen from now on"}};
constexpr std::array one_broker{broker_parameter, pool_parameter};
constexpr std::array add_parameters{
    broker_parameter, Parameter{"address", Kind::text, "its address and port", true},
    Parameter{"pool", Kind::text, "the pool, where there are several"},
    Parameter{"weight", Kind::count, "its share against the others, 1 to 65535"},
    Parameter{"max_connections", Kind::count, "connections that it may have, 0: no limit"}};
constexpr std::array weight_parameters{broker_parameter, pool_parameter,
                                       Parameter{"value", Kind::count, "the weight, 1 to 65535", true}};
constexpr std::array maxconn_parameters{broker_parameter, pool_parameter,
                                        Parameter{"value", Kind::count, "connections, 0: no limit", true}};
constexpr std::array drain_parameters{broker_parameter, pool_parameter, rate_parameter, deadline_parameter};
constexpr std::array rebalance_parameters{
    Parameter{"pool", Kind::text, "the pool; otherwise all of them"},
    Parameter{"tolerance", Kind::number, "above the fair share, as a part of it: 0.05"}, rate_parameter,
    deadline_parameter};
constexpr std::array cancel_parameters{
    Parameter{"broker", Kind::text, "whose drain; without it: rebalancing"}, pool_parameter};

constexpr std::array stick_filters{Parameter{"pool", Kind::text, "only of this pool"},
                                   Parameter{"broker", Kind::text, "only of this broker"}, limit_parameter};
constexpr std::array stick_set_parameters{
    Parameter{"client_id", Kind::text, "the client id", true}, broker_parameter,
    Parameter{"pool", Kind::text, "the pool, where there are several"},
    Parameter{"ttl", Kind::count, "seconds; otherwise as long as the pool remembers anybody"}};
constexpr std::array stick_clear_parameters{
    Parameter{"client_id", Kind::text, "this client"}, Parameter{"broker", Kind::text, "all of this broker"},
    Parameter{"pool", Kind::text, "of this pool"},
    Parameter{"all", Kind::flag, "all of them, where nothing else is named"}};

constexpr std::array verbs_by_name{
    Verb{"status", "GET", "status", "what the daemon does right now", {}, plain<&Verbs::status>},
    Verb{"ready", "GET", "", "whether every listener accepts", {}, ready},
    Verb{"flows", "GET", "flows", "the connections that the kernel forwards", flow_filters,
         filtered<&Verbs::flows>},
    Verb{"flows_count", "GET", "flows/count", "how many there are", client_or_broker,
         filtered<&Verbs::flows_count>},
    Verb{"flows_kill", "POST", "flows/kill", "ends them, with a reset to both ends", kill_filters, kill},
    Verb{"lookup", "GET", "lookup", "the broker that a client has or would get, and why", lookup_parameters,
         lookup},
    Verb{"trace", "GET", "", "what happens to chosen clients, for who asks again and again", trace_parameters,
         trace},
    Verb{"brokers", "GET", "brokers", "the brokers of all pools", {}, plain<&Verbs::brokers>},
    Verb{"brokers_add", "POST", "brokers/add", "adds a broker", add_parameters, add},
    Verb{"brokers_remove", "POST", "brokers/remove", "takes a broker out of its pool; its clients stay",
         one_broker, named<&Verbs::brokers_remove>},
    Verb{"brokers_enable", "POST", "brokers/enable", "lets a drained broker have new clients again",
         one_broker, named<&Verbs::brokers_enable>},
    Verb{"brokers_weight", "POST", "brokers/weight", "changes a broker's weight", weight_parameters,
         set<&Verbs::brokers_weight>},
    Verb{"brokers_maxconn", "POST", "brokers/maxconn", "changes how many connections a broker may have",
         maxconn_parameters, set<&Verbs::brokers_maxconn>},
    Verb{"brokers_drain", "POST", "brokers/drain",
         "keeps new clients away and ends the connections that are there, at a pace", drain_parameters,
         drain},
    Verb{"brokers_rebalance", "POST", "brokers/rebalance",
         "moves what brokers have above their share to the others, at a pace", rebalance_parameters,
         rebalance},
    Verb{"brokers_cancel", "POST", "brokers/cancel", "stops a drain or rebalancing", cancel_parameters,
         cancel},
    Verb{"brokers_moves",
         "GET",
         "brokers/moves",
         "drains and rebalancing, and how far they are",
         {},
         plain<&Verbs::brokers_moves>},
    Verb{"stick_list", "GET", "stick", "what sticky pools remember", stick_filters, list_sticks},
    Verb{"stick_show", "GET", "stick/show", "what is remembered of one client", lookup_parameters,
         show_stick},
    Verb{"stick_set", "POST", "stick/set", "has a client remembered at a broker", stick_set_parameters,
         set_stick},
    Verb{"stick_clear", "POST", "stick/clear", "forgets clients", stick_clear_parameters, clear_sticks},
    Verb{"reload", "POST", "reload", "reads the configuration again", {}, plain<&Verbs::reload>}};

bool is_of(Kind kind, const Json& value) {
    switch (kind) {
        case Kind::text:
            return value.is_string();
        case Kind::count:
            return value.is_number_unsigned();
        case Kind::number:
            return value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() >= 0;
        case Kind::flag:
            return value.is_boolean();
    }
    return false;
}

std::unexpected<Error> wrong(std::string what) {
    return std::unexpected(Error{std::move(what), "see docs/CLI.md for what each verb takes", EINVAL});
}

}  // namespace

std::string_view kind_sentence(Kind kind) {
    switch (kind) {
        case Kind::text:
            return "a string";
        case Kind::count:
            return "a whole number, 0 or more";
        case Kind::number:
            return "a number, 0 or more";
        case Kind::flag:
            break;
    }
    return "true or false";
}

std::span<const Verb> verb_table() {
    return verbs_by_name;
}

Result<void> check_arguments(const Verb& verb, const Json& args) {
    if (!args.is_object()) return wrong("\"args\" must be an object");
    for (const auto& [name, value] : args.items()) {
        const Parameter* known = nullptr;
        for (const auto& parameter : verb.parameters)
            if (parameter.name == name) known = &parameter;
        if (!known) return wrong("unknown argument " + json_text(Json(name.substr(0, 80))));
        if (!value.is_null() && !is_of(known->kind, value))
            return wrong("\"" + name + "\" must be " + std::string(kind_sentence(known->kind)));
    }
    for (const auto& parameter : verb.parameters) {
        if (!parameter.required) continue;
        const auto found = args.find(std::string(parameter.name));
        if (found == args.end() || found->is_null())
            return wrong(std::string(verb.name) + " needs a " + std::string(parameter.name));
    }
    return {};
}

}  // namespace limpet::admin
