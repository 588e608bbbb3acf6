# SPDX-License-Identifier: Apache-2.0
"""Neighbours and routes: wherever clients and brokers are, and whatever changes on the way while flows are active."""
import collections
import threading
import time

from limpet_lab import broker, checks, clients, mqtt, wire
from limpet_lab.process import LabError, run, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import BROKER_NET, PREFIX_LENGTH, broker_address, client_address

from .restart import Talker

SPLICING = ("xdp", "tc")


def _talks(lab, client_id):
    client = lab.client(client_id)
    client.subscribe(client_id, 2)
    for qos, size in ((0, 100), (1, 10_000), (2, 300_000)):
        data = clients.payload(qos, size)
        client.publish(client_id, data, qos)
        if clients.digest(client.receive().payload) != clients.digest(data):
            raise LabError(f"QoS {qos} came back changed")
    return client


def _talkers(lab, count):
    talkers = [Talker(lab, f"talker-{number}") for number in range(count)]
    checks.all_spliced(lab, count)
    for talker in talkers:
        talker.start()
    return talkers


def _all_heard(talkers):
    """How many messages each has heard by now."""
    return [talker.client.messages.qsize() for talker in talkers]


def _goes_on(talkers, seconds=5, messages=30):
    """Everybody hears so many more of its messages in time."""
    before = _all_heard(talkers)
    wait_until(lambda: all(now >= then + messages for now, then in zip(_all_heard(talkers), before)), seconds,
               lambda: f"{messages} more messages for everybody: {before} -> {_all_heard(talkers)}", step=0.05)


@scenario(routed=True)
def clients_and_brokers_behind_routers_are_spliced(lab):
    """Nobody shares a link with the gateway: every packet goes by a router's MAC, none by its receiver's."""
    lab.start()
    for number in range(5):
        _talks(lab, f"behind-{number}")
    checks.all_spliced(lab, 5)


@scenario(modes=SPLICING, routed=True)
def a_route_change_moves_active_flows(lab):
    """The way to the brokers leads through another interface and another router, and back: flows follow at once,
    and what comes after takes the new way too."""
    lab.start()
    talkers = _talkers(lab, 4)
    _goes_on(talkers)
    for router, device in (("q", "back2"), ("p", "back")):
        lab.topology.use_path(router)
        sent = lab.topology.packets_out(device)
        _goes_on(talkers)
        if (more := lab.topology.packets_out(device) - sent) < 100:
            raise LabError(f"only {more} packets left by {device}, where the route leads")
        _talks(lab, f"after-{router}")
    for talker in talkers:
        talker.finish()
    checks.all_spliced(lab, 6)


@scenario(modes=SPLICING, routed=True)
def a_route_that_is_gone_for_a_while_loses_nothing(lab):
    """Two seconds without any route to the brokers: what is lost meanwhile TCP sends again."""
    lab.start()
    talkers = _talkers(lab, 2)
    _goes_on(talkers)
    brokers = f"{BROKER_NET[lab.family].format(0)}/{PREFIX_LENGTH[lab.family]}"
    run("ip", "-n", lab.topology.gateway, f"-{lab.family}", "route", "del", brokers)
    until = time.monotonic() + 2
    wait_until(lambda: time.monotonic() > until, 3, "two seconds pass")
    lab.topology.use_path("p")
    for talker in talkers:
        talker.finish()


def _forget_neighbours(lab, seconds):
    """Flushes the gateway's neighbour tables again and again."""
    until = time.monotonic() + seconds
    times = 0
    while time.monotonic() < until:
        for family in (4, 6):
            run("ip", "-n", lab.topology.gateway, f"-{family}", "neigh", "flush", "all")
        times += 1
    return times


def _survives_forgetting(lab):
    lab.start()
    talkers = _talkers(lab, 4)
    _goes_on(talkers)
    times = _forget_neighbours(lab, 2)
    _goes_on(talkers)
    for talker in talkers:
        if talker.finish() < 100:
            raise LabError("fewer than 100 messages were said: nothing is proved")
    _talks(lab, f"after-{times}")
    if lab.gateway.reason("drop_no_route"):
        raise LabError(f"a missing neighbour was taken for a missing route: {lab.gateway.status()['reasons']}")


@scenario(modes=SPLICING)
def neighbours_that_are_forgotten_are_found_again(lab):
    """`ip neigh flush` without a pause under talking clients: every packet finds its way or waits for it."""
    _survives_forgetting(lab)


@scenario(modes=SPLICING, one_arm=True)
def neighbours_on_one_arm_are_found_again(lab):
    """The same where both sides are on one link."""
    _survives_forgetting(lab)


def _quick_neighbours(lab, *devices):
    """The gateway doubts its neighbours after seconds instead of half a minute."""
    for family in ("ipv4", "ipv6"):
        for device in devices:
            run("ip", "netns", "exec", lab.topology.gateway, "sysctl", "-q", "-w",
                f"net.{family}.neigh.{device}.base_reachable_time_ms=1000",
                f"net.{family}.neigh.{device}.delay_first_probe_time=1",
                f"net.{family}.neigh.{device}.retrans_time_ms=300")
    # Those that are there already keep the time that they were given.
    for family in (4, 6):
        run("ip", "-n", lab.topology.gateway, f"-{family}", "neigh", "flush", "all")


class _Listening:
    """A broker that only listens: it never sends a packet but in answer to one, so nobody learns of it by chance."""

    def __init__(self):
        self.bytes = 0
        self._lock = threading.Lock()

    def __call__(self, connection):
        mqtt.read_packet(connection)
        connection.sendall(mqtt.connack())
        while piece := connection.recv(65536):
            with self._lock:
                self.bytes += len(piece)


def _new_mac(lab, device, namespace, address, mac):
    """Gives the only interface of a namespace another MAC, when the gateway has begun to doubt the old one: an entry
    that nobody of the host's own uses is STALE sooner or later, however busy the flow is."""
    old = wire.mac(namespace, "eth0")
    run("ip", "-n", lab.topology.gateway, "neigh", "replace", address, "dev", device, "lladdr", old, "nud", "stale")
    run("ip", "-n", namespace, "link", "set", "dev", "eth0", "address", mac)


@scenario(modes=SPLICING)
def a_broker_that_changes_its_mac_is_found_again(lab):
    """A broker's address moved to other hardware that announces nothing. As with any router, the neighbour is
    doubted, asked for, and found; an active flow must not go on talking to the old MAC for ever."""
    listening = _Listening()
    lab.scripted_broker(1, listening)
    lab.start_gateway(brokers=[1])
    _quick_neighbours(lab, "back")
    connection = lab.raw_session("speaks", keepalive=0)
    checks.all_spliced(lab, 1)
    connection.sendall(mqtt.publish("topic", b"before"))
    wait_until(lambda: listening.bytes > 0, 5, "the first message arrives")
    heard = listening.bytes
    _new_mac(lab, "back", lab.topology.broker, broker_address(lab.family, 1), "02:00:00:00:92:99")
    connection.sendall(mqtt.publish("topic", b"after"))
    wait_until(lambda: listening.bytes > heard, 20, "a message arrives at the new MAC", step=0.1)


@scenario(modes=SPLICING)
def a_client_that_changes_its_mac_is_found_again(lab):
    """The same on the other side: only the broker speaks."""
    told = threading.Event()

    def speaks(connection):
        mqtt.read_packet(connection)
        connection.sendall(mqtt.connack())
        told.wait(30)
        connection.sendall(mqtt.publish("topic", b"after"))
        broker.never_answers(connection)

    lab.scripted_broker(1, speaks)
    lab.start_gateway(brokers=[1])
    _quick_neighbours(lab, "front")
    connection = lab.raw_session("listens", keepalive=0)
    checks.all_spliced(lab, 1)
    # Whatever the client's kernel says by itself after the change would give it away: nothing is under way.
    _new_mac(lab, "front", lab.topology.clients, client_address(lab.family), "02:00:00:00:91:99")
    told.set()
    connection.settimeout(20)
    if mqtt.publish_parts(*mqtt.read_packet(connection))[3] != b"after":
        raise LabError("the message is another one")


def _sources(lab, state="ESTAB"):
    """Addresses and ports of connections, as the broker sees them."""
    return [peer for word, _, peer in lab.topology.tcp_sockets("broker") if word == state]


def _more_source_addresses(lab):
    """Three addresses of the gateway's towards brokers."""
    family = lab.family
    addresses = [BROKER_NET[family].format(number) for number in (1, 2, 3)]
    nodad = ["nodad"] if family == 6 else []
    for address in addresses[1:]:
        run("ip", "-n", lab.topology.gateway, "addr", "add", f"{address}/{PREFIX_LENGTH[family]}", "dev", "back",
            *nodad)
    return addresses


@scenario(modes=SPLICING)
def source_addresses_add_up_and_their_end_is_named(lab):
    """Three addresses of ten ports each reach one broker thirty times; who comes after is relayed under its reason
    from a port that the host chooses; no tuple is ever shared; ports come back."""
    addresses = _more_source_addresses(lab)
    lab.start_brokers([1])
    lab.start_gateway(brokers=[1], dataplane={"source_addresses": addresses, "source_ports": "20000-20009",
                                              "closing_timeout": "200ms", "retire_grace": "200ms"})
    spliced = [lab.raw_session(f"first-{number}") for number in range(30)]
    lab.gateway.wait_spliced(30)
    used = collections.Counter(flow["source"].rsplit(":", 1)[0].strip("[]") for flow in lab.gateway.flows())
    if used != dict.fromkeys(addresses, 10):
        raise LabError(f"thirty flows come from {used}")
    relayed = [lab.raw_session(f"late-{number}") for number in range(5)]
    lab.gateway.wait_reason("relay_no_source_port", 5)
    if lab.gateway.connections("relayed") != 5 or lab.gateway.connections("spliced") != 30:
        raise LabError(f"connections: {lab.gateway.status()['connections']}")
    sources = _sources(lab)
    if len(sources) != 35 or len(set(sources)) != 35:
        raise LabError(f"35 connections have {len(set(sources))} sources: {sorted(sources)}")
    if strange := {source for source in sources if source.rsplit(":", 1)[0].strip("[]") not in addresses}:
        raise LabError(f"these come from none of the configured addresses: {strange}")
    for connection in spliced + relayed:
        clients.ping(connection)
    for connection in spliced[:10]:
        connection.close()
    wait_until(lambda: lab.gateway.flow_count() == 20, 10, "ten flows have ended", step=0.05)
    until = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > until, 2, "their ports have had their grace")
    for number in range(10):
        spliced.append(lab.raw_session(f"again-{number}"))
    lab.gateway.wait_spliced(30)
    if (named := lab.gateway.reason("relay_no_source_port")) != 5:
        raise LabError(f"ports that ended were not given again: {named} relays")
    for connection in spliced[10:] + relayed:
        clients.ping(connection)


@scenario(modes=SPLICING, families=(4,))
def ports_of_connects_that_fail_come_back(lab):
    """A broker that hangs up holds no port: a hundred failures leave all ten ports for those who come after."""
    rude = lab.scripted_broker(1, broker.closes_at_connect)
    lab.start_gateway(brokers=[1], pool={"retry_down": "10ms"},
                      dataplane={"source_ports": "20000-20009", "closing_timeout": "200ms", "retire_grace": "50ms"})
    for number in range(100):
        connection = lab.raw()
        connection.sendall(mqtt.connect(f"fails-{number}"))
        if mqtt.closed_within(connection, 5) is None:
            raise LabError("nobody said that the broker is gone")
        connection.close()
    lab.gateway.wait_reason("broker_closed_early", 100)
    rude.stop()
    lab.start_brokers([1])
    until = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > until, 2, "the last ports have had their grace")
    for number in range(10):
        lab.raw_session(f"served-{number}")
    checks.all_spliced(lab, 10)


@scenario(modes=("relay",))
def a_relay_comes_from_the_configured_addresses(lab):
    """source_addresses is no matter of the mode."""
    addresses = _more_source_addresses(lab)[1:]
    lab.start_brokers([1])
    lab.start_gateway(brokers=[1], dataplane={"source_addresses": addresses})
    for number in range(8):
        clients.ping(lab.raw_session(f"relayed-{number}"))
    seen = {source.rsplit(":", 1)[0].strip("[]") for source in _sources(lab)}
    if seen != set(addresses):
        raise LabError(f"connections come from {seen}, not from {addresses}")
