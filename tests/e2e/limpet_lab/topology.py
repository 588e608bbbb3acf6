# SPDX-License-Identifier: Apache-2.0
"""Networks of namespaces: clients, the gateway and brokers, two-armed or on one link behind a bridge.

    two arms    NAME-c --------- NAME-g --------- NAME-b
                10.91.0.10       10.91.0.1        10.92.0.11, .12, .13 ...
                                 10.92.0.1
    one arm     the same addresses, one interface each, on a bridge in NAME-s
    VLAN        the clients' link carries tags: eth0.N and front.N have the addresses
    virtio      two arms of virtio_net devices instead of veths, in guests of scripts/test-kernels

IPv6 likewise: fd00:91::/64 and fd00:92::/64 with the same last numbers. Clients and brokers route to each other
through the gateway, so plain kernel forwarding can be tried and measured beside Limpet.
"""
import contextlib
import itertools
import os

from . import wires
from .process import Missing, inside, run

CLIENT_NET = {4: "10.91.0.{}", 6: "fd00:91::{}"}
BROKER_NET = {4: "10.92.0.{}", 6: "fd00:92::{}"}
PREFIX_LENGTH = {4: 24, 6: 64}
_numbers = itertools.count(1)


def client_address(family, number=10):
    return CLIENT_NET[family].format(number)


def broker_address(family, number):
    """The address of broker `number`, counted from 1."""
    return BROKER_NET[family].format(10 + number)


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _net_command(namespace, *words):
    with inside(namespace):  # without a mount namespace of its own, which nobody needs for this
        return run(*words)


def _batch(namespace, lines):
    run("ip", "-n", namespace, "-batch", "-", text_input="\n".join(lines) + "\n")


class Topology:
    """Namespaces with names of their own; `with` makes and removes them."""

    def __init__(self, brokers=3, client_addresses=1, one_arm=False, vlan=None, wire="veth", prefix="lpt"):
        self.brokers = brokers
        self.client_addresses = client_addresses
        self.one_arm = one_arm
        self.wire = wire
        self.vlan = vlan
        self._virtio = None
        self.name = f"{prefix}-{os.getpid()}-{next(_numbers)}"
        self.clients = f"{self.name}-c"
        self.gateway = f"{self.name}-g"
        self.broker = f"{self.name}-b"
        self.switch = f"{self.name}-s" if one_arm else None
        self.namespaces = [self.clients, self.gateway, self.broker] + ([self.switch] if one_arm else [])
        #: the gateway's interfaces, as `limpet serve -i` wants them
        self.interfaces = ["one"] if one_arm else [self._tagged("front"), "back"]

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        """Ends what still runs in the namespaces (they are ours alone) and deletes them."""
        if self._virtio:
            self._virtio.give_back()
        for namespace in self.namespaces:
            for pid in run("ip", "netns", "pids", namespace, check=False).stdout.split():
                if int(pid) != os.getpid():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), 9)
            run("ip", "netns", "del", namespace, check=False)

    def leftovers(self):
        """Names of namespaces of ours that still exist."""
        return [name for name in self.namespaces if os.path.exists(f"/run/netns/{name}")]

    def inside(self, where):
        """Sockets that the calling thread makes belong to 'clients', 'gateway' or 'broker'."""
        return inside(getattr(self, where))

    def listener(self, family):
        return CLIENT_NET[family].format(1)

    def _build(self):
        for namespace in self.namespaces:
            run("ip", "netns", "add", namespace)
            self._sysctls(namespace)
        if self.one_arm:
            self._link(self.clients, "eth0", self.switch, "c")
            self._link(self.gateway, "one", self.switch, "g")
            self._link(self.broker, "eth0", self.switch, "b")
            self._bridge()
        elif self.wire == "virtio":
            self._virtio = wires.VirtioWires()
            self._virtio.connect((self.clients, "eth0"), (self.gateway, "front"))
            self._virtio.connect((self.gateway, "back"), (self.broker, "eth0"))
        else:
            self._link(self.clients, "eth0", self.gateway, "front")
            self._link(self.gateway, "back", self.broker, "eth0")
        if self.vlan:
            wires.tag(self.clients, "eth0", self.vlan)
            wires.tag(self.gateway, "front", self.vlan)
        self._addresses()
        if self.wire == "virtio":
            return  # these have no checksum offload
        # A packet that XDP redirects loses a checksum that is still to be made: whoever sends to the gateway makes
        # it at once. The bridge sends as well, when it cuts what GRO has joined.
        senders = [(self.switch, "g")] if self.one_arm else []
        for namespace, name in [(self.clients, "eth0"), (self.broker, "eth0"), *senders]:
            _net_command(namespace, "ethtool", "-K", name, "tx", "off")

    def _sysctls(self, namespace):
        settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0",
                    "net.ipv6.conf.default.accept_ra=0"]
        if namespace == self.gateway:
            settings += ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                         "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0",
                         # sockets of a daemon that was killed: whoever waits for the last of them need not wait a minute
                         "net.ipv4.tcp_fin_timeout=5"]
        if namespace == self.clients:
            settings += ["net.ipv4.ip_local_port_range=1024 65535"]
        if namespace == self.broker:
            settings += ["net.core.somaxconn=16384", "net.ipv4.tcp_max_syn_backlog=16384"]
        _net_command(namespace, "sysctl", "-q", "-w", *settings)
        run("ip", "-n", namespace, "link", "set", "lo", "up")

    def _link(self, one, one_name, other, other_name):
        """A veth pair that behaves like a pair of NICs: GRO and a queue in front of the 256 slots of its ring."""
        # from inside: older kernels refuse a name that the namespace we run in has as well (6.1: "File exists")
        _batch(one, [f"link add {one_name} type veth peer name {other_name} netns {other}", f"link set dev {one_name} up"])
        _batch(other, [f"link set dev {other_name} up"])
        ends = ((one, one_name), (other, other_name))
        for namespace, name in ends:
            # Only now: a veth becomes a target of XDP's redirect when GRO is switched on at its peer while that is up.
            _net_command(namespace, "ethtool", "-K", name, "gro", "on")
            run("tc", "-n", namespace, "qdisc", "replace", "dev", name, "root", "pfifo", "limit", "1000")

    def _tagged(self, device):
        """The device of the clients' link that has the addresses."""
        return f"{device}.{self.vlan}" if self.vlan else device

    def _bridge(self):
        _batch(self.switch, ["link add br0 type bridge", "link set br0 up",
                             *(f"link set dev {port} master br0" for port in ("c", "g", "b"))])

    def _addresses(self):
        front, back = ("one", "one") if self.one_arm else (self._tagged("front"), "back")
        client = self._tagged("eth0")
        mine = {self.clients: [], self.gateway: [], self.broker: []}
        for family in (4, 6):
            def add(namespace, address, device):
                mine[namespace].append(f"addr add {address}/{PREFIX_LENGTH[family]} dev {device}"
                                       + (" nodad" if family == 6 else ""))

            for number in range(self.client_addresses):
                add(self.clients, client_address(family, 10 + number), client)
            add(self.gateway, CLIENT_NET[family].format(1), front)
            add(self.gateway, BROKER_NET[family].format(1), back)
            for number in range(1, self.brokers + 1):
                add(self.broker, broker_address(family, number), "eth0")
            mine[self.clients].append(f"route add default via {CLIENT_NET[family].format(1)}")
            mine[self.broker].append(f"route add default via {BROKER_NET[family].format(1)}")
        for namespace, lines in mine.items():
            _batch(namespace, lines)

    def lose(self, percent):
        """Drops this share of the TCP packets that arrive at clients and at brokers (0: none any more)."""
        for namespace in (self.clients, self.broker):
            if run("ip", "netns", "exec", namespace, "nft", "flush", "ruleset", check=False).returncode != 0:
                raise Missing("nftables")
            if percent:
                rules = ("table inet loss {\n chain input {\n  type filter hook input priority 0;\n"
                         f"  meta l4proto tcp numgen random mod 100 < {percent} drop\n }}\n}}\n")
                run("ip", "netns", "exec", namespace, "nft", "-f", "-", text_input=rules)

    def impair(self, words):
        """netem on what clients and brokers send, such as "loss 2% delay 5ms"; None: none any more."""
        for namespace in (self.clients, self.broker):
            wires.netem(namespace, "eth0", words)

    def tcp_sockets(self, where="gateway"):
        """TCP sockets of a namespace as (state, local, peer)."""
        listing = _net_command(getattr(self, where), "ss", "-Htan").stdout
        return [(words[0], words[3], words[4]) for words in map(str.split, listing.splitlines()) if len(words) >= 5]

    def ping(self, family=4, broker=1):
        """Plain routing from the clients to a broker works, or LabError."""
        run("ip", "netns", "exec", self.clients, "ping", f"-{family}", "-c", "1", "-W", "2",
            broker_address(family, broker))
