# SPDX-License-Identifier: Apache-2.0
"""WebSocket on both sides of a gateway: brokers of it, and a client whose every frame a scenario decides."""
import importlib.util
import json
import os
import pathlib
import socket
import struct
import sys

from . import clients, mqtt
from .broker import PORT
from .process import LabError, Missing, wait_until
from .topology import broker_address

WEB_PORT = 8083
BINARY, CONTINUATION, TEXT, CLOSE, PING, PONG = 2, 0, 1, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class WebBroker:
    """WebSocket in front of broker `number`, on the broker's own address."""

    def __init__(self, lab, number, port=WEB_PORT):
        if not importlib.util.find_spec("websockets"):
            raise Missing("python3-websockets")
        script = pathlib.Path(__file__).with_name("websocket_bridge.py")
        self._process = lab.resources.start(
            [sys.executable, script, broker_address(lab.family, number), port, PORT],
            lab.folder / f"web{number}.log", namespace=lab.topology.broker)
        self._topology = lab.topology
        self._port = port
        self._address = broker_address(lab.family, number)

    def wait_ready(self):
        def listening():
            if not self._process.running:
                raise LabError(f"the WebSocket server ended: {self._process.log()}")
            return any(state == "LISTEN" and own.rsplit(":", 1) == [_bracketed(self._address), str(self._port)]
                       for state, own, _ in self._topology.tcp_sockets("broker"))

        wait_until(listening, 15, lambda: f"the WebSocket server listens: {self._process.log()}")
        return self

    @property
    def requests(self):
        """Every handshake, as a dictionary of path, subprotocol and headers."""
        return [json.loads(line) for line in self._process.log().splitlines() if line.startswith("{")]


def _bracketed(address):
    return f"[{address}]" if ":" in address else address


def start_web_brokers(lab):
    """Brokers, each with a WebSocket server."""
    lab.start_brokers()
    return [started.wait_ready() for started in [WebBroker(lab, broker.number) for broker in lab.brokers]]


def request(path="/mqtt", *more, subprotocol="mqtt"):
    """A client's opening handshake."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: limpet", "Upgrade: websocket", "Connection: Upgrade",
                        "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}",
                        f"Sec-WebSocket-Protocol: {subprotocol}", *more, "", ""]).encode()


def _masked(payload, key):
    """Both ways (RFC 6455 5.3), as one long number: a loop over bytes would take minutes for megabytes."""
    pattern = (key * (len(payload) // 4 + 1))[:len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
    return mixed.to_bytes(len(payload), "big")


def frame(payload, opcode=BINARY, final=True, masked=True):
    first = bytes([(0x80 if final else 0) | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        length = bytes([bit | len(payload)])
    elif len(payload) < 1 << 16:
        length = bytes([bit | 126]) + struct.pack("!H", len(payload))
    else:
        length = bytes([bit | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return first + length + payload
    key = os.urandom(4)
    return first + length + key + _masked(payload, key)


class WebSocket:
    """A client whose socket carries frames; recv() and sendall() are of the MQTT in them."""

    def __init__(self, connection, path="/mqtt", upgrade=True):
        self.connection = connection
        self.close_code = None
        self.pongs = []
        self._have = bytearray()
        if upgrade:
            connection.sendall(request(path))
            self.read_answer()

    def read_answer(self):
        head = self.read_head()
        if not head.startswith("HTTP/1.1 101 ") or ACCEPT not in head or "Sec-WebSocket-Protocol: mqtt\r\n" not in head:
            raise LabError(f"not upgraded: {head}")

    def read_head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += mqtt.read_exactly(self.connection, 1)
        return head.decode()

    def sendall(self, payload):
        self.connection.sendall(frame(payload))

    def recv(self, count):
        while not self._have:
            if not self._read_frame():
                return b""
        taken = bytes(self._have[:count])
        del self._have[:count]
        return taken

    def _read_frame(self):
        if self.close_code is not None:
            return False
        try:
            first, length = mqtt.read_exactly(self.connection, 2)
        except EOFError:
            return False
        if length & 0x80:
            raise LabError("a server's frame is masked")
        if length > 125:
            form, size = ("!H", 2) if length == 126 else ("!Q", 8)
            length, = struct.unpack(form, mqtt.read_exactly(self.connection, size))
        payload = mqtt.read_exactly(self.connection, length)
        opcode = first & 0x0F
        if opcode in (BINARY, CONTINUATION):
            self._have += payload
        elif opcode == PONG:
            self.pongs.append(payload)
        elif opcode == CLOSE:
            self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
        return True

    def settimeout(self, seconds):
        self.connection.settimeout(seconds)

    def getsockname(self):
        return self.connection.getsockname()

    def close(self):
        self.connection.close()


def session(lab, client_id, port=WEB_PORT, context=None, **options):
    """A WebSocket, within TLS where there is a context, with a CONNECT that was accepted."""
    connection = clients.raw(lab.topology, lab.listener, port=port)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    if context:
        connection = context.wrap_socket(connection, server_hostname="localhost")
    web = lab.track(WebSocket(connection))
    web.sendall(mqtt.connect(client_id, **options))
    first, body = mqtt.read_packet(web)
    if first != mqtt.CONNACK or body[1] != 0:
        raise LabError(f"{client_id}: answered with {first:#x} {body!r}")
    return web
