# SPDX-License-Identifier: Apache-2.0
"""One laboratory: a topology, its brokers and a gateway, made together and removed together."""
import contextlib
import os
import pathlib
import shutil
import tempfile

from . import checks, clients
from .broker import Mosquitto, Scripted
from .gateway import Limpet
from .process import LabError, Missing, Resources, run
from .routed import RoutedTopology
from .topology import Topology


class Lab:
    """`with Lab(...) as lab:` the namespaces stand; brokers and the gateway start when they are told to."""

    def __init__(self, binary, mode="tc", family=4, brokers=3, client_addresses=1, one_arm=False, routed=False,
                 vlan=None, wire="veth", keep=False, prefix="lpt"):
        self.binary = pathlib.Path(binary)
        self.mode = mode
        self.family = family
        self.brokers = []
        self.gateway = None
        self._topology_options = {"brokers": brokers, "client_addresses": client_addresses, "one_arm": one_arm,
                                  "vlan": vlan, "wire": wire, "prefix": prefix}
        self._topology_kind = RoutedTopology if routed else Topology
        self.topology = None
        self.folder = None
        self.resources = Resources()
        self._keep = keep
        self._clients = []

    def __enter__(self):
        try:
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="limpet-lab-"))
            if not self._keep:
                self.resources.on_exit(shutil.rmtree, self.folder)
            self.topology = self.resources.enter_context(self._topology_kind(**self._topology_options))
        except BaseException:
            self.resources.close()
            raise
        return self

    def __exit__(self, *_):
        for client in self._clients:
            with contextlib.suppress(Exception):
                client.close() if hasattr(client, "close") else client.disconnect()
        self.resources.close()
        if left := self.topology.leftovers():
            self.resources.trouble.append(f"namespaces left: {left}")

    # what a scenario is made of

    @property
    def listener(self):
        """Where clients connect."""
        return self.topology.listener(self.family)

    def bpffs(self):
        """A bpffs mounted outside of the namespaces, so that pins outlive every daemon."""
        path = self.folder / "bpf"
        if not path.exists():
            path.mkdir()
            run("mount", "-t", "bpf", "limpet-lab", path)
            self.resources.on_exit(run, "umount", path)
        return path / "limpet"

    def start_brokers(self, numbers=None, listener_options=""):
        """Real brokers on their addresses (all of them when no number is given)."""
        started = [Mosquitto(self.resources, self.topology, number, self.folder, listener_options).start()
                   for number in numbers or range(1, self.topology.brokers + 1)]
        for broker in started:
            broker.wait_ready()
        self.brokers += started
        return started

    def scripted_broker(self, number, story):
        return Scripted(self.resources, self.topology, number, self.family, story)

    def make_gateway(self, bpffs="outside", **options):
        """A Limpet that is not started yet. bpffs: 'outside' of the namespaces, or None for the default path."""
        path = self.bpffs() if bpffs == "outside" else None
        self.gateway = Limpet(self.resources, self.topology, self.binary, self.mode, self.folder, bpffs=path,
                              **options)
        return self.gateway

    def start_gateway(self, **options):
        self.make_gateway(**options).start()
        self.check_mode()
        return self.gateway

    def start(self, **options):
        """All brokers and the gateway."""
        self.start_brokers()
        return self.start_gateway(**options)

    def check_mode(self):
        """The data path is attached as the scenario wants it, on every interface."""
        if self.mode == "auto":
            return
        for interface in self.gateway.status()["interfaces"]:
            if interface["name"] in self.topology.interfaces and interface["mode"] != self.mode:
                self._require_features(interface["name"])
                raise LabError(f"wanted mode {self.mode}, attached: {interface}")

    def _require_features(self, interface):
        """Missing, by the name that `limpet features` gives it, if this machine cannot do the mode."""
        needed = {"root", "btf", "tc", "ringbuf", "repair"}
        if self.mode == "xdp":
            needed |= {"xdp", f"xdp-native {interface}"}
        for feature in self.gateway.features()["features"]:
            if feature["name"] in needed and not feature["available"]:
                raise Missing(f"{feature['name']} ({feature['detail']})")

    def client(self, client_id, **options):
        return self.track(clients.Client(self.topology, self.listener, client_id, **options))

    def raw(self, **options):
        return self.track(clients.raw(self.topology, self.listener, **options))

    def raw_session(self, client_id, **options):
        return self.track(clients.raw_session(self.topology, self.listener, client_id, **options))

    def track(self, client):
        """Closed when the scenario ends."""
        self._clients.append(client)
        return client

    def leave(self):
        """All clients disconnect."""
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.close() if hasattr(client, "close") else client.disconnect()
        self._clients.clear()

    def acquaint(self, prefix):
        """broker name -> an id that the balancer remembers there. Where an unknown id goes depends on the load
        (hash never gives a broker more than 1.25 times its share), so this is done before anybody else comes."""
        names = {}
        for number in range(1, self.topology.brokers + 1):
            names[f"b{number}"] = self.gateway.id_at(f"b{number}", self.family, prefix)
        for client_id in names.values():
            clients.raw_session(self.topology, self.listener, client_id).close()
            checks.no_connection_counted(self.gateway)
        return names

    def broker_of(self, client_id):
        """The broker that has the client, by the brokers' own logs; exactly one may have seen it."""
        seen = [broker.name for broker in self.brokers if broker.saw_client(client_id)]
        if len(seen) != 1:
            raise LabError(f"client {client_id} was seen by {seen or 'no broker'}")
        return seen[0]

    def finish(self, leaves=()):
        """What must hold at the end of every scenario; everybody leaves first. `leaves`: see checks.nothing_left."""
        self.leave()
        gateway = self.gateway
        if gateway is None or gateway.process is None or gateway.ended:
            return
        if not gateway.process.running:
            raise LabError(f"limpet ended by itself with status {gateway.process.popen.returncode}")
        checks.nothing_left(self, leaves)
        gateway.stop()
        checks.log_clean(gateway)

    def diagnosis(self):
        """What a person wants to see of a scenario that failed."""
        parts = []
        if self.gateway:
            with contextlib.suppress(Exception):
                parts.append(f"status: {self.gateway.command('status', '--json', timeout=5).stdout.strip()[:3000]}")
            parts.append("limpet's log ends:\n" + self.gateway.log()[-3000:])
        return "\n".join(parts)


def require_capabilities(mode, binary):
    """Missing, by name, when this machine cannot run a scenario in this mode."""
    if os.geteuid() != 0:
        raise Missing("root")
    for tool in ("ip", "tc", "ethtool", "ss", "mosquitto", "prlimit"):
        if not shutil.which(tool):
            raise Missing(f"command {tool}")
    if not os.access(binary, os.X_OK):
        raise LabError(f"no limpet at {binary}: scripts/build")
