// SPDX-License-Identifier: Apache-2.0
#include "admin/server.h"

#include "admin/control.h"
#include "admin/http.h"

namespace limpet::admin {

struct Server::State {
    State(boost::asio::io_context& io, Verbs& verbs, Limits limits)
        : control(io, verbs, limits), http(io, verbs, limits) {}
    ControlServer control;
    HttpServer http;
};

Server::Server(boost::asio::io_context& io, Verbs& verbs, Limits limits)
    : state_(std::make_unique<State>(io, verbs, limits)) {}

Server::~Server() {
    stop();
}

Result<void> Server::listen_control(const std::string& path) {
    return state_->control.listen(path);
}

Result<void> Server::listen_http(const std::string& endpoint) {
    return state_->http.listen(endpoint);
}

std::optional<Endpoint> Server::http_address() const {
    return state_->http.address();
}

void Server::stop() {
    state_->control.stop();
    state_->http.stop();
}

}  // namespace limpet::admin
