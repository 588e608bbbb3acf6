// SPDX-License-Identifier: Apache-2.0
// The fields of the message and the three extensions that are asked.
#include <algorithm>
#include <optional>

#include "tls_hello/client_hello.h"

namespace limpet::tls_hello {
namespace {

constexpr std::size_t random_size = 32;  // RFC 8446 4.1.2
constexpr std::size_t longest_session_id = 32;
constexpr std::uint16_t extension_server_name = 0;          // RFC 6066 3
constexpr std::uint16_t extension_application_layer = 16;   // RFC 7301 3.1
constexpr std::uint16_t extension_supported_versions = 43;  // RFC 8446 4.2.1
constexpr std::uint8_t name_type_host = 0;
constexpr std::size_t longest_host_name = 255;

/// Takes fields off the front. Once one does not fit, it and all that follow are empty, and fits() says so.
class Cursor {
  public:
    explicit Cursor(Bytes bytes) : rest_(bytes) {}

    [[nodiscard]] bool fits() const { return fits_; }
    [[nodiscard]] bool at_end() const { return rest_.empty(); }

    Bytes take(std::size_t size) {
        if (size > rest_.size()) {
            fits_ = false;
            rest_ = {};
            return {};
        }
        const Bytes taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    std::uint8_t number8() {
        const Bytes bytes = take(1);
        return bytes.empty() ? std::uint8_t{0} : bytes[0];
    }
    std::uint16_t number16() {
        const Bytes bytes = take(2);
        return bytes.empty() ? std::uint16_t{0} : static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
    }
    /// Vectors with a length of one or two bytes in front (RFC 8446 3.4).
    Bytes vector8() { return take(number8()); }
    Bytes vector16() { return take(number16()); }

  private:
    Bytes rest_;
    bool fits_ = true;
};

/// RFC 8701: 0x0A0A, 0x1A1A … 0xFAFA.
bool is_grease(std::uint16_t value) {
    return (value & 0x0F0F) == 0x0A0A && value >> 8 == (value & 0xFF);
}

bool is_grease(Bytes name) {
    return name.size() == 2 && is_grease(static_cast<std::uint16_t>(name[0] << 8 | name[1]));
}

/// Exactly one host name. RFC 6066 allows one name of each type, but no second type can ever come, because
/// nobody could skip it (OpenSSL 3 judges so too). Whether the name is well-formed is for the routes to say;
/// only what cannot stand in a log is refused.
Fault read_server_name(Bytes data, ClientHello& into) {
    Cursor extension(data);
    Cursor list(extension.vector16());
    const std::uint8_t type = list.number8();
    const Bytes name = list.vector16();
    if (!extension.fits() || !extension.at_end() || !list.fits() || !list.at_end()) return Fault::server_name;
    if (type != name_type_host || name.empty() || name.size() > longest_host_name) return Fault::server_name;
    if (!std::ranges::all_of(name, [](std::uint8_t byte) { return byte > 0x20 && byte < 0x7F; }))
        return Fault::server_name;
    into.server_name = as_text(name);
    for (char& letter : into.server_name)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return Fault::none;
}

Fault read_application(Bytes data, ClientHello& into) {
    Cursor extension(data);
    Cursor list(extension.vector16());
    if (!extension.fits() || !extension.at_end() || list.at_end()) return Fault::application_list;
    while (!list.at_end()) {
        const Bytes name = list.vector8();
        if (!list.fits() || name.empty()) return Fault::application_list;
        if (!is_grease(name)) into.application.emplace_back(as_text(name));
    }
    return Fault::none;
}

Fault read_versions(Bytes data, ClientHello& into) {
    Cursor extension(data);
    Cursor list(extension.vector8());
    if (!extension.fits() || !extension.at_end() || list.at_end()) return Fault::version_list;
    while (!list.at_end()) {
        const std::uint16_t version = list.number16();
        if (!list.fits()) return Fault::version_list;
        if (!is_grease(version)) into.versions.push_back(version);
    }
    return Fault::none;
}

struct Extension {
    std::uint16_t type;
    Fault (*read)(Bytes data, ClientHello& into);
};

constexpr std::array extensions_that_are_read{
    Extension{extension_server_name, read_server_name},
    Extension{extension_application_layer, read_application},
    Extension{extension_supported_versions, read_versions},
};

Fault read_extensions(Bytes bytes, ClientHello& into) {
    std::array<bool, extensions_that_are_read.size()> seen{};
    Cursor extensions(bytes);
    while (!extensions.at_end()) {
        const std::uint16_t type = extensions.number16();
        const Bytes data = extensions.vector16();
        if (!extensions.fits()) return Fault::malformed;
        const auto* extension = std::ranges::find(extensions_that_are_read, type, &Extension::type);
        if (extension == extensions_that_are_read.end()) continue;
        bool& before = seen[static_cast<std::size_t>(extension - extensions_that_are_read.begin())];
        if (before) return Fault::duplicate_extension;
        before = true;
        if (const Fault fault = extension->read(data, into); fault != Fault::none) return fault;
    }
    return Fault::none;
}

}  // namespace

std::expected<ClientHello, Fault> read_content(Bytes body) {
    ClientHello hello;
    Cursor fields(body);
    hello.legacy_version = fields.number16();
    fields.take(random_size);
    const Bytes session_id = fields.vector8();
    const Bytes cipher_suites = fields.vector16();
    const Bytes compression_methods = fields.vector8();
    // Before TLS 1.3 there may be no extensions at all (RFC 5246 7.4.1.2).
    const Bytes extensions = fields.at_end() ? Bytes{} : fields.vector16();
    if (!fields.fits() || !fields.at_end()) return std::unexpected(Fault::malformed);
    if (hello.legacy_version >> 8 != 3 || session_id.size() > longest_session_id || cipher_suites.empty() ||
        cipher_suites.size() % 2 != 0 || compression_methods.empty())
        return std::unexpected(Fault::malformed);
    if (const Fault fault = read_extensions(extensions, hello); fault != Fault::none)
        return std::unexpected(fault);
    return hello;
}

}  // namespace limpet::tls_hello
