# SPDX-License-Identifier: Apache-2.0
"""Connections with both real ends in the scenario's hands, and segments that are forged past their stacks."""
import contextlib
import socket
import threading
import time

from . import checks, clients, mqtt, wire
from .process import LabError, wait_until
from .topology import client_address

# linux/tcp.h; Python's socket module does not know them
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_REPAIR_ON, _REPAIR_OFF_SILENTLY = 1, -1
_NO_QUEUE, _RECEIVE_QUEUE, _SEND_QUEUE = 0, 1, 2

_PATIENCE = 10


class Desk:
    """A broker that accepts every CONNECT and hands its socket over to the scenario."""

    def __init__(self, lab, number=1):
        self._lab = lab
        self._sockets = {}
        self._arrived = threading.Condition()
        self._closing = threading.Event()
        lab.scripted_broker(number, self._story)
        lab.track(self)

    def _story(self, connection):
        _, body = mqtt.read_packet(connection)
        connection.sendall(mqtt.connack(version=mqtt.connect_version(body)))
        with self._arrived:
            self._sockets.setdefault(mqtt.connect_client_id(body).decode(), []).append(connection)
            self._arrived.notify_all()
        self._closing.wait()

    def close(self):
        """All connections that the broker has are closed."""
        self._closing.set()

    def take(self, client_id, seconds=_PATIENCE):
        """The broker's socket of the client that connected under this id."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._sockets.get(client_id), seconds):
                raise LabError(f"the broker has not seen client {client_id} within {seconds:g} s")
            connection = self._sockets[client_id].pop(0)
        connection.settimeout(_PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def pair(self, client_id, **options):
        """A new connection, handed off or on its way there."""
        return Pair(client_id, connect(self._lab, client_id, **options), self.take(client_id))

    def pairs(self, *client_ids):
        """Connections that the kernel carries, and nobody else's."""
        made = [self.pair(client_id) for client_id in client_ids]
        checks.all_spliced(self._lab, len(made))
        return made


class Pair:
    """One connection: the sockets of its client and of its broker."""

    def __init__(self, client_id, client, broker):
        self.client_id = client_id
        self.client = client
        self.broker = broker

    def talk(self, seed=0, size=20_000):
        """Bytes cross unharmed in both directions."""
        crosses(self.client, self.broker, clients.payload(f"{self.client_id} up {seed}", size))
        crosses(self.broker, self.client, clients.payload(f"{self.client_id} down {seed}", size))


def start(lab, **options):
    """A desk at the only broker, and the gateway before it, with the times that it has by default."""
    desk = Desk(lab)
    lab.start_gateway(brokers=[1], **{"dataplane": {"retire_grace": "1s"}, **options})
    return desk


def connect(lab, client_id, keepalive=60, port=0, number=10, patience=_PATIENCE):
    """A client's socket behind CONNACK, from a port of its own or from this one."""
    family = socket.AF_INET if lab.family == 4 else socket.AF_INET6
    with lab.topology.inside("clients"):
        connection = lab.track(socket.socket(family, socket.SOCK_STREAM))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(patience)
    connection.bind((client_address(lab.family, number), port))
    connection.connect((lab.listener, clients.PORT))
    connection.sendall(mqtt.connect(client_id, keepalive=keepalive))
    first, body = mqtt.read_packet(connection)
    if first != mqtt.CONNACK or body[1] != 0:
        raise LabError(f"client {client_id}: answered {first:#x} {body.hex()} instead of CONNACK 0")
    return connection


def crosses(sender, receiver, data):
    """What one end says is what the other hears."""
    sender.sendall(data)
    heard = mqtt.read_exactly(receiver, len(data))
    if heard != data:
        at = next(index for index, (one, other) in enumerate(zip(heard, data)) if one != other)
        raise LabError(f"{len(data)} bytes were changed on their way from byte {at} on")


def end_of(connection, seconds=3):
    """('fin' | 'reset' | 'open', bytes that came before)."""
    connection.settimeout(seconds)
    heard = bytearray()
    try:
        while piece := connection.recv(65536):
            heard += piece
        return "fin", bytes(heard)
    except TimeoutError:
        return "open", bytes(heard)
    except ConnectionError:
        return "reset", bytes(heard)
    finally:
        with contextlib.suppress(OSError):
            connection.settimeout(_PATIENCE)


def ends_as(connection, how, heard=b"", seconds=3):
    """The connection's end is told in this way, after these bytes and no others."""
    got, before = end_of(connection, seconds)
    if got != how:
        raise LabError(f"wanted {how} within {seconds:g} s, but it is: {got} (after {len(before)} bytes)")
    if before != heard:
        raise LabError(f"before the {how} came {len(before)} bytes, not the {len(heard)} that were sent")


def gone(lab, slack=3.0):
    """Everybody's entries go within the stated time, and the host's own TCP had no part in it."""
    checks.flows_end(lab.gateway, checks.STATED_SECONDS + slack)
    checks.no_entry_left(lab, 1 + slack)  # retire_grace
    checks.no_connection_counted(lab.gateway, slack)
    checks.guard_silent(lab.gateway)


def state_of(lab, client_id):
    """'active' or 'closing', or None when no flow has this id."""
    flows = lab.gateway.flows("--client-id", client_id)
    return flows[0]["state"] if flows else None


def sequence_numbers(connection):
    """(next to send, next to receive) of a quiet connection."""
    numbers = []
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_ON)
    try:
        for queue in (_SEND_QUEUE, _RECEIVE_QUEUE):
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
            numbers.append(connection.getsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ) & 0xFFFFFFFF)
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, _NO_QUEUE)
    finally:
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF_SILENTLY)
    return tuple(numbers)


def forget(connection):
    """The end loses its memory of the connection, as a device does that loses power: nothing is sent. Returns its
    port."""
    port = connection.getsockname()[1]
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_ON)
    connection.close()
    return port


class Impostor:
    """Sends segments in the name of one end of a flow, past the stack of the host that it stands on."""

    def __init__(self, lab, where, source, destination):
        """where: 'clients' or 'broker'; source and destination as `flows list` writes them."""
        self._topology = lab.topology
        self._where = where
        self._source, self._destination = (parse_endpoint(text) for text in (source, destination))
        self._to = wire.mac(lab.topology.gateway, "front" if where == "clients" else "back")
        self._from = wire.mac(getattr(lab.topology, where), "eth0")

    def forge(self, flags, sequence, acknowledgement=0, data=b""):
        packet = wire.tcp_packet(self._source, self._destination, sequence, acknowledgement, flags, data)
        wire.send_frame(self._topology, self._where, "eth0", wire.frame(packet, self._to, self._from))


def impostors(lab, pair):
    """For the client's and for the broker's side of a quiet connection: (impostor, the number that would be right, the
    right acknowledgement)."""
    flow, = lab.gateway.flows("--client-id", pair.client_id)
    return (Impostor(lab, "clients", flow["client"], flow["listener"]), *sequence_numbers(pair.client)), \
        (Impostor(lab, "broker", flow["broker"], flow["source"]), *sequence_numbers(pair.broker))


def parse_endpoint(text):
    """'10.0.0.1:1883' or '[fd00::1]:1883'"""
    address, port = text.rsplit(":", 1)
    return address.strip("[]"), int(port)


def keeps_talking(sender, receiver, seconds, seed="stream"):
    """One direction alone is used for so long, piece by piece."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        crosses(sender, receiver, clients.payload(f"{seed} {number}", 5000))
        number += 1
        time.sleep(0.05)  # twenty pieces a second are what this direction has to say


def wait_state(lab, client_id, state, seconds):
    wait_until(lambda: state_of(lab, client_id) == state, seconds,
               lambda: f"{client_id} is {state}: {lab.gateway.flows()}", step=0.05)
