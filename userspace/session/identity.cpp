// SPDX-License-Identifier: Apache-2.0
#include "session/identity.h"

#include "base/bytes.h"
#include "mqtt/utf8.h"
#include "session/session.h"

namespace limpet::session {
namespace {

constexpr std::size_t longest_field = 65'535;  // bytes of a string in MQTT (MQTT-5.0 1.5.4)

/// Fills in one template at a time; the first that cannot be filled in is the misfit.
class Writer {
  public:
    Writer(const TextTemplate::Lookup& known, const mqtt::Connect& connect)
        : known_(known), connect_(connect) {}

    [[nodiscard]] std::optional<std::string> write(const TextTemplate& text, const char* what) {
        auto written = text.render([this](std::string_view name) { return stands_for(name); });
        if (!written)
            return fail(std::string(what) + " needs {" + written.error() + "}, which this client has not");
        if (written->size() > longest_field || !mqtt::is_mqtt_string(as_bytes(*written)))
            return fail(std::string(what) + " would not be a string of MQTT");
        return std::move(*written);
    }

    [[nodiscard]] std::optional<Misfit>& misfit() { return misfit_; }

  private:
    /// What is empty identifies nobody.
    [[nodiscard]] std::optional<std::string> stands_for(std::string_view name) const {
        std::optional<std::string> value;
        if (name == "client_id")
            value = connect_.client_id;
        else if (name == "username")
            value = connect_.user_name;
        else
            value = known_(name);
        return value && !value->empty() ? value : std::nullopt;
    }

    std::nullopt_t fail(std::string detail) {
        misfit_ = Misfit{.detail = std::move(detail)};
        return std::nullopt;
    }

    const TextTemplate::Lookup& known_;
    const mqtt::Connect connect_;  // as the client wrote it, whatever is replaced meanwhile
    std::optional<Misfit> misfit_;
};

}  // namespace

std::optional<Misfit> apply(const Identity& rules, const TextTemplate::Lookup& known,
                            mqtt::Connect& connect) {
    Writer writer(known, connect);
    if (rules.required_client_id) {
        const auto wanted = writer.write(*rules.required_client_id, "the required client id");
        if (!wanted) return writer.misfit();
        if (*wanted != connect.client_id)
            return Misfit{.reason = LIMPET_REASON_CLOSE_CLIENT_ID_NOT_OWN,
                          .refusal = mqtt::Refusal::client_id_rejected,
                          .detail = "the client id is not \"" + *wanted + "\""};
    }
    const auto wants = [&](const std::optional<TextTemplate>& text, bool said) {
        return text && (rules.replace || !said);
    };
    if (wants(rules.client_id, !connect.client_id.empty())) {
        auto written = writer.write(*rules.client_id, "the client id");
        if (!written) return writer.misfit();
        connect.client_id = std::move(*written);
    }
    if (wants(rules.user_name, connect.user_name.has_value())) {
        auto written = writer.write(*rules.user_name, "the user name");
        if (!written) return writer.misfit();
        connect.user_name = std::move(*written);
    }
    if (wants(rules.password, connect.password.has_value())) {
        auto written = writer.write(*rules.password, "the password");
        if (!written) return writer.misfit();
        connect.password.emplace(written->begin(), written->end());
        // 3.x: no password without a user name (MQTT-3.1.2-22); it may be empty.
        if (!connect.user_name && connect.version != mqtt::Version::v5) connect.user_name.emplace();
    }
    return std::nullopt;
}

const std::string* Session::certificate_name() const {
    const auto& tls = handshake_->origin.tls;
    constexpr std::uint8_t certificate =
        proxy_protocol::client_certificate_on_connection | proxy_protocol::client_certificate_in_session;
    if (!tls || (tls->client & certificate) == 0 || tls->verify != 0) return nullptr;
    return tls->common_name ? &*tls->common_name : nullptr;
}

/// CONNECT as the broker is to read it. False: the client does not fit, and was told.
bool Session::identify() {
    auto& shake = *handshake_;
    const auto known = [&](std::string_view name) -> std::optional<std::string> {
        if (const auto* cn = certificate_name(); cn && name == "cn") return *cn;
        if (name == "sni") return shake.origin.authority;
        if (name == "address") return client_address().address.text();
        return std::nullopt;
    };
    auto& connect = shake.connect;
    if (const auto misfit = apply(listener_->identity, known, connect)) {
        refuse(misfit->reason, misfit->refusal, misfit->detail);
        return false;
    }
    if (!listener_->identity.rewrites()) return true;
    const auto written = mqtt::write_connect(connect);
    if (written.empty()) {
        refuse(LIMPET_REASON_CLOSE_TOO_LARGE, mqtt::Refusal::packet_too_large);
        return false;
    }
    auto& bytes = shake.from_client;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(shake.connect_size));
    bytes.insert(bytes.begin(), written.begin(), written.end());
    return true;
}

}  // namespace limpet::session
