# SPDX-License-Identifier: Apache-2.0
"""What must hold of a gateway whatever the scenario was about."""
import json
import time

from .process import LabError, patient, run, wait_until

#: an entry's time after its connection's end: closing_timeout of silence, and what it takes to notice
STATED_SECONDS = 2 + 1
#: until the clients of a scenario have really gone, and until what was retired is removed
_SLACK_SECONDS = 4
#: past that time, before it counts
_LATE_LOOKS = 4
#: what is checked at the end of every scenario (`leaves` of @scenario names those that cannot hold, and why)
CLOSING = ("flows", "connections", "entries", "source_ports", "guard")


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
    pins = lab.gateway.pins()
    paths = sorted(path for path in pins.rglob("limpet_flows*") if path.is_file())
    if len(paths) < 2:
        raise LabError(f"the flow maps are not pinned below {pins}: {paths}")
    return json.loads(run(lab.binary.parent / "e2e" / "entries", *paths).stdout)


def no_entry_left(lab, seconds=5):
    """Nothing of anybody stands in the maps, in no state (invariant I5): the grace of what was retired included."""
    wait_until(lambda: not any(entries(lab).values()), seconds, lambda: f"no entry is left in the maps: {entries(lab)}",
               step=0.1)


def no_port_in_use(gateway, seconds=10):
    """Every source port towards a broker was given back (the grace of its entry has to pass first)."""
    wait_until(lambda: not gateway.status()["source_ports"], seconds,
               lambda: f"no source port is in use: {gateway.status()['source_ports']}", step=0.1)


def _left(lab, names):
    """What is still there of those that left: name of the check -> what it found. Asks the daemon once."""
    gateway = lab.gateway
    status = gateway.status()
    found = {
        "flows": lambda: gateway.flow_count() and gateway.flows()[:3],
        "connections": lambda: {kind: count for kind in ("spliced", "relayed")
                                if (count := status["connections"][kind])},
        # without a data path (mode relay, or maps of another version) there are no maps to look into
        "entries": lambda: status["mode"] != "relay" and {state: count for state, count in entries(lab).items() if count},
        "source_ports": lambda: status["source_ports"],
        "guard": lambda: status.get("reasons", {}).get("guard_host_packet", 0),
    }
    return {name: value for name in names if (value := found[name]())}


def nothing_left(lab, leaves=(), seconds=STATED_SECONDS + _SLACK_SECONDS):
    """Who has gone left nothing behind within the stated time: no flow, no entry in any state (I5), no source port; and
    the host's own TCP never spoke on an active flow (I2). `leaves`: checks that cannot hold."""
    if unknown := set(leaves) - set(CLOSING):
        raise LabError(f"no closing check has the name {unknown}; there are {CLOSING}")
    names = [name for name in CLOSING if name not in leaves]
    begin = time.monotonic()
    looks = late = 0
    while left := _left(lab, names):
        passed = time.monotonic() - begin
        looks += 1
        late += passed > patient(seconds)
        # What the guard has counted does not go away. One look may fall into a moment in which the daemon asks a broker
        # that does not answer, on a port of its own: several do not.
        if "guard" in left or late >= _LATE_LOOKS:
            raise LabError(f"everybody left, and after {passed:.1f} s and {looks} looks there is still: {left}")
        names = [name for name in names if name in left]  # what has gone does not come back
        time.sleep(patient(0.05))
