# SPDX-License-Identifier: Apache-2.0
"""What a router does for a connection, and Limpet must do as well: sizes, tags, and answers."""
import socket
import struct
import time

from limpet_lab import checks, clients, ends, wire
from limpet_lab.process import LabError, run, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import BROKER_NET

SPLICING = ("xdp", "tc")
NARROW = 1300  # IPv6 wants 1280 at least


def _narrow(lab, size):
    for namespace, device in ((lab.topology.gateway, "back"), (lab.topology.broker, "eth0")):
        run("ip", "-n", namespace, "link", "set", "dev", device, "mtu", size)


def _goes_round(lab, client, size):
    data = clients.payload(size, size)
    client.publish(client.client_id, data, 1, wait=0)
    if clients.digest(client.receive(60).payload) != clients.digest(data):
        raise LabError(f"{size} bytes came back changed")


@scenario(modes=SPLICING)
def a_link_that_shrinks_is_told_to_the_sender(lab):
    """The link to the brokers takes smaller packets from now on: the gateway answers the client's large ones as a
    router does (RFC 1191, RFC 8201), and the client sends what fits."""
    lab.start()
    client = lab.client("shrinking")
    client.subscribe("shrinking", 1)
    _goes_round(lab, client, 300_000)
    checks.all_spliced(lab, 1)
    _narrow(lab, NARROW)
    _goes_round(lab, client, 2_000_000)
    lab.gateway.wait_reason("drop_too_big")
    lab.gateway.wait_reason("icmp_sent")
    checks.all_spliced(lab, 1)


@scenario(modes=SPLICING)
def a_smaller_link_behind_the_gateway_works_from_the_start(lab):
    """Clients are told a segment size that the brokers' link takes, so nobody has to be told anything."""
    _narrow(lab, NARROW)
    lab.start()
    client = lab.client("narrow")
    client.subscribe("narrow", 1)
    checks.all_spliced(lab, 1)
    _goes_round(lab, client, 2_000_000)
    if count := lab.gateway.reason("drop_too_big"):
        raise LabError(f"{count} packets did not fit the link")


def _announce(lab, where, gateway, size):
    """This end announces segments of so many bytes to the gateway."""
    bits = 32 if lab.family == 4 else 128
    run("ip", "-n", getattr(lab.topology, where), f"-{lab.family}", "route", "replace", f"{gateway}/{bits}", "dev", "eth0",
        "advmss", size)


def _segment(connection):
    """What this end's stack sends at most, the room of timestamps included (struct tcp_info)."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("=I", info, 16)[0] + 12


@scenario(modes=SPLICING)
def each_end_is_sent_segments_of_the_size_that_it_takes(lab):
    """Ends with different sizes: neither direction is bound by the size of the other."""
    for client, broker in ((1400, 700), (700, 1400)):
        _announce(lab, "clients", lab.listener, client)
        _announce(lab, "broker", BROKER_NET[lab.family].format(1), broker)
        if lab.gateway is None:
            desk = ends.start(lab)
        else:
            lab.gateway.stop()
            lab.gateway.start()  # and asks the broker anew
        pair = desk.pair(f"takes-{client}")
        lab.gateway.wait_spliced(1)
        pair.talk()
        sizes = (_segment(pair.broker), _segment(pair.client))
        if sizes != (client, broker):
            raise LabError(f"client takes {client}, broker {broker}; the broker sends {sizes[0]}, the client {sizes[1]}")
        pair.client.close()
        pair.broker.close()
        ends.gone(lab)


@scenario(modes=SPLICING, routed=True)
def a_router_behind_the_gateway_is_heard_by_the_client(lab):
    """It says that packets are too big, quoting what left the gateway; the client hears of what it sent itself."""
    lab.start()
    client = lab.client("routed")
    client.subscribe("routed", 1)
    _goes_round(lab, client, 300_000)
    checks.all_spliced(lab, 1)
    lab.topology.narrow(NARROW)
    _goes_round(lab, client, 2_000_000)
    lab.gateway.wait_reason("icmp_translated")


@scenario(modes=SPLICING)
def a_priority_tag_is_no_vlan(lab):
    """A frame that is tagged with VLAN 0 belongs to the flow like any other, and never reaches the host's TCP."""
    lab.start()
    connection = lab.raw_session("tagged")
    checks.all_spliced(lab, 1)
    clients.ping(connection)
    here, there = connection.getsockname()[:2], connection.getpeername()[:2]
    packet = wire.tcp_packet(here, there, 1, 1, wire.ACK)
    gateway = wire.mac(lab.topology.gateway, "front")
    mine = wire.mac(lab.topology.clients, "eth0")
    before = lab.gateway.reason("forwarded_tc")
    for tag in (0x0000, 0xE000):
        wire.send_frame(lab.topology, "clients", "eth0", wire.frame(packet, gateway, mine, tag))
    wait_until(lambda: lab.gateway.reason("forwarded_tc") >= before + 2, 5, "both tagged packets forwarded", step=0.05)
    clients.ping(connection)


@scenario(modes=SPLICING)
def a_blind_rst_ends_nothing(lab):
    """Forged RSTs with guessed numbers, also after forged data that lays the ground for them: both ends are asked,
    answer, and the connection goes on."""
    lab.start()
    connection = lab.raw_session("blind", keepalive=0)
    checks.all_spliced(lab, 1)
    clients.ping(connection)
    here, there = connection.getsockname()[:2], connection.getpeername()[:2]
    gateway = wire.mac(lab.topology.gateway, "front")
    mine = wire.mac(lab.topology.clients, "eth0")
    for number in range(0, 1 << 32, 1 << 29):
        for packet in (wire.tcp_packet(here, there, number, 0, wire.ACK | wire.PSH, b"forged"),
                       wire.tcp_packet(here, there, number + 6, 0, wire.RST)):
            wire.send_frame(lab.topology, "clients", "eth0", wire.frame(packet, gateway, mine))
    lab.gateway.wait_reason("rst_seen", 8)
    lab.gateway.wait_reason("doubted")
    lab.gateway.wait_reason("probed", 2)
    # Quiet for longer than a closing flow lives: it would be gone.
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if [flow["state"] for flow in lab.gateway.flows()] != ["active"]:
            raise LabError(f"flows: {lab.gateway.flows()}")
        time.sleep(0.2)
    clients.ping(connection)


@scenario(modes=SPLICING)
def connection_tracking_forgets_what_has_left(lab):
    """A gateway with a stateful firewall keeps no entry of a spliced connection, and lets it work."""
    gateway = lab.topology.gateway
    run("ip", "netns", "exec", gateway, "nft", "-f", "-", text_input=(
        "table inet wall {\n chain input {\n  type filter hook input priority 0;\n  ct state established,related accept\n"
        " }\n chain output {\n  type filter hook output priority 0;\n  ct state established,related accept\n }\n}\n"))

    def tracked():
        return int(run("ip", "netns", "exec", gateway, "cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)

    lab.start()
    held = [lab.raw_session(f"tracked-{number}") for number in range(50)]
    checks.all_spliced(lab, 50)
    # The daemon looks every second whether anything is tracked at all; the brokers' greetings at its start may stay.
    held += [lab.raw_session(f"tracked-{number}") for number in range(50, 150)]
    checks.all_spliced(lab, 150)
    wait_until(lambda: tracked() < 110, 5, lambda: f"{tracked()} entries are tracked", step=0.1)
    for connection in held:
        clients.ping(connection)


@scenario(modes=SPLICING)
def a_vanished_client_without_keep_alive_is_found(lab):
    """Nobody answers the probes of a flow without keep-alive: the broker hears a RST and the entry goes."""
    lab.start_brokers()
    lab.start_gateway(dataplane={"probe_after": "2s"})
    stays, gone = lab.raw_session("stays", keepalive=0), lab.raw_session("gone", keepalive=0)
    checks.all_spliced(lab, 2)
    port = gone.getsockname()[1]
    run("ip", "netns", "exec", lab.topology.clients, "nft", "-f", "-",
        text_input=f"table inet hush {{\n chain input {{\n  type filter hook input priority 0;\n  tcp dport {port} drop\n }}\n"
                   f" chain output {{\n  type filter hook output priority 0;\n  tcp sport {port} drop\n }}\n}}\n")
    wait_until(lambda: lab.gateway.reason("end_unanswered") == 1, 60, "the vanished client's flow ended", step=0.5)
    wait_until(lambda: lab.gateway.flow_count() == 1, 5, "one flow is left", step=0.1)
    clients.ping(stays)
    run("ip", "netns", "exec", lab.topology.clients, "nft", "flush", "ruleset")
