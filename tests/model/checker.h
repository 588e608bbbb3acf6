// SPDX-License-Identifier: Apache-2.0
// An explicit-state checker: every state that can be reached is visited once. Two kinds of claims: a state or
// a step that must not be (safety), and a state that must stay reachable from everywhere (nothing is ever
// stuck: AG EF in the language of temporal logic).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace limpet::model {

/// What an exploration came to; `broken` is empty where everything holds.
struct Verdict {
    std::string broken;
    std::vector<std::string> trace;  ///< the steps that lead there, in order
    std::size_t states = 0;
    std::size_t steps = 0;
};

/// `State` is plain bytes without padding, `Model` has:
///     void successors(const State&, Steps&)  calls Steps::take for each step, Steps::fail for one that must
///     not be bool settled(const State&)             what must be reachable from everywhere
template <class State>
class Checker {
    static_assert(std::is_trivially_copyable_v<State> && std::has_unique_object_representations_v<State>);

  public:
    explicit Checker(std::size_t most) : most_(most), table_(std::size_t{1} << 16, 0) {}

    template <class Model>
    Verdict run(Model& model, const State& first) {
        add(first, 0, "begin");
        for (std::size_t at = 0; at < states_.size() && verdict_.broken.empty(); ++at) {
            current_ = static_cast<std::uint32_t>(at);
            const State state = states_[at];  // the vector grows
            model.successors(state, *this);
            if (states_.size() > most_) fail("more states than this model may have", "");
        }
        if (verdict_.broken.empty()) find_stuck(model);
        verdict_.states = states_.size();
        verdict_.steps = edges_.size();
        return verdict_;
    }

    void take(const State& next, const char* label) {
        const auto to = add(next, current_, label);
        if (to != current_) edges_.emplace_back(to, current_);
    }

    void fail(const std::string& what, const char* label) {
        if (!verdict_.broken.empty()) return;
        verdict_.broken = what;
        tell(current_);
        verdict_.trace.emplace_back(label);
    }

  private:
    struct Origin {
        std::uint32_t from;
        const char* label;
    };

    static std::uint64_t hash(const State& state) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(&state);
        std::uint64_t value = 0x9e3779b97f4a7c15ULL;
        std::size_t at = 0;
        for (; at + 8 <= sizeof state; at += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes + at, 8);
            value = (value ^ word) * 0xff51afd7ed558ccdULL;
            value ^= value >> 32;
        }
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + at, sizeof state - at);
        value = (value ^ word) * 0xff51afd7ed558ccdULL;
        return value ^ value >> 29;
    }

    std::uint32_t add(const State& state, std::uint32_t from, const char* label) {
        if (states_.size() * 2 > table_.size()) grow();
        auto slot = hash(state) & (table_.size() - 1);
        while (table_[slot] != 0) {
            if (std::memcmp(&states_[table_[slot] - 1], &state, sizeof state) == 0) return table_[slot] - 1;
            slot = (slot + 1) & (table_.size() - 1);
        }
        states_.push_back(state);
        origins_.push_back({from, label});
        table_[slot] = static_cast<std::uint32_t>(states_.size());
        return table_[slot] - 1;
    }

    void grow() {
        table_.assign(table_.size() * 4, 0);
        for (std::size_t at = 0; at < states_.size(); ++at) {
            auto slot = hash(states_[at]) & (table_.size() - 1);
            while (table_[slot] != 0) slot = (slot + 1) & (table_.size() - 1);
            table_[slot] = static_cast<std::uint32_t>(at + 1);
        }
    }

    void tell(std::uint32_t state) {
        std::vector<std::string> back;
        for (; state != 0; state = origins_[state].from) back.emplace_back(origins_[state].label);
        verdict_.trace.assign(back.rbegin(), back.rend());
    }

    /// Backwards from what is settled: what is not met cannot get there.
    template <class Model>
    void find_stuck(Model& model) {
        std::vector<std::uint32_t> begin(states_.size() + 1, 0);
        for (const auto& [to, from] : edges_) ++begin[to + 1];
        for (std::size_t at = 1; at < begin.size(); ++at) begin[at] += begin[at - 1];
        std::vector<std::uint32_t> before(edges_.size());
        auto next = begin;
        for (const auto& [to, from] : edges_) before[next[to]++] = from;
        std::vector<std::uint8_t> met(states_.size(), 0);
        std::vector<std::uint32_t> open;
        for (std::uint32_t at = 0; at < states_.size(); ++at)
            if (model.settled(states_[at])) {
                met[at] = 1;
                open.push_back(at);
            }
        while (!open.empty()) {
            const auto at = open.back();
            open.pop_back();
            for (auto edge = begin[at]; edge < begin[at + 1]; ++edge)
                if (met[before[edge]] == 0) {
                    met[before[edge]] = 1;
                    open.push_back(before[edge]);
                }
        }
        for (std::uint32_t at = 0; at < states_.size(); ++at)
            if (met[at] == 0) {
                verdict_.broken =
                    "from here on nothing leads to an end in which both ends have what is theirs";
                tell(at);
                return;
            }
    }

    std::size_t most_;
    std::vector<State> states_;
    std::vector<Origin> origins_;
    std::vector<std::uint32_t> table_;  // index + 1; 0: empty
    std::vector<std::pair<std::uint32_t, std::uint32_t>> edges_;
    std::uint32_t current_ = 0;
    Verdict verdict_;
};

}  // namespace limpet::model
