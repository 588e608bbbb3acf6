// SPDX-License-Identifier: Apache-2.0
#include "base/reason.h"

namespace limpet {
namespace {

#define LIMPET_NAME(identifier, name, sentence) std::string_view(name),
constexpr std::array names{LIMPET_REASONS(LIMPET_NAME)};
#undef LIMPET_NAME
#define LIMPET_SENTENCE(identifier, name, sentence) std::string_view(sentence),
constexpr std::array sentences{LIMPET_REASONS(LIMPET_SENTENCE)};
#undef LIMPET_SENTENCE

static_assert(names.size() == LIMPET_REASON_COUNT && names.size() <= LIMPET_REASON_SLOTS);

}  // namespace

std::string_view reason_name(Reason reason) {
    const auto index = static_cast<std::size_t>(reason);
    return index < names.size() ? names[index] : "unknown";
}

std::string_view reason_sentence(Reason reason) {
    const auto index = static_cast<std::size_t>(reason);
    return index < sentences.size() ? sentences[index] : "a reason of another version";
}

}  // namespace limpet
