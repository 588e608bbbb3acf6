// SPDX-License-Identifier: Apache-2.0
// The HTTP door: health, readiness, metrics and the API.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>

#include "admin/door.h"

namespace limpet::admin {

class HttpServer {
  public:
    HttpServer(asio::io_context& io, Verbs& verbs, Limits limits);
    [[nodiscard]] Result<void> listen(const std::string& endpoint);
    [[nodiscard]] std::optional<Endpoint> address() const;
    void stop();

  private:
    asio::io_context& io_;
    Verbs& verbs_;
    Limits limits_;
    std::shared_ptr<Door<asio::ip::tcp>> door_;
};

}  // namespace limpet::admin
