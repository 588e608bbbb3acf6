// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/bytes.h"

namespace limpet {

/// Well-formed UTF-8 of RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF. NUL is a character.
[[nodiscard]] bool is_utf8(Bytes bytes);

}  // namespace limpet
