# SPDX-License-Identifier: Apache-2.0
"""What must hold of a gateway whatever the scenario was about."""
import json

from .process import LabError, run, wait_until


def only_listeners_left(topology, seconds=5):
    """No TCP connection stands in the gateway: the kernel's fast path has them all. (TIME-WAIT is what remains
    of an attempt that ended, at a broker that did not answer for example.)"""
    def others():
        return [entry for entry in topology.tcp_sockets("gateway") if entry[0] not in ("LISTEN", "TIME-WAIT")]

    wait_until(lambda: not others(), seconds, lambda: f"no sockets but listeners in the gateway: {others()[:5]}",
               step=0.05)


def all_spliced(lab, count, seconds=10):
    """In a splicing mode `count` connections are spliced, none is relayed, no socket is left; in relay mode all
    of them are relayed."""
    gateway = lab.gateway
    if lab.mode == "relay":
        wait_until(lambda: gateway.connections("relayed") == count, seconds,
                   lambda: f"{count} connections relayed: {gateway.status()['connections']}", step=0.05)
        return
    gateway.wait_spliced(count, seconds)
    if relayed := gateway.connections("relayed"):
        raise LabError(f"{relayed} connections are relayed: {gateway.status().get('reasons')}")
    only_listeners_left(lab.topology)


def guard_silent(gateway):
    """The host's own TCP never spoke on an active flow (invariant I2)."""
    if count := gateway.reason("guard_host_packet"):
        raise LabError(f"the egress guard stopped {count} packets of the host's own")


def flows_end(gateway, seconds=10):
    """No entry outlives its connection (invariant I5)."""
    wait_until(lambda: gateway.flow_count() == 0, seconds,
               lambda: f"flows count is 0 after everybody left: {gateway.flows()[:3]}", step=0.1)


def no_connection_counted(gateway, seconds=10):
    """Nobody is connected any more, and the daemon knows it."""
    def left():
        connections = gateway.status()["connections"]
        return {kind: connections[kind] for kind in ("spliced", "relayed") if connections[kind]}

    wait_until(lambda: not left(), seconds, lambda: f"no connection is counted after everybody left: {left()}",
               step=0.1)


def log_clean(gateway):
    if lines := gateway.error_lines():
        raise LabError(f"limpet logged errors: {lines[:3]}")


def entries(lab):
    """state -> number of entries in the flow maps themselves, past the daemon's own counts."""
    paths = sorted(path for path in lab.bpffs().rglob("limpet_flows*") if path.is_file())
    if len(paths) < 2:
        raise LabError(f"the flow maps are not pinned below {lab.bpffs()}: {paths}")
    return json.loads(run(lab.binary.parent / "e2e" / "entries", *paths).stdout)


def no_entry_left(lab, seconds=5):
    """Nothing of anybody stands in the maps, in no state (invariant I5): the grace of what was retired included."""
    wait_until(lambda: not any(entries(lab).values()), seconds, lambda: f"no entry is left in the maps: {entries(lab)}",
               step=0.1)


def no_port_in_use(gateway, seconds=10):
    """Every source port towards a broker was given back (the grace of its entry has to pass first)."""
    wait_until(lambda: not gateway.status()["source_ports"], seconds,
               lambda: f"no source port is in use: {gateway.status()['source_ports']}", step=0.1)
