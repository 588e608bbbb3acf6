# SPDX-License-Identifier: Apache-2.0
"""Brokers of a laboratory: real mosquitto, one process per address, and scripted ones that misbehave on purpose."""
import contextlib
import pathlib
import re
import socket
import threading

from . import mqtt
from .process import LabError, patient, wait_until
from .topology import broker_address

PORT = 1883


def _accepts(topology, address):
    with topology.inside("broker"), contextlib.suppress(OSError):
        socket.create_connection((address, PORT), timeout=patient(1)).close()
        return True
    return False


class Mosquitto:
    """An independent broker (no bridge): what it stores, only its own clients see."""

    def __init__(self, resources, topology, number, folder, listener_options=""):
        self.number = number
        self.name = f"b{number}"
        self._resources = resources
        self._topology = topology
        self._listener_options = listener_options
        self._folder = pathlib.Path(folder) / self.name
        self._folder.mkdir(exist_ok=True)
        self.process = None

    def address(self, family):
        return broker_address(family, self.number)

    def start(self):
        listeners = "".join(f"listener {PORT} {self.address(family)}\n{self._listener_options}" for family in (4, 6))
        config = self._folder / "mosquitto.conf"
        config.write_text(f"""{listeners}user root
allow_anonymous true
persistence true
persistence_location {self._folder}/
max_queued_messages 0
max_inflight_messages 0
log_dest file {self._folder}/broker.log
""")
        self.process = self._resources.start(["mosquitto", "-c", config], self._folder / "output.log",
                                             namespace=self._topology.broker)
        return self

    def wait_ready(self):
        try:
            wait_until(lambda: not self.process.running or _accepts(self._topology, self.address(4)), 10,
                       f"mosquitto {self.name} accepts connections")
        finally:
            if not self.process.running:
                raise LabError(f"mosquitto {self.name} ended: {self.process.log()}")
        return self

    def stop(self):
        self.process.end()

    def log(self):
        with open(self._folder / "broker.log", errors="replace") as file:
            return file.read()

    def saw_client(self, client_id):
        """How often this broker accepted a CONNECT of the client."""
        return self.log().count(f" as {client_id} (")

    def peers_of(self, client_id):
        """Address and port from which the client came, each time that it did."""
        pattern = rf"New client connected from (\S+):(\d+) as {re.escape(client_id)} \("
        return [(address, int(port)) for address, port in re.findall(pattern, self.log())]


class Scripted:
    """A broker that does what `story(connection)` says with each connection; a thread per connection."""

    def __init__(self, resources, topology, number, family, story):
        self.number = number
        self.name = f"b{number}"
        self.accepted = 0
        self.errors = []
        self._story = story
        self._open = []
        self._lock = threading.Lock()
        with topology.inside("broker"):
            self._listener = socket.create_server((broker_address(family, number), PORT), backlog=1024,
                                                  family=socket.AF_INET if family == 4 else socket.AF_INET6)
        resources.on_exit(self.stop)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._open.append(connection)
            threading.Thread(target=self._tell, args=(connection,), daemon=True).start()

    def _tell(self, connection):
        try:
            self._story(connection)
        except (OSError, EOFError):
            pass
        except Exception as error:  # kept for the scenario, which asks with check()
            self.errors.append(error)
        finally:
            connection.close()

    def check(self):
        """Raises what a story raised."""
        if self.errors:
            raise LabError(f"broker {self.name}: {self.errors[0]!r}")

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def never_answers(connection):
    """Takes whatever comes and says nothing, until the other side leaves."""
    while connection.recv(65536):
        pass


def closes_at_connect(connection):
    """Reads CONNECT and closes without a word."""
    mqtt.read_packet(connection)


def accepts_everything(connection):
    """Answers CONNECT with CONNACK and then every PINGREQ."""
    first, body = mqtt.read_packet(connection)
    connection.sendall(mqtt.connack(version=mqtt.connect_version(body)))
    while True:
        first, _ = mqtt.read_packet(connection)
        if first == mqtt.PINGREQ:
            connection.sendall(bytes([mqtt.PINGRESP, 0]))
