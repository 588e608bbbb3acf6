// SPDX-License-Identifier: Apache-2.0
#include "mqtt/wire.h"

#include "mqtt/utf8.h"

namespace limpet::mqtt {

Read<std::uint32_t> Reader::variable_integer() {
    const VariableInteger read = read_variable_integer(rest_);
    if (read.status == Status::incomplete) return Malformed("is cut short");
    if (read.status == Status::invalid) return Malformed("has a length of more than four bytes");
    if (!read.shortest) return Malformed("is not encoded in the fewest bytes (MQTT-1.5.5-1)");
    rest_ = rest_.subspan(read.length);
    return read.value;
}

Read<Bytes> Reader::field() {
    const auto length = number<std::uint16_t>();
    if (!length || *length > rest_.size()) return Malformed("is cut short");
    const Bytes field = rest_.first(*length);
    rest_ = rest_.subspan(*length);
    return field;
}

Read<std::string> Reader::string() {
    const auto bytes = field();
    if (!bytes) return Malformed(bytes.error());
    if (!is_mqtt_string(*bytes)) return Malformed("is not valid UTF-8, or has a NUL");
    return std::string(as_text(*bytes));
}

Read<std::vector<std::uint8_t>> Reader::binary() {
    const auto bytes = field();
    if (!bytes) return Malformed(bytes.error());
    return std::vector<std::uint8_t>(bytes->begin(), bytes->end());
}

void Writer::variable_integer(std::size_t value) {
    if (value > largest_variable_integer) fits_ = false;
    do {
        const auto low = static_cast<std::uint8_t>(value & 0x7F);
        value >>= 7;
        bytes_.push_back(value > 0 ? low | 0x80 : low);
    } while (value > 0);
}

void Writer::string(std::string_view text) {
    binary(as_bytes(text));
}

void Writer::binary(Bytes data) {
    if (data.size() > longest_field) {
        fits_ = false;
        return;
    }
    number(static_cast<std::uint16_t>(data.size()));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
}

void Writer::section(const Writer& content) {
    fits_ = fits_ && content.fits_;
    variable_integer(content.bytes_.size());
    bytes_.insert(bytes_.end(), content.bytes_.begin(), content.bytes_.end());
}

std::vector<std::uint8_t> Writer::packet(std::uint8_t first_byte) const {
    Writer whole;
    whole.number(first_byte);
    whole.section(*this);
    return whole.fits_ ? whole.bytes_ : std::vector<std::uint8_t>{};
}

}  // namespace limpet::mqtt
