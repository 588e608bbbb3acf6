// SPDX-License-Identifier: Apache-2.0
// The fields of the message and the extensions that are asked.
#include "hellos.h"

namespace limpet::tls_hello::test {
namespace {

TEST(Fields, there_may_be_no_extensions_at_all) {
    Sketch sketch;
    sketch.with_extensions = false;
    sketch.version = {0x03, 0x01};
    EXPECT_EQ(expect_valid(records(sketch.message())).legacy_version, 0x0301);
    sketch.with_extensions = true;
    expect_valid(records(sketch.message()));
}

TEST(Fields, must_fit) {
    const auto broken = [](auto change) {
        Sketch sketch;
        change(sketch);
        expect_invalid(records(sketch.message()), Fault::malformed);
    };
    broken([](Sketch& s) { s.version = {0x02, 0x00}; });
    broken([](Sketch& s) { s.session_id = vector8(Buffer(33)); });
    broken([](Sketch& s) { s.cipher_suites = vector16({}); });
    broken([](Sketch& s) { s.cipher_suites = vector16({0x13, 0x01, 0x13}); });
    broken([](Sketch& s) { s.compression_methods = vector8({}); });
    broken([](Sketch& s) { s.behind = {0}; });
    broken([](Sketch& s) { s.extensions = {0}; });
    broken([](Sketch& s) { s.extensions = {0, 21}; });
    broken([](Sketch& s) { s.extensions = {0, 21, 0, 1}; });
    broken([](Sketch& s) { s.extensions = extension(21, {}) + Buffer{0, 21, 0}; });
    const Buffer body = Sketch{}.body();
    for (std::size_t length = 0; length < body.size(); ++length) {
        const Buffer cut(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(length));
        if (length == body.size() - 2) continue;  // without extensions, and right
        expect_invalid(records(Buffer{1, 0} + vector16(cut)), Fault::malformed);
    }
}

TEST(ServerName, is_given_in_lower_case) {
    EXPECT_EQ(expect_valid(with_extensions(sni(host_name("B1.Example.COM")))).server_name, "b1.example.com");
    EXPECT_EQ(expect_valid(with_extensions(sni(host_name("_a-b.example.")))).server_name, "_a-b.example.");
    EXPECT_EQ(expect_valid(with_extensions(sni(host_name(std::string(255, 'x'))))).server_name,
              std::string(255, 'x'));
    EXPECT_EQ(expect_valid(with_extensions(extension(21, {}))).server_name, "");
}

TEST(ServerName, is_exactly_one_host_name) {
    for (const Buffer& bad : {
             extension(0, {}),
             extension(0, {0}),
             sni({}),
             sni(host_name("")),
             sni(host_name(std::string(256, 'x'))),
             sni(host_name("a b")),
             sni(host_name("a\nb")),
             sni(host_name(std::string_view("a\0b", 3))),
             sni(host_name("b\xC3\xBC.example")),
             sni(host_name("a\x7F")),
             sni(host_name("a") + host_name("b")),
             sni(Buffer{1} + vector16(text("a"))),
             sni(host_name("a") + Buffer{0}),
             sni(Buffer{0, 0, 2, 'a'}),
             extension(0, vector16(host_name("a")) + Buffer{0}),
         })
        expect_invalid(with_extensions(bad), Fault::server_name);
}

TEST(Application, is_given_in_order) {
    const ClientHello hello = expect_valid(with_extensions(
        alpn(vector8(text("x-amzn-mqtt-ca")) + vector8(text("mqtt")) + vector8(Buffer(255, 1)))));
    EXPECT_EQ(hello.application,
              (std::vector<std::string>{"x-amzn-mqtt-ca", "mqtt", std::string(255, '\1')}));
}

TEST(Application, must_be_names_that_fit) {
    for (const Buffer& bad : {
             extension(16, {}),
             alpn({}),
             alpn({0}),
             alpn(vector8(text("mqtt")) + Buffer{0}),
             alpn({5, 'm', 'q', 't', 't'}),
             extension(16, vector16(vector8(text("mqtt"))) + Buffer{0}),
             extension(16, {0, 9, 4, 'm', 'q', 't', 't'}),
         })
        expect_invalid(with_extensions(bad), Fault::application_list);
}

TEST(Versions, are_given_in_order_and_must_fit) {
    const auto versions = [](const Buffer& list) { return extension(43, vector8(list)); };
    EXPECT_EQ(expect_valid(with_extensions(versions({3, 4, 3, 3}))).versions,
              (std::vector<std::uint16_t>{0x0304, 0x0303}));
    for (const Buffer& bad : {extension(43, {}), versions({}), versions({3}), versions({3, 4, 3}),
                              extension(43, {2, 3, 4, 0}), extension(43, {4, 3, 4})})
        expect_invalid(with_extensions(bad), Fault::version_list);
}

TEST(Grease, is_left_out_everywhere) {
    const ClientHello hello = expect_valid(
        with_extensions(extension(0x1A1A, {}) + extension(0x1A1A, {0}) +
                        extension(43, vector8({0x0A, 0x0A, 3, 4, 0xFA, 0xFA, 0x1A, 0x2A})) +
                        alpn(vector8({0x2A, 0x2A}) + vector8(text("mqtt")) + vector8({0x2A, 0x3A})) +
                        sni(host_name("a.example")) + extension(0xFAFA, {0})));
    EXPECT_EQ(hello.versions, (std::vector<std::uint16_t>{0x0304, 0x1A2A}));
    EXPECT_EQ(hello.application, (std::vector<std::string>{"mqtt", "\x2A\x3A"}));
    EXPECT_EQ(hello.server_name, "a.example");
}

TEST(Extensions, that_are_read_may_come_once) {
    const Buffer once = sni(host_name("a.example")) + alpn(vector8(text("mqtt"))) + extension(43, {2, 3, 4});
    for (const Buffer& again :
         {sni(host_name("b.example")), alpn(vector8(text("mqtt"))), extension(43, {2, 3, 4})})
        expect_invalid(with_extensions(once + again), Fault::duplicate_extension);
}

}  // namespace
}  // namespace limpet::tls_hello::test
