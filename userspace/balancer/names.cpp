// SPDX-License-Identifier: Apache-2.0
// The names under which configuration, log and command line know the values of balancer.h.
#include <array>
#include <utility>

#include "balancer/balancer.h"

namespace limpet::balancer {
namespace {

template <class Value, std::size_t count>
using Names = std::array<std::pair<Value, std::string_view>, count>;

constexpr Names<Strategy, 6> strategies{{{Strategy::sticky, "sticky"},
                                         {Strategy::hash, "hash"},
                                         {Strategy::least_connections, "least_connections"},
                                         {Strategy::round_robin, "round_robin"},
                                         {Strategy::random, "random"},
                                         {Strategy::power_of_two, "power_of_two"}}};
constexpr Names<Key, 5> keys{{{Key::client_id, "client_id"},
                              {Key::username, "username"},
                              {Key::source_ip, "source_ip"},
                              {Key::certificate_cn, "certificate_cn"},
                              {Key::sni, "sni"}}};
constexpr Names<BrokerState, 3> states{
    {{BrokerState::up, "up"}, {BrokerState::down, "down"}, {BrokerState::draining, "draining"}}};
constexpr Names<Why, 8> whys{{{Why::remembered, "remembered"},
                              {Why::hashed, "hashed"},
                              {Why::hashed_overflow, "hashed_overflow"},
                              {Why::least_connections, "least_connections"},
                              {Why::round_robin, "round_robin"},
                              {Why::random, "random"},
                              {Why::power_of_two, "power_of_two"},
                              {Why::last_resort, "last_resort"}}};

template <class Value, std::size_t count>
std::string_view name_of(const Names<Value, count>& names, Value value) {
    for (const auto& [known, name] : names)
        if (known == value) return name;
    return "unknown";
}

template <class Value, std::size_t count>
std::optional<Value> value_of(const Names<Value, count>& names, std::string_view name) {
    for (const auto& [value, known] : names)
        if (known == name) return value;
    return std::nullopt;
}

}  // namespace

std::string_view strategy_name(Strategy strategy) {
    return name_of(strategies, strategy);
}
std::optional<Strategy> strategy_from_name(std::string_view name) {
    return value_of(strategies, name);
}
std::string_view key_name(Key key) {
    return name_of(keys, key);
}
std::optional<Key> key_from_name(std::string_view name) {
    return value_of(keys, name);
}
std::string_view broker_state_name(BrokerState state) {
    return name_of(states, state);
}
std::string_view why_name(Why why) {
    return name_of(whys, why);
}

}  // namespace limpet::balancer
