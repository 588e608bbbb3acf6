# SPDX-License-Identifier: Apache-2.0
"""Clients of a laboratory: paho in threads, mosquitto_pub and mosquitto_sub as processes, plain sockets."""
import errno
import hashlib
import json
import pathlib
import queue
import random
import socket
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from . import mqtt
from .process import LabError, Missing, patient, run, wait_until

PORT = 1883
PAHO_VERSION = {mqtt.V31: paho.MQTTv31, mqtt.V311: paho.MQTTv311, mqtt.V5: paho.MQTTv5}


def payload(seed, size):
    """The same random bytes for the same seed."""
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Client:
    """A paho client in a thread of its own; everything it hears waits in a queue."""

    def __init__(self, topology, address, client_id, version=mqtt.V311, clean=True, keepalive=60, will=None,
                 session_seconds=None, port=PORT, tls=None, websocket=False):
        self.client_id = client_id
        self.messages = queue.Queue()
        self.connected = threading.Event()
        self.subscribed = threading.Event()
        self.lost = threading.Event()
        self.session_present = None
        self.code = None
        self._published = {}
        self._lock = threading.Lock()
        options = {} if version == mqtt.V5 else {"clean_session": clean}
        if websocket:
            options["transport"] = "websockets"
        self.paho = paho.Client(client_id, protocol=PAHO_VERSION[version], **options)
        self.paho.reconnect_delay_set(min_delay=3600)  # one connection: who comes back says so
        self.paho.max_inflight_messages_set(1000)
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = lambda *_: self.lost.set()
        self.paho.on_message = lambda _client, _data, message: self.messages.put(message)
        self.paho.on_subscribe = lambda *_: self.subscribed.set()
        if tls:  # arguments of paho's tls_set
            self.paho.tls_set(**tls)
            self.paho.tls_insecure_set(True)
        if will:
            self.paho.will_set(will[0], will[1], qos=1)
        arguments = {}
        if version == mqtt.V5:
            arguments["clean_start"] = clean
            if session_seconds is not None:
                arguments["properties"] = Properties(PacketTypes.CONNECT)
                arguments["properties"].SessionExpiryInterval = session_seconds
        with topology.inside("clients"):  # threads started here live there
            self.paho.connect(address, port, keepalive, **arguments)
            self.paho.loop_start()
        if not self.connected.wait(patient(15)):
            raise LabError(f"client {client_id}: no CONNACK within 15 s")
        if self.code != 0:
            raise LabError(f"client {client_id}: CONNACK with code {self.code}")

    def _on_connect(self, _client, _data, flags, code, *_):
        self.session_present = flags["session present"]
        self.code = int(getattr(code, "value", code))
        self.connected.set()

    def subscribe(self, topic, qos=0):
        self.subscribed.clear()
        self.paho.subscribe(topic, qos)
        if not self.subscribed.wait(patient(15)):
            raise LabError(f"client {self.client_id}: no SUBACK within 15 s")

    def publish(self, topic, data, qos=0, retain=False, wait=15):
        """Publishes and waits until the broker has answered as the QoS demands."""
        info = self.paho.publish(topic, data, qos, retain)
        if wait:
            info.wait_for_publish(patient(wait))
            if not info.is_published():
                raise LabError(f"client {self.client_id}: QoS {qos} message not acknowledged within {wait} s")
        return info

    def receive(self, seconds=15):
        try:
            return self.messages.get(timeout=patient(seconds))
        except queue.Empty:
            raise LabError(f"client {self.client_id}: no message within {seconds} s") from None

    def receive_payloads(self, count, seconds=15):
        return [self.receive(seconds).payload for _ in range(count)]

    def nothing_more(self, seconds=0.3):
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise LabError(f"client {self.client_id}: one message too many: {message.topic} {message.payload[:40]!r}")

    @property
    def alive(self):
        return not self.lost.is_set()

    def disconnect(self):
        """DISCONNECT and the end of the thread."""
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self):
        """Ends the thread and resets the connection, without DISCONNECT."""
        self.paho.loop_stop()
        reset(self.paho.socket())


def raw(topology, address, port=PORT, timeout=10, source=None):
    """A connected TCP socket of the clients' namespace."""
    with topology.inside("clients"):
        connection = socket.create_connection((address, port), timeout=patient(timeout), source_address=source)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def raw_from(topology, address, source, port=PORT, timeout=10):
    """As raw(), from an address and port that were used a moment ago: as soon as the client's own kernel is through
    with what was there before."""
    def attempt():
        with topology.inside("clients"):
            connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        connection.settimeout(timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            connection.bind(source)
            connection.connect((address, port))
            return connection
        except OSError as error:
            connection.close()
            if error.errno in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
                return None
            raise

    return wait_until(attempt, 5, f"a socket from {source} to {address}", step=0.01)


def forget(connection):
    """Closes without a word to anybody, as a device does that loses its power (TCP_REPAIR)."""
    connection.setsockopt(socket.IPPROTO_TCP, 19, 1)
    connection.close()


def reset(connection):
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def raw_session(topology, address, client_id, **options):
    """A plain socket with CONNECT sent and CONNACK read; LabError unless the code is 0."""
    connection = raw(topology, address)
    connection.sendall(mqtt.connect(client_id, **options))
    first, body = mqtt.read_packet(connection)
    if first != mqtt.CONNACK or body[1] != 0:
        raise LabError(f"client {client_id}: answered {first:#x} {body.hex()} instead of CONNACK 0")
    return connection


def ping(connection):
    """PINGREQ and its answer: the connection is whole."""
    connection.sendall(bytes([mqtt.PINGREQ, 0]))
    first, _ = mqtt.read_packet(connection)
    if first != mqtt.PINGRESP:
        raise LabError(f"PINGREQ was answered by {first:#x}")


def mosquitto_pub(topology, address, *words, timeout=30, data=None):
    """The real mosquitto_pub, run to its end."""
    return run("ip", "netns", "exec", topology.clients, "mosquitto_pub", "-h", address, "-p", PORT, *words,
               timeout=timeout, text_input=data)


def mosquitto_sub(resources, topology, address, output, *words):
    """The real mosquitto_sub as a process; its messages stand in `output`."""
    return resources.start(["mosquitto_sub", "-h", address, "-p", PORT, *words], output,
                           namespace=topology.clients)


def mqttjs(topology, url, client_id, version=mqtt.V311, size=1000, ca=None, seconds=60):
    """A client of MQTT.js hears its own message of `size` bytes in each QoS; Missing where it is not installed."""
    program = pathlib.Path(__file__).resolve().parent.parent / "load" / "mqttjs.js"
    modules = pathlib.Path("/usr/share/nodejs")
    if not (modules / "mqtt").exists():
        raise Missing("MQTT.js (Debian's node-mqtt)")
    done = run("ip", "netns", "exec", topology.clients, "env", f"NODE_PATH={modules}", "node", program, url, client_id,
               version, size, *([ca] if ca else []), check=False, timeout=seconds)
    if done.returncode != 0 or json.loads(done.stdout or "{}").get("heard") != 3:
        raise LabError(f"MQTT.js {client_id} at {url}: {done.stdout} {done.stderr[-1000:]}")
