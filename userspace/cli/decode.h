// SPDX-License-Identifier: Apache-2.0
// `limpet decode`: the bytes of one MQTT packet, or the beginning of one, as JSON.
#pragma once

#include <iosfwd>

namespace limpet::cli {

/// Reads the first packet from `input` (with `hex`: text of hexadecimal digits, white space ignored, 0x
/// before them allowed) and prints one JSON object, in one line. Raw input is read no further than the
/// packet's end. Returns the exit status: 0 complete, 3 incomplete, 1 invalid or not hexadecimal (which
/// stderr explains).
int decode(std::istream& input, std::ostream& output, bool hex);

}  // namespace limpet::cli
