// SPDX-License-Identifier: Apache-2.0
#include "base/text_template.h"

#include <gtest/gtest.h>

#include <array>

namespace limpet {
namespace {

constexpr std::array<std::string_view, 2> known{"cn", "sni"};

std::string rendered(std::string_view text) {
    return TextTemplate::parse(text, known)
        .value()
        .render(
            [](std::string_view name) { return std::optional<std::string>("<" + std::string(name) + ">"); })
        .value();
}

TEST(TextTemplate, replaces_names_and_keeps_the_rest) {
    EXPECT_EQ(rendered("device-{cn}@{sni}"), "device-<cn>@<sni>");
    EXPECT_EQ(rendered("{cn}{cn}"), "<cn><cn>");
    EXPECT_EQ(rendered("plain"), "plain");
    EXPECT_EQ(rendered(""), "");
    EXPECT_EQ(rendered("{{cn}} {{{cn}}}"), "{cn} {<cn>}");
}

TEST(TextTemplate, says_which_name_stands_for_nothing) {
    const auto text = TextTemplate::parse("{cn}/{sni}", known).value();
    const auto result = text.render(
        [](std::string_view name) { return name == "cn" ? std::optional<std::string>("x") : std::nullopt; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), "sni");
    EXPECT_TRUE(text.names("sni"));
    EXPECT_FALSE(text.names("client_id"));
}

TEST(TextTemplate, is_refused_with_unknown_names_and_odd_braces) {
    for (const auto* text : {"{", "}", "{cn", "cn}", "{}", "{CN}", "{san}", "{c{cn}n}", "{{cn}"})
        EXPECT_FALSE(TextTemplate::parse(text, known)) << text;
    EXPECT_EQ(TextTemplate::parse("x{san}", known).error().line(),
              "\"x{san}\" has {san}, which stands for nothing: write text, with any of {cn}, {sni} in it, "
              "and {{ or "
              "}} for a brace");
}

}  // namespace
}  // namespace limpet
