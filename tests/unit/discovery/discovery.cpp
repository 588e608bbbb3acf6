// SPDX-License-Identifier: Apache-2.0
#include "discovery/discovery.h"

#include <gtest/gtest.h>

namespace limpet::discovery {
namespace {

// A daemon that cannot start ends it before its thread came to wait; a stop that is lost there is one for
// ever.
TEST(Discovery, ends_at_once_however_young_it_is) {
    for (int round = 0; round < 500; ++round)
        const Discovery discovery([](const std::string&) { return std::vector<Found>{}; }, {});
}

}  // namespace
}  // namespace limpet::discovery
