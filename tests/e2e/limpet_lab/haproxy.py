# SPDX-License-Identifier: Apache-2.0
"""haproxy as a peer that takes the PROXY protocol at its word: it checks every header, checksum included, and its
log says whom it was told of."""
import shutil

from .process import LabError, Missing, wait_until
from .topology import endpoint


class Haproxy:
    """Takes connections on `address` and opens one to `server` for each.

    accepts: every connection must begin with a PROXY header; sends: so do those to the server (version 2)."""

    def __init__(self, lab, namespace, name, address, server, accepts=False, sends=False):
        if not shutil.which("haproxy"):
            raise Missing("command haproxy")
        self._output = lab.folder / f"{name}.log"
        config = lab.folder / f"{name}.cfg"
        config.write_text(f"""global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option logasap
    log global
    log-format "client=%ci:%cp id=%[fc_pp_unique_id,hex] authority=%[fc_pp_authority]"
listen {name}
    bind {endpoint(*address)}{" accept-proxy" if accepts else ""}
    server one {endpoint(*server)}{" send-proxy-v2" if sends else ""}
""")
        self.process = lab.resources.start(["haproxy", "-db", "-f", config], self._output, namespace=namespace)
        listening = endpoint(*address)

        def ready():
            if not self.process.running:
                raise LabError(f"haproxy {name} ended: {self.process.log()}")
            where = "clients" if namespace == lab.topology.clients else "broker"
            return any(state == "LISTEN" and own == listening
                       for state, own, _ in lab.topology.tcp_sockets(where))

        wait_until(ready, 10, f"haproxy {name} listens on {listening}", step=0.05)

    def told_of(self, client):
        """Whether a connection of this (address, port) was logged."""
        return f"client={client[0]}:{client[1]} " in self.process.log()

    def log(self):
        return self.process.log()
