# SPDX-License-Identifier: Apache-2.0
"""Where the measuring happens: one topology for everybody, its brokers, and the tools, compiled."""
import json
import pathlib
import subprocess

from limpet_lab import load
from limpet_lab.lab import Lab
from limpet_lab.process import LabError, run, wait_until
from limpet_lab.topology import broker_address, client_address, endpoint

PORT = 1883
MOSQUITTO_PORT = 1884
BROKERS = 4
CLIENT_ADDRESSES = 2
_SOURCES = pathlib.Path(__file__).resolve().parent.parent / "load"
_CXX = ["g++", "-std=c++23", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Werror",
        "-I", load.SOURCES, "-I", _SOURCES.parents[2] / "include"]
_WITH_BPF = ("map_fill", "packet_rig")


def build_tools(folder):
    """Compiles the load tools and the BPF object of the packet measure into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(_SOURCES.glob("*.cpp")):
        run(*_CXX, source, "-o", folder / source.stem, *(["-lbpf"] if source.stem in _WITH_BPF else []),
            timeout=300)
    triplet = run("g++", "-print-multiarch").stdout.strip()
    run("clang-19", "-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-I", f"/usr/include/{triplet}", "-c",
        _SOURCES / "packet_rig.bpf.c", "-o", folder / "packet_rig.o")
    load.build(folder.parent / "e2e")


class Site:
    """`with Site(binary) as site:` everything stands but a gateway; contenders come and go (contenders.py)."""

    def __init__(self, binary, sizes):
        self.sizes = sizes
        self.binary = binary
        self.tools = binary.parent / "bench"
        self.lab = Lab(binary, brokers=BROKERS, client_addresses=CLIENT_ADDRESSES, prefix="lpb")
        self.topology = None

    def __enter__(self):
        build_tools(self.tools)
        self.lab.__enter__()
        try:
            self.topology = self.lab.topology
            # Ports of connections that ended a second ago may be used again: a storm goes through all of them.
            self.inside("clients", "sysctl", "-q", "-w", "net.ipv4.tcp_tw_reuse=1")
            self.inside("gateway", "sysctl", "-q", "-w", "net.ipv4.tcp_tw_reuse=1", "net.core.somaxconn=16384",
                        "net.ipv4.tcp_max_syn_backlog=16384")
            self._start_brokers()
        except BaseException:
            self.lab.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.lab.__exit__()
        if self.lab.resources.trouble:
            raise LabError(f"cleaning up: {self.lab.resources.trouble}")

    @property
    def resources(self):
        return self.lab.resources

    def inside(self, where, *command, **options):
        """Runs a command in the namespace of 'clients', 'gateway' or 'broker'."""
        try:
            return run("ip", "netns", "exec", getattr(self.topology, where), *command, **options)
        except subprocess.TimeoutExpired as late:
            raise LabError(f"{' '.join(map(str, command))}: no end within {late.timeout:g} s") from None

    def brokers(self, port=PORT):
        """ADDR:PORT of every broker."""
        return [endpoint(broker_address(4, number), port) for number in range(1, BROKERS + 1)]

    def sources(self):
        """The clients' addresses."""
        return [client_address(4, 10 + number) for number in range(CLIENT_ADDRESSES)]

    def folder(self, name):
        path = self.lab.folder / name
        path.mkdir(exist_ok=True)
        return path

    def bpffs(self):
        return self.lab.bpffs().parent

    def tool(self, program, seconds=60, where="clients", **options):
        """Runs a load tool to its end and returns what it says."""
        words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
        return json.loads(self.inside(where, self.tools / program, *words, timeout=seconds).stdout)

    def attendant(self, where, program, *arguments):
        """Starts a tool that stays and does what its standard input says."""
        return load.Generator(self.lab, where, self.tools / program, *arguments)

    def _start_brokers(self):
        """Echo brokers, one process for each address, and a real broker beside the first of them."""
        for number, address in enumerate(self.brokers(), 1):
            self.resources.start([self.tools / "echo_broker", "--listen", address],
                                 self.lab.folder / f"echo-{number}.log", namespace=self.topology.broker)
        config = self.folder("mosquitto") / "mosquitto.conf"
        config.write_text("".join(f"listener {MOSQUITTO_PORT} {broker_address(4, number)}\n"
                                  for number in range(1, BROKERS + 1))
                          + "user root\nallow_anonymous true\nset_tcp_nodelay true\nlog_dest none\n")
        self.resources.start(["mosquitto", "-c", config], config.with_suffix(".log"), namespace=self.topology.broker)
        wait_until(lambda: len(self._listening()) >= 2 * BROKERS, 10, "brokers listen")

    def _listening(self):
        return [entry for entry in self.topology.tcp_sockets("broker")
                if entry[0] == "LISTEN" and entry[1].rsplit(":", 1)[1] in (str(PORT), str(MOSQUITTO_PORT))]
