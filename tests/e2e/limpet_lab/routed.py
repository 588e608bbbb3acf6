# SPDX-License-Identifier: Apache-2.0
"""A network in which nobody shares a link with the gateway: clients behind one router, brokers behind two.

    NAME-c ------- NAME-x ------- NAME-g ======= NAME-p ======= NAME-b
    10.91.0.10        .254            front  back        eth0   10.92.0.11, .12, .13 ...
                                          \\==== NAME-q ====/
                                           back2       eth1

The addresses of clients, listeners and brokers are those of Topology; the links between have nets of their own:
93 (x-g), 94 and 95 (g-p, g-q), 96 and 97 (p-b, q-b). The gateway's 10.92.0.1 lies on its loopback device and is the
source towards brokers whichever way they are reached.
"""
from .process import run
from .topology import BROKER_NET, CLIENT_NET, PREFIX_LENGTH, Topology, broker_address, client_address

_LINK_NET = {4: "10.{}.0.{}", 6: "fd00:{}::{}"}
_HOST = {4: 32, 6: 128}


def _link_address(family, net, number):
    return _LINK_NET[family].format(net, number)


class RoutedTopology(Topology):
    """Both ways to the brokers stand; packets take that by router p until use_path("q") says otherwise."""

    def __init__(self, **options):
        super().__init__(**options)
        self.client_router, self.router_p, self.router_q = (f"{self.name}-{letter}" for letter in "xpq")
        self.namespaces += [self.client_router, self.router_p, self.router_q]
        self.interfaces = ["front", "back", "back2"]

    def _build(self):
        for namespace in self.namespaces:
            run("ip", "netns", "add", namespace)
            self._sysctls(namespace)
        self._link(self.clients, "eth0", self.client_router, "far")
        self._link(self.client_router, "near", self.gateway, "front")
        for router, back, door in ((self.router_p, "back", "eth0"), (self.router_q, "back2", "eth1")):
            self._link(self.gateway, back, router, "near")
            self._link(router, "far", self.broker, door)
        self._addresses()
        # As in Topology: a checksum that is still to be made does not survive a redirect by XDP.
        for namespace in (self.client_router, self.router_p, self.router_q):
            run("ip", "netns", "exec", namespace, "ethtool", "-K", "near", "tx", "off")
        for namespace, name in ((self.clients, "eth0"), (self.broker, "eth0"), (self.broker, "eth1")):
            run("ip", "netns", "exec", namespace, "ethtool", "-K", name, "tx", "off")

    def _sysctls(self, namespace):
        super()._sysctls(namespace)
        if namespace in (self.client_router, self.router_p, self.router_q):
            run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1",
                "net.ipv6.conf.all.forwarding=1")

    def _addresses(self):
        for family in (4, 6):
            def link(net, number, of=family):
                return _link_address(of, net, number)

            whole, host = PREFIX_LENGTH[family], _HOST[family]
            listener = CLIENT_NET[family].format(1)
            mine = {
                self.clients: [*((client_address(family, 10 + number), whole, "eth0")
                                 for number in range(self.client_addresses))],
                self.client_router: [(CLIENT_NET[family].format(254), whole, "far"), (link(93, 2), whole, "near")],
                self.gateway: [(listener, host, "lo"), (BROKER_NET[family].format(1), host, "lo"),
                               (link(93, 1), whole, "front"), (link(94, 1), whole, "back"),
                               (link(95, 1), whole, "back2")],
                self.router_p: [(link(94, 2), whole, "near"), (link(96, 1), whole, "far")],
                self.router_q: [(link(95, 2), whole, "near"), (link(97, 1), whole, "far")],
                self.broker: [(link(96, 2), whole, "eth0"), (link(97, 2), whole, "eth1"),
                              *((broker_address(family, number), host, "lo") for number in range(1, self.brokers + 1))],
            }
            clients = f"{CLIENT_NET[family].format(0)}/{whole}"
            brokers = f"{BROKER_NET[family].format(0)}/{whole}"
            routes = {
                self.clients: [f"{listener}/{host} via {CLIENT_NET[family].format(254)}",
                               f"default via {CLIENT_NET[family].format(254)}"],
                self.client_router: [f"{listener}/{host} via {link(93, 1)}", f"default via {link(93, 1)}"],
                self.gateway: [f"{clients} via {link(93, 2)}"],
                self.router_p: [f"default via {link(94, 1)}", f"{brokers} via {link(96, 2)}",
                                f"{BROKER_NET[family].format(1)}/{host} via {link(94, 1)}"],
                self.router_q: [f"default via {link(95, 1)}", f"{brokers} via {link(97, 2)}",
                                f"{BROKER_NET[family].format(1)}/{host} via {link(95, 1)}"],
                self.broker: [],
            }
            nodad = " nodad" if family == 6 else ""
            for namespace, addresses in mine.items():
                lines = [f"addr add {address}/{length} dev {device}{nodad}" for address, length, device in addresses]
                lines += [f"route add {route}" for route in routes[namespace]]
                run("ip", "-n", namespace, f"-{family}", "-batch", "-", text_input="\n".join(lines) + "\n")
            self.use_path("p", family)

    def use_path(self, router, *families):
        """Packets between gateway and brokers go by router 'p' or 'q' from now on, in both directions."""
        near, far = (94, 96) if router == "p" else (95, 97)
        for family in families or (4, 6):
            brokers = f"{BROKER_NET[family].format(0)}/{PREFIX_LENGTH[family]}"
            run("ip", "-n", self.gateway, f"-{family}", "route", "replace", brokers, "via",
                _link_address(family, near, 2), "src", BROKER_NET[family].format(1))
            run("ip", "-n", self.broker, f"-{family}", "route", "replace", "default", "via",
                _link_address(family, far, 1))

    def packets_out(self, device):
        """How many packets left the gateway by this device."""
        path = f"/sys/class/net/{device}/statistics/tx_packets"
        return int(run("ip", "netns", "exec", self.gateway, "cat", path).stdout)

    def narrow(self, size):
        """Router p takes packets to the brokers up to this size alone (its link is as wide as before, so that what the
        brokers send still comes through)."""
        for family in (4, 6):
            brokers = f"{BROKER_NET[family].format(0)}/{PREFIX_LENGTH[family]}"
            run("ip", "-n", self.router_p, f"-{family}", "route", "replace", brokers, "via", _link_address(family, 96, 2),
                "mtu", "lock", size)
