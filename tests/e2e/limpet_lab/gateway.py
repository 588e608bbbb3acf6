# SPDX-License-Identifier: Apache-2.0
"""Limpet in the gateway's namespace: its configuration, its life, and what its command line says."""
import json
import pathlib
import signal
import socket

from .process import LabError, patient, run, wait_until
from .topology import CLIENT_NET, broker_address, endpoint

PORT = 1883


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(str(value))


def toml_table(header, values):
    return header + "\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items()) + "\n"


class Limpet:
    """One daemon; stop, kill and start it as often as a scenario likes."""

    def __init__(self, resources, topology, binary, mode, folder, bpffs=None, brokers=None, descriptors=None,
                 daemon=None, dataplane=None, listener=None, pool=None, health=None, sources=None, admin="", network_only=False,
                 extra=""):
        self.binary = str(binary)
        self.mode = mode
        self.folder = pathlib.Path(folder)
        self.config_path = self.folder / "limpet.toml"
        self.socket = self.folder / "limpet.sock"
        self.log_path = self.folder / "limpet.log"
        self.process = None
        self.ended = False  # by stop() or kill(), not by itself
        self._bpffs = bpffs
        self._resources = resources
        self._topology = topology
        self._limits = [f"--nofile={descriptors}:{descriptors}"] if descriptors else None
        self._brokers = brokers if brokers is not None else list(range(1, topology.brokers + 1))
        self._daemon = {"socket": self.socket, **(daemon or {})}
        # The maps of a million connections take half a second to make, which most scenarios do not want; and the grace is
        # waited for behind each of them. Endings have the product's own (ends.start).
        self._dataplane = {"mode": mode, "interfaces": topology.interfaces, "max_flows": 100_000, "retire_grace": "300ms",
                           **({"bpffs": bpffs} if bpffs else {}), **(dataplane or {})}
        self._listener = listener or {}
        self._pool = pool or {}
        self._health = health
        self._sources = sources or {}
        self._admin = admin
        self.extra = extra  # sections of the configuration, as text
        self._network_only = network_only

    def config(self, listener=None, pool=None):
        """The configuration as text: a listener and a pool for each family."""
        out = [toml_table("[daemon]", self._daemon), toml_table("[dataplane]", self._dataplane)]
        for family in (4, 6):
            address = endpoint(CLIENT_NET[family].format(1), PORT)
            out.append(toml_table("[[listener]]", {"name": f"mqtt{family}", "address": address, "protocol": "mqtt",
                                                   "pool": f"main{family}", **self._listener, **(listener or {})}))
        for family in (4, 6):
            out.append(toml_table("[[pool]]", {"name": f"main{family}", **self._pool, **(pool or {})}))
            if self._health is not None:
                out.append(toml_table("[pool.health]", self._health))
            for number in self._brokers:
                address = endpoint(broker_address(family, number), PORT)
                out.append(toml_table("[[pool.broker]]", {"name": f"b{number}", "address": address}))
            for name, source in self._sources.items():
                out.append(toml_table("[[pool.broker]]", {"name": name, "address": source}))
        out.append(toml_table("[admin]", {"http": self._admin}))
        out.append(self.extra)
        return "".join(out)

    def start(self):
        """Starts the daemon and waits until it is ready."""
        if not self.config_path.exists():
            self.config_path.write_text(self.config())
        return self.launch(["serve", "-c", self.config_path])

    def launch(self, arguments):
        """Starts `limpet ARGUMENTS` as the daemon and waits until its control socket answers `status`."""
        self.process = self._resources.start([self.binary, *arguments], self.log_path,
                                             namespace=self._topology.gateway, limits=self._limits,
                                             network_only=self._network_only)
        self.ended = False

        def ready():
            if not self.process.running:
                raise LabError(f"limpet ended with status {self.process.popen.returncode}: {self.log()[-2000:]}")
            try:
                return bool(self.status())
            except LabError:
                return False

        wait_until(ready, 15, lambda: f"limpet is ready; its log: {self.log()[-2000:]}", step=0.05)
        return self

    def stop(self, seconds=15):
        """SIGTERM; the exit status must be 0."""
        self.ended = True
        self.process.signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        if status != 0:
            raise LabError(f"limpet ended with status {status} after SIGTERM: {self.log()[-2000:]}")

    def kill(self):
        self.ended = True
        self.process.signal(signal.SIGKILL)
        self.process.wait(5)

    def pins(self):
        """The folder with the pinned maps, as this process sees it."""
        if self._bpffs:
            return pathlib.Path(self._bpffs)
        return pathlib.Path(f"/proc/{self.process.pid}/root/sys/fs/bpf/limpet")  # the daemon's own mounts

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def command(self, *words, check=True, timeout=30, text_input=None):
        """`limpet WORDS --socket PATH`, the CompletedProcess."""
        return run(self.binary, *words, "--socket", self.socket, check=check, timeout=timeout, text_input=text_input)

    def ask(self, *words):
        """What a command prints with --json."""
        return json.loads(self.command(*words, "--json").stdout)

    def talk(self, verb, questions=({},)):
        """What the daemon answers on its control socket to a verb with each of these arguments. What scenarios poll is
        asked so: a process for each question would be half of the time that a case takes."""
        try:
            return self._talk(verb, questions)
        except OSError as reason:
            raise LabError(f"the daemon does not answer {verb}: {reason}") from reason

    def _talk(self, verb, questions):
        answers = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patient(30))
            connection.connect(str(self.socket))
            with connection.makefile("rw") as stream:
                for arguments in questions:
                    stream.write(json.dumps({"verb": verb, "args": arguments}) + "\n")
                    stream.flush()
                    line = stream.readline()
                    if not line:
                        raise ConnectionError("it closed the connection")
                    answer = json.loads(line)
                    if not answer["ok"]:
                        raise LabError(f"{verb} {arguments}: {answer}")
                    answers.append(answer["data"])
        return answers

    def status(self):
        return self.talk("status")[0]

    def features(self):
        """What the kernel and the interfaces of the gateway can do."""
        done = run("ip", "netns", "exec", self._topology.gateway, self.binary, "features", "--json")
        return json.loads(done.stdout)

    def connections(self, kind):
        """'spliced' or 'relayed' connections now."""
        return self.status()["connections"][kind]

    def reason(self, name):
        """The counter of a reason; one that was never counted may be absent."""
        return self.status().get("reasons", {}).get(name, 0)

    def flow_count(self):
        return self.talk("flows_count")[0]["count"]

    def flows(self, *filters):
        return self.ask("flows", "list", *filters)

    def lookup(self, client_id, family=4):
        return self.ask("lookup", client_id, "--pool", f"main{family}")

    def lookups(self, client_ids, family=4):
        """client id -> broker name."""
        client_ids = list(client_ids)
        answers = self.talk("lookup", [{"client_id": client_id, "pool": f"main{family}"} for client_id in client_ids])
        return {client_id: answer["broker"] for client_id, answer in zip(client_ids, answers)}

    def id_at(self, broker, family=4, prefix="id-"):
        """A client id that would go to this broker."""
        candidates = self.lookups([f"{prefix}{number}" for number in range(300)], family)
        for client_id, name in candidates.items():
            if name == broker:
                return client_id
        raise LabError(f"none of {len(candidates)} ids goes to {broker}")

    def wait_reason(self, name, at_least=1, seconds=5):
        wait_until(lambda: self.reason(name) >= at_least, seconds,
                   lambda: f"reason {name} counted {at_least} times: {self.status().get('reasons')}", step=0.05)

    def wait_spliced(self, count, seconds=10):
        wait_until(lambda: self.connections("spliced") == count, seconds,
                   lambda: f"{count} connections spliced: {self.status()['connections']} {self.status().get('reasons')}",
                   step=0.05)

    def error_lines(self):
        """Lines of level error or worse in the log."""
        return [line for line in self.log().splitlines() if "[error]" in line or "[critical]" in line]
