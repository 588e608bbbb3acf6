# SPDX-License-Identifier: Apache-2.0
"""Who is measured: plain kernel forwarding, haproxy, and Limpet in two modes; one at a time on the same topology."""
import contextlib

from limpet_lab.gateway import Limpet, toml_table
from limpet_lab.process import LabError, wait_until
from limpet_lab.topology import CLIENT_NET, endpoint

from .site import PORT

# A process has 20,000 descriptors where nobody may raise it, and a proxied connection takes two.
_HAPROXY_CONNECTIONS = 9500


class Contender:
    """`with contender.running(site, …):` it serves; `targets` is where clients connect then."""
    name = ""
    title = ""

    @contextlib.contextmanager
    def running(self, site, port=PORT, crowd=0):
        """port: of the brokers; crowd: how many connections there will be at once, if many."""
        raise NotImplementedError

    def pids(self):
        """Its processes."""
        return []

    def limpet(self):
        """The daemon to ask, if it is one."""
        return None

    def targets(self, site, port=PORT):
        return [endpoint(CLIENT_NET[4].format(1), PORT)]


class Plain(Contender):
    """Clients connect to the brokers themselves; the gateway is a router."""
    name = "plain"
    title = "plain forwarding"

    @contextlib.contextmanager
    def running(self, site, port=PORT, crowd=0):
        yield self

    def targets(self, site, port=PORT):
        return site.brokers(port)


class Haproxy(Contender):
    """haproxy with the stickiness by MQTT client id that its documentation describes."""
    name = "haproxy"
    title = "haproxy 2.6"

    def __init__(self):
        self._processes = []

    @contextlib.contextmanager
    def running(self, site, port=PORT, crowd=0):
        config = site.folder(self.name) / "haproxy.cfg"
        servers = "".join(f"    server b{number} {address}\n" for number, address in enumerate(site.brokers(port), 1))
        config.write_text(f"""global
    nbthread 2
    maxconn {_HAPROXY_CONNECTIONS}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend mqtt
    bind {self.targets(site)[0]}
    tcp-request inspect-delay 10s
    tcp-request content reject unless {{ req.payload(0,0),mqtt_is_valid }}
    default_backend brokers
backend brokers
    balance roundrobin
    stick-table type string len 32 size 1000k expire 30m
    stick on req.payload(0,0),mqtt_field_value(connect,client_identifier)
{servers}""")
        # More connections than one process may hold: several share the address (SO_REUSEPORT), unevenly.
        count = 1 + (crowd * 6 // 5) // _HAPROXY_CONNECTIONS
        self._processes = [site.resources.start(["haproxy", "-db", "-f", config], config.with_suffix(f".{number}.log"),
                                                namespace=site.topology.gateway) for number in range(count)]
        try:
            wait_until(lambda: self._listening(site) >= count, 10, lambda: f"haproxy: {self._processes[0].log()}")
            yield self
        finally:
            for process in self._processes:
                process.end()
            self._processes = []

    def pids(self):
        return [process.pid for process in self._processes]

    def _listening(self, site):
        if not all(process.running for process in self._processes):
            raise LabError(f"haproxy ended: {[process.log() for process in self._processes]}")
        # One listening socket for each thread group of each process.
        return sum(state == "LISTEN" for state, _, _ in site.topology.tcp_sockets("gateway"))


class Spliced(Contender):
    """Limpet in one mode."""

    def __init__(self, mode):
        self.mode = mode
        self.name = f"limpet-{mode}"
        self.title = f"Limpet, {mode}"
        self._daemon = None

    @contextlib.contextmanager
    def running(self, site, port=PORT, crowd=0):
        self._daemon = Limpet(site.resources, site.topology, site.binary, self.mode, site.folder(self.name))
        self._daemon.config_path.write_text(self._config(site, port))
        self._daemon.start()
        try:
            self._check_mode(site)
            yield self
        finally:
            self._daemon.stop()
            self._detach(site)
            self._daemon = None

    def pids(self):
        return [self._daemon.process.pid]

    def limpet(self):
        return self._daemon

    def _config(self, site, port):
        tables = [toml_table("[daemon]", {"socket": self._daemon.socket, "log_level": "warn"}),
                  toml_table("[dataplane]", {"mode": self.mode, "interfaces": site.topology.interfaces,
                                             "bpffs": site.bpffs() / self.name}),
                  toml_table("[[listener]]", {"name": "mqtt", "address": self.targets(site)[0], "pool": "main"}),
                  toml_table("[[pool]]", {"name": "main", "strategy": "sticky"})]
        tables += [toml_table("[[pool.broker]]", {"name": f"b{number}", "address": address})
                   for number, address in enumerate(site.brokers(port), 1)]
        return "".join(tables) + toml_table("[admin]", {"http": ""})

    def _check_mode(self, site):
        for interface in self._daemon.status()["interfaces"]:
            if interface["name"] in site.topology.interfaces and interface["mode"] != self.mode:
                raise LabError(f"wanted mode {self.mode}, attached: {interface}")

    def _detach(self, site):
        """Programs and pins outlive the daemon; the next contender must not meet them."""
        site.inside("gateway", site.binary, "detach", "--force", "-c", self._daemon.config_path)
        links = site.inside("gateway", "ip", "-d", "link", "show").stdout
        filters = "".join(site.inside("gateway", "tc", "filter", "show", "dev", device, direction, check=False).stdout
                          for device in site.topology.interfaces for direction in ("ingress", "egress"))
        if "prog/xdp" in links or "limpet" in filters:
            raise LabError(f"limpet detach left programs: {links} {filters}")


CONTENDERS = [Plain(), Spliced("tc"), Spliced("xdp"), Haproxy()]
#: names of those that hand connections to the kernel
SPLICED = [each.name for each in CONTENDERS if isinstance(each, Spliced)]
