// SPDX-License-Identifier: Apache-2.0
#include "tls/openssl.h"

namespace limpet::tls {

std::string take_problem() {
    const auto code = ERR_peek_last_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    if (const auto* reason = ERR_reason_error_string(code)) return reason;
    char text[256];
    ERR_error_string_n(code, text, sizeof text);
    return text;
}

}  // namespace limpet::tls
