# SPDX-License-Identifier: Apache-2.0
"""Whoever is killed, and whenever: what was handed off lives on, what was not is told, and nothing is left behind."""
import re
import time
from datetime import datetime

from limpet_lab import checks, load
from limpet_lab.chaos import Chaos
from limpet_lab.disorder import Disorder
from limpet_lab.process import LabError, run, wait_until
from limpet_lab.scenario import MEASURED, scenario, settings
from limpet_lab.topology import broker_address, client_address, endpoint

SPLICING = ("xdp", "tc")
_ADDRESSES = 8
_PORTS = 1000  # source ports towards each of the three brokers: few, so that all are used many times


@scenario(modes=SPLICING, alone=True, timeout=240, client_addresses=_ADDRESSES)
def a_hundred_thousand_handoffs_survive_every_kill(lab):
    """Flood, loss, frames that come late and twice, and kill -9 for daemon, clients and brokers in turn: no byte is
    lost on a connection that was not killed, and no entry, port or socket is left. (As many as --handoffs says.)"""
    for where in ("clients", "gateway", "broker"):  # ports of connections that have ended may be used again
        run("ip", "netns", "exec", getattr(lab.topology, where), "sysctl", "-q", "-w", "net.ipv4.tcp_tw_reuse=1")
    disorder = Disorder(lab)
    chaos = Chaos(lab, settings["handoffs"], _ADDRESSES)
    lab.start_gateway(listener={"connack_timeout": "60s"}, pool={"strategy": "round_robin", "retry_down": "200ms"},
                      dataplane={"source_ports": f"20000-{20000 + _PORTS - 1}", "closing_timeout": "500ms",
                                 "retire_grace": "200ms"})
    disorder.set(lose=2, duplicate=1, late=1, lateness=(0.1, 2))
    begin = time.monotonic()
    chaos.run(seconds=600 * max(1, settings["handoffs"] // 10_000))
    chaos.check()
    done = disorder.counts()
    disorder.set()
    print(f"{MEASURED}{chaos.whole} handoffs, {len(chaos.ended)} cut by {len(chaos.kills)} kills, in "
          f"{time.monotonic() - begin:.0f} s; {done}")
    if not done["lost"] or not done["late"] or not done["duplicated"] or done["untouched"] > done["late"] // 10:
        raise LabError(f"the network was too kind: {done}")
    # Both ends may have been killed, and both their RSTs lost: then it takes the keep-alive's time. And a FIN that nobody
    # acknowledged is waited for during a minute.
    checks.flows_end(lab.gateway, 65)
    checks.no_entry_left(lab, 5)
    checks.no_connection_counted(lab.gateway, 20)
    checks.only_listeners_left(lab.topology, 60)
    checks.no_port_in_use(lab.gateway)


def _log_time(log, words):
    """When the log's last line with these words was written, seconds since the epoch."""
    lines = [line for line in log.splitlines() if re.search(words, line)]
    if not lines:
        raise LabError(f"the log has no line with '{words}': {log[-1000:]}")
    return datetime.strptime(lines[-1].split()[0], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


@scenario(modes=SPLICING, families=(4,), alone=True, timeout=120, client_addresses=2)
def five_thousand_connections_outlive_a_kill_in_a_storm(lab):
    """kill -9 while thousands more come and go: all 5,000 are served on, without a daemon too; the next one has them
    within a second; and whoever was not handed off yet hears an end."""
    count = 5_000
    lab.start()
    target = [endpoint(lab.listener, 1883)]
    stay = load.mass(lab, count, target, "stay-", rate=4000, source=client_address(4, 10), timeout=60)
    if (served := stay.result(60)["served"]) != count:
        raise LabError(f"only {served} of {count} clients were served")
    checks.all_spliced(lab, count, 30)
    storm = load.mass(lab, 4_000, target, "storm-", window=300, stay=0, source=client_address(4, 11), timeout=15)
    wait_until(lambda: lab.gateway.connections("spliced") > count + 200, 10, "the storm is under way", step=0.005)
    lab.gateway.kill()
    without = stay.tell("ping", 60)
    begin = time.time()
    lab.gateway.start()
    ready = time.time() - begin
    log = lab.gateway.log()
    took = _log_time(log, "took over [0-9]+ spliced connections") - begin
    adopted = int(re.findall("took over ([0-9]+) spliced", log)[-1])
    with_it = stay.tell("ping", 60)
    print(f"{MEASURED}adopted {adopted} connections {took:.3f} s after the start, ready after {ready:.3f} s")
    for when, pinged in (("without a daemon", without), ("after the restart", with_it)):
        if pinged["answered"] != count:
            raise LabError(f"{when}: {pinged}")
    if adopted < count or took > 1:
        raise LabError(f"{adopted} connections were adopted after {took:.2f} s")
    stormed = storm.result(60)
    if stormed["hung"] or stormed["served"]:
        raise LabError(f"clients hang that were not handed off when the daemon died: {stormed}")
    if not stormed["left"] or stormed["left"] == 4_000:
        raise LabError(f"the kill did not hit the storm: {stormed}")
    lab.gateway.wait_spliced(count, 20)
    stay.tell("leave")
    checks.flows_end(lab.gateway, 20)
    checks.no_entry_left(lab)
    checks.only_listeners_left(lab.topology, 60)
