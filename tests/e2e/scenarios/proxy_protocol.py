# SPDX-License-Identifier: Apache-2.0
"""PROXY headers: whom brokers are told of, whose word is taken, and that it all costs the fast path nothing. The
peer on both sides is haproxy, which checks what it reads."""
import re

from limpet_lab import checks, clients, mqtt
from limpet_lab.haproxy import Haproxy
from limpet_lab.process import LabError, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import CLIENT_NET, broker_address, endpoint

PORT, CHECKED = 1883, 1884
POOL = {"proxy_protocol": "v2"}


def _start(lab, **options):
    """Each broker behind a haproxy that wants a PROXY header; Limpet knows only those."""
    lab.start_brokers()
    told = [Haproxy(lab, lab.topology.broker, f"checks{number}", (broker_address(lab.family, number), CHECKED),
                    (broker_address(lab.family, number), PORT), accepts=True)
            for number in range(1, lab.topology.brokers + 1)]
    gateway = lab.make_gateway(pool=POOL, **options)
    text = gateway.config()
    for number in range(1, lab.topology.brokers + 1):
        for family in (4, 6):
            address = broker_address(family, number)
            text = text.replace(endpoint(address, PORT), endpoint(address, CHECKED))
    gateway.config_path.write_text(text)
    gateway.start()
    lab.check_mode()
    return told


def _back_and_forth(client):
    client.subscribe(f"echo/{client.client_id}", 2)
    for qos in (0, 1, 2):
        data = clients.payload(qos, 200_000)
        client.publish(f"echo/{client.client_id}", data, qos)
        if clients.digest(client.receive().payload) != clients.digest(data):
            raise LabError(f"a payload of QoS {qos} came back changed")


def _told(told, client):
    wait_until(lambda: sum(peer.told_of(client) for peer in told) == 1, 5,
               lambda: f"one broker was told of {client}: {[peer.log()[-500:] for peer in told]}")


@scenario(brokers=2)
def brokers_are_told_of_the_client_and_the_kernel_carries_on(lab):
    """A header is a part of the delta: spliced like the rest, whoever speaks first and whatever version."""
    told = _start(lab)
    talkers = [lab.client(f"told-v{version}", version=version) for version in (mqtt.V31, mqtt.V311, mqtt.V5)]
    checks.all_spliced(lab, len(talkers))
    for talker in talkers:
        _back_and_forth(talker)
        _told(told, talker.paho.socket().getsockname()[:2])
    hasty = lab.raw()
    hasty.sendall(mqtt.connect("hasty") + bytes([mqtt.PINGREQ, 0]))
    if [mqtt.read_packet(hasty)[0] for _ in range(2)] != [mqtt.CONNACK, mqtt.PINGRESP]:
        raise LabError("what follows CONNECT in one segment was lost")
    _told(told, hasty.getsockname()[:2])
    ids = [number for peer in told for number in re.findall(r" id=([0-9A-F]+) ", peer.log())]
    if len(ids) != 4 or len(set(ids)) != 4:
        raise LabError(f"every connection has an id of its own: {ids}")


@scenario(brokers=2)
def the_word_of_a_trusted_proxy_is_handed_on(lab):
    """A cloud's balancer before us (haproxy, version 2) and brokers that want a header behind us: they are told of
    the client that the balancer has, and the connection is spliced."""
    told = _start(lab, listener={"proxy_from": [CLIENT_NET[4].format(0) + "/24", CLIENT_NET[6].format("") + "/64"]})
    front = (("::1" if lab.family == 6 else "127.0.0.1"), 1999)
    Haproxy(lab, lab.topology.clients, "front", front, (lab.listener, PORT), sends=True)
    client = lab.track(clients.Client(lab.topology, front[0], "behind", port=front[1]))
    checks.all_spliced(lab, 1)
    _back_and_forth(client)
    _told(told, client.paho.socket().getsockname()[:2])
    if any(flow["client"].startswith(endpoint(front[0], "")) for flow in lab.gateway.flows()):  # in mode relay: none
        raise LabError("the flow must keep the real tuple")
    bare = lab.raw()
    bare.sendall(mqtt.connect("bare"))
    if mqtt.closed_within(bare, 5) != b"":
        raise LabError("a proxy without a header was not closed")
    lab.gateway.wait_reason("close_proxy_header")


@scenario(modes=("tc",))
def a_strangers_header_is_refused_by_name(lab):
    """Anybody can write one; only who stands in proxy_from is believed. Others are served without."""
    lab.start(listener={"proxy_from": ["198.51.100.0/24"]})
    header = f"PROXY TCP{lab.family} {'::1 ::2' if lab.family == 6 else '192.0.2.1 192.0.2.2'} 1 2\r\n".encode()
    liar = lab.raw()
    liar.sendall(header + mqtt.connect("liar"))
    if mqtt.closed_within(liar, 5) != b"":
        raise LabError("the stranger was not closed")
    lab.gateway.wait_reason("close_proxy_untrusted")
    if any(broker.saw_client("liar") for broker in lab.brokers):
        raise LabError("a stranger's word reached a broker")
    liar.close()
    clients.ping(lab.raw_session("honest"))
    checks.all_spliced(lab, 1)
