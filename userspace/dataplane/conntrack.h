// SPDX-License-Identifier: Apache-2.0
// Where the host tracks connections (nf_conntrack), it has an entry for each leg of ours and keeps it for
// days, as it never sees the end of a connection that left the host: a table that is full then, for all
// others. So entries of legs that have left are deleted.
#pragma once

#include <cstdint>

#include "base/endpoint.h"
#include "base/fd.h"

namespace limpet::dataplane {

/// Of the network namespace that the calling thread is in when it is made. Used on one thread.
class Conntrack {
  public:
    Conntrack();
    /// Looks whether anything is tracked here at all; forget() costs nothing where not. To be called now and
    /// then.
    void look();
    /// Deletes the entry of a TCP connection that `from` opened to `to`, if there is one. Does not wait.
    void forget(const Endpoint& from, const Endpoint& to);

  private:
    Fd socket_;
    bool active_ = false;
};

}  // namespace limpet::dataplane
