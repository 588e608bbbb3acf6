// SPDX-License-Identifier: Apache-2.0
// The sections [listener.tls] and [pool.tls].
#pragma once

#include "config/section.h"

namespace limpet::config {

/// `used`: the listener speaks TLS, so that what TLS cannot do without must be there.
void read_listener_tls(Section& section, ListenerTls& tls, bool used);
void read_pool_tls(Section& section, PoolTls& tls);

}  // namespace limpet::config
