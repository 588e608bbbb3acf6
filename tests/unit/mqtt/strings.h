// SPDX-License-Identifier: Apache-2.0
// Strings that MQTT allows and such that it does not, for every place where it asks for UTF-8.
#pragma once

#include <array>
#include <string_view>

namespace limpet::mqtt::test {

struct Sample {
    std::string_view sentence;
    std::string_view value;
};

using namespace std::string_view_literals;

inline constexpr std::array good_strings{
    Sample{"plain ASCII", "sensor-17"sv},
    Sample{"a space", " "sv},
    Sample{"two bytes", "\xC3\xA9"sv},
    Sample{"the first of two bytes, U+0080", "\xC2\x80"sv},
    Sample{"three bytes", "\xE6\xB8\xAC"sv},
    Sample{"the first of three bytes, U+0800", "\xE0\xA0\x80"sv},
    Sample{"last before the surrogates, U+D7FF", "\xED\x9F\xBF"sv},
    Sample{"first behind the surrogates, U+E000", "\xEE\x80\x80"sv},
    Sample{"four bytes", "\xF0\x9F\x90\x9A"sv},
    Sample{"the first of four bytes, U+10000", "\xF0\x90\x80\x80"sv},
    Sample{"the last of all, U+10FFFF", "\xF4\x8F\xBF\xBF"sv},
    Sample{"a byte order mark, which is kept (MQTT-1.5.3-3)",
           "\xEF\xBB\xBF"
           "a"sv},
    Sample{"a byte order mark in the middle",
           "a\xEF\xBB\xBF"
           "b"sv},
    Sample{"a control character, discouraged only",
           "a\x01"
           "b"sv},
    Sample{"DEL", "\x7F"sv},
    Sample{"a noncharacter, discouraged only", "\xEF\xBF\xBF"sv},
    Sample{"a decomposed letter, which is not normalised", "e\xCC\x81"sv},
};

inline constexpr std::array bad_strings{
    Sample{"NUL alone", "\0"sv},
    Sample{"NUL in the middle", "a\0b"sv},
    Sample{"NUL at the end", "ab\0"sv},
    Sample{"a continuation byte alone", "\x80"sv},
    Sample{"a continuation byte behind ASCII", "a\xBF"sv},
    Sample{"overlong NUL, as Java writes it", "\xC0\x80"sv},
    Sample{"overlong slash of two bytes", "\xC0\xAF"sv},
    Sample{"overlong of two bytes, last", "\xC1\xBF"sv},
    Sample{"overlong slash of three bytes", "\xE0\x80\xAF"sv},
    Sample{"overlong of three bytes, last", "\xE0\x9F\xBF"sv},
    Sample{"overlong of four bytes", "\xF0\x80\x80\xAF"sv},
    Sample{"overlong of four bytes, last", "\xF0\x8F\xBF\xBF"sv},
    Sample{"first high surrogate", "\xED\xA0\x80"sv},
    Sample{"last low surrogate", "\xED\xBF\xBF"sv},
    Sample{"a surrogate pair (CESU-8)", "\xED\xA0\xBD\xED\xB0\x9A"sv},
    Sample{"above U+10FFFF", "\xF4\x90\x80\x80"sv},
    Sample{"first byte F5", "\xF5\x80\x80\x80"sv},
    Sample{"first byte FF", "\xFF"sv},
    Sample{"five bytes", "\xF8\x88\x80\x80\x80"sv},
    Sample{"two bytes cut short", "\xC3"sv},
    Sample{"three bytes cut short", "\xE6\xB8"sv},
    Sample{"four bytes cut short", "\xF0\x9F\x90"sv},
    Sample{"cut short by ASCII", "\xC3(bc"sv},
    Sample{"third byte missing", "\xE6\xB8(c"sv},
    Sample{"fourth byte missing", "\xF0\x9F\x90(c"sv},
    Sample{"Latin-1", "caf\xE9"sv},
};

}  // namespace limpet::mqtt::test
