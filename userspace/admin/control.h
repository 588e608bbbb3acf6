// SPDX-License-Identifier: Apache-2.0
// The control socket: one JSON request per line, one JSON answer per line.
#pragma once

#include <sys/types.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <memory>
#include <string>

#include "admin/door.h"

namespace limpet::admin {

class ControlServer {
  public:
    ControlServer(asio::io_context& io, Verbs& verbs, Limits limits);
    [[nodiscard]] Result<void> listen(const std::string& path);
    void stop();

  private:
    asio::io_context& io_;
    Verbs& verbs_;
    Limits limits_;
    std::shared_ptr<Door<asio::local::stream_protocol>> door_;
    std::string path_;
    dev_t device_ = 0;  // of our socket's inode: another daemon's is not ours to remove
    ino_t inode_ = 0;
};

}  // namespace limpet::admin
