# SPDX-License-Identifier: Apache-2.0
"""Many at once: storms, ten thousand connections, and ten thousand handoffs under flood."""
import collections

from limpet_lab import checks, load
from limpet_lab.process import LabError, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address, client_address, endpoint

SPLICING = ("xdp", "tc")


def _target(lab):
    return endpoint(lab.listener, 1883)


def _answered(result, count):
    """Everybody heard CONNACK or was refused by name; nobody hangs and nobody was just dropped."""
    named = result["served"] + sum(result["refused"].values())
    if named != count or result["hung"] or result["failed"] or result["reset"] or result["closed"]:
        raise LabError(f"of {count} clients: {result}")


@scenario(modes=SPLICING, families=(4,), alone=True, timeout=150)
def a_storm_of_15000_connects_meets_4096_descriptors(lab):
    """Descriptors run out before anything else: accepting pauses and goes on, and every client is answered."""
    lab.start(descriptors=4096)
    halves = [load.mass(lab, 7500, [_target(lab)], f"storm-{half}-", rate=7500, timeout=60) for half in (0, 1)]
    served = 0
    for half in halves:
        result = half.result(100)
        _answered(result, 7500)
        served += result["served"]
    lab.gateway.wait_spliced(served, 20)
    for half in halves:
        pinged = half.tell("ping", 90)
        if pinged["silent"] or pinged["lost"]:
            raise LabError(f"after the storm: {pinged}")
    for half in halves:
        half.tell("leave")
    checks.flows_end(lab.gateway, 20)


@scenario(modes=("relay",), families=(4,), alone=True, timeout=120)
def a_storm_in_relay_mode_is_served_in_turn(lab):
    """A relay keeps two descriptors for each client: who leaves makes room for who waits."""
    lab.start(descriptors=1024)
    storm = load.mass(lab, 4000, [_target(lab)], "turn-", rate=4000, timeout=60, stay=0)
    result = storm.result(100)
    if result["left"] + sum(result["refused"].values()) != 4000:
        raise LabError(f"of 4000 clients: {result}")
    checks.no_connection_counted(lab.gateway, 20)


@scenario(modes=SPLICING, families=(4,), alone=True, timeout=240, client_addresses=2)
def ten_thousand_connections_stay_while_as_many_come_and_go(lab):
    """All spliced, each at the broker that `lookup` names, no source port shared: none is lost."""
    lab.start()
    count = 10_000
    stay = load.mass(lab, count, [_target(lab)], "stay-", rate=4000, source=client_address(4, 10), timeout=60)
    _answered(stay.result(100), count)
    checks.all_spliced(lab, count, 30)
    flows = lab.gateway.flows()
    if len({flow["client_id"] for flow in flows}) != count:
        raise LabError(f"{count} clients, but flows list names {len({flow['client_id'] for flow in flows})}")
    ports = collections.Counter((flow["source"], flow["broker"]) for flow in flows)
    if shared := [pair for pair, users in ports.items() if users > 1]:
        raise LabError(f"source ports are shared: {shared[:3]}")
    named = lab.gateway.lookups([flow["client_id"] for flow in flows])
    if astray := [flow for flow in flows if flow["broker_name"] != named[flow["client_id"]]]:
        raise LabError(f"{len(astray)} clients are not where lookup says, such as {astray[0]}")
    passing = load.mass(lab, count, [_target(lab)], "pass-", window=500, source=client_address(4, 11), stay=0,
                        timeout=60)
    result = passing.result(100)
    if result["left"] != count:
        raise LabError(f"of those who come and go: {result}")
    pinged = stay.tell("ping", 90)
    if pinged["answered"] != count:
        raise LabError(f"of those who stay: {pinged}")
    lab.gateway.wait_spliced(count, 20)
    stay.tell("leave")
    wait_until(lambda: lab.gateway.flow_count() == 0, 20, "all flows are gone", step=0.2)


def _flood(lab, count, hold, **options):
    """Clients and brokers stream random bytes at each other while their connections change hands. With `hold`
    nobody leaves before each connection was handed off."""
    listen = ",".join(endpoint(broker_address(lab.family, number), 1883) for number in (1, 2, 3))
    brokers = load.Generator(lab, "broker", "flood", "broker", "--listen", listen, "--hold", int(hold))
    brokers.result(10)
    lab.start_gateway(listener={"connack_timeout": "60s"})  # a broker that is busy is no broker that is dead
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    client = load.Generator(lab, "clients", "flood", "client", "--connect", _target(lab), "--count", count, "--hold",
                            int(hold), *words)
    if hold:
        lab.gateway.wait_spliced(count, 100)
    seen = client.finish(100)
    brokers_seen = brokers.finish()
    for side in (seen, brokers_seen):
        if side["whole"] != count or side["connections"] != count or side["twice"]:
            raise LabError(f"not every connection is whole: clients {seen}, brokers {brokers_seen}")


def _under_fire(lab, least):
    """Handoffs that parked nothing prove nothing: at least so many packets came while their flow was in HOLD."""
    if (parked := lab.gateway.reason("parked")) < least:
        raise LabError(f"only {parked} packets were parked: the flood was too thin")


@scenario(modes=SPLICING, alone=True, timeout=180)
def handoff_loses_no_byte_under_flood(lab):
    """10,000 handoffs between random streams in both directions, many of which begin before CONNACK: not one
    byte lost, doubled or moved."""
    handoffs = 10_000 if lab.family == 4 else 2_000
    _flood(lab, handoffs, hold=True, at_once=handoffs, bytes=24576)
    _under_fire(lab, handoffs // 100)


@scenario(modes=SPLICING, alone=True, timeout=180)
def handoff_loses_no_byte_under_flood_and_loss(lab):
    """The same with 2 % of the packets lost on both sides, so that retransmissions cross the handoff."""
    handoffs = 10_000 if lab.family == 4 else 2_000
    lab.topology.lose(2)
    _flood(lab, handoffs, hold=True, at_once=handoffs, bytes=16384)
    _under_fire(lab, handoffs // 100)
    lab.topology.lose(0)


@scenario(modes=SPLICING, families=(4,), alone=True, timeout=90)
def ends_during_the_handoff_lose_no_byte(lab):
    """Both ends close as soon as they have said everything, often while the flow is in HOLD."""
    _flood(lab, 4_000, hold=False, at_once=200, bytes=2048)
