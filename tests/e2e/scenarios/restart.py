# SPDX-License-Identifier: Apache-2.0
"""The daemon may end in any way and come back: spliced connections do not notice."""
import threading
import time

from limpet_lab import bpf, checks, clients
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError, patient, run, wait_until
from limpet_lab.scenario import scenario

SPLICING = ("xdp", "tc")


class Talker:
    """A client that hears its own numbered messages without a pause, whatever happens meanwhile."""

    def __init__(self, lab, client_id):
        self.client = lab.client(client_id)
        self.client.subscribe(f"talk/{client_id}", 1)
        self._topic = f"talk/{client_id}"
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def _talk(self):
        while not self._stop.wait(patient(0.01)):
            self.client.publish(self._topic, str(self.sent).encode(), 1, wait=0)
            self.sent += 1

    def finish(self):
        """Every message that was said was heard, in order."""
        self._stop.set()
        self._thread.join()
        if not self.client.alive:
            raise LabError(f"{self.client.client_id} lost its connection after {self.sent} messages")
        heard = [int(payload) for payload in self.client.receive_payloads(self.sent, 10)]
        if heard != list(range(self.sent)):
            raise LabError(f"{self.client.client_id} said {self.sent} messages and heard {len(heard)} others")
        return self.sent


def _goes_on(lab, end, bpffs="outside"):
    """Ten spliced clients talk through the end of a daemon and the start of the next."""
    lab.start(bpffs=bpffs)
    talkers = [Talker(lab, f"talker-{number}") for number in range(10)]
    checks.all_spliced(lab, 10)
    for talker in talkers:
        talker.start()
    end(lab.gateway)
    quiet_clients_go_on = time.monotonic() + 1  # a second without any daemon
    wait_until(lambda: time.monotonic() > quiet_clients_go_on, 2, "a second passes")
    if lost := [talker.client.client_id for talker in talkers if not talker.client.alive]:
        raise LabError(f"without a daemon these were lost: {lost}")
    lab.gateway.start()
    lab.check_mode()
    if (count := lab.gateway.connections("spliced")) != 10 or lab.gateway.flow_count() != 10:
        raise LabError(f"the new daemon adopted {count} connections of 10")
    names = {flow["client_id"] for flow in lab.gateway.flows()}
    if names != {talker.client.client_id for talker in talkers}:
        raise LabError(f"the new daemon knows {sorted(names)}")
    newcomer = lab.client("newcomer")
    lab.gateway.wait_spliced(11)
    newcomer.publish("any", b"thing", 1)
    wait_until(lambda: all(talker.sent >= 50 for talker in talkers), 20, "everybody has said 50 messages")
    for talker in talkers:
        talker.finish()
    checks.only_listeners_left(lab.topology)


@scenario(modes=SPLICING)
def sigterm_and_a_new_start_go_unnoticed(lab):
    """SIGTERM leaves the data path; the next daemon adopts every flow."""
    _goes_on(lab, lambda gateway: gateway.stop())


@scenario(modes=SPLICING)
def a_killed_daemon_and_a_new_start_go_unnoticed(lab):
    """kill -9 in the middle of everything is no different."""
    _goes_on(lab, lambda gateway: gateway.kill())


@scenario(modes=SPLICING, families=(4,))
def a_restart_works_without_a_lasting_bpffs(lab):
    """In `ip netns exec` /sys is fresh and pins vanish with the daemon: the maps are found again through the
    programs that are still attached."""
    _goes_on(lab, lambda gateway: gateway.stop(), bpffs=None)


@scenario(modes=SPLICING, families=(4,))
def flows_that_end_while_no_daemon_runs_are_swept(lab):
    """Who leaves while nobody looks leaves no entry behind."""
    lab.start()
    stay = lab.raw_session("stay")
    leaving = [lab.raw_session(f"leave-{number}") for number in range(20)]
    checks.all_spliced(lab, 21)
    lab.gateway.stop()
    for connection in leaving:
        connection.close()
    lab.gateway.start()
    wait_until(lambda: lab.gateway.flow_count() == 1, 10, "one flow is left", step=0.1)
    clients.ping(stay)


@scenario(modes=SPLICING, families=(4,))
def ports_of_adopted_flows_are_not_given_twice(lab):
    """The new daemon rebuilds the source ports from the map: newcomers get others."""
    lab.start(dataplane={"source_ports": "20000-20029"}, brokers=[1])
    old = [lab.raw_session(f"old-{number}") for number in range(15)]
    checks.all_spliced(lab, 15)
    lab.gateway.kill()
    lab.gateway.start()
    new = [lab.raw_session(f"new-{number}") for number in range(10)]
    lab.gateway.wait_spliced(25)
    sources = [flow["source"] for flow in lab.gateway.flows()]
    if len(set(sources)) != 25:
        raise LabError(f"25 flows share {len(set(sources))} source ports")
    for connection in old + new:
        clients.ping(connection)


def _note(lab, *words):
    """`status` says in its note what is wrong."""
    note = lab.gateway.status()["note"]
    if missing := [word for word in words if word not in note]:
        raise LabError(f"the note of status lacks {missing}: {note!r}")


@scenario(modes=("tc",), families=(4,))
def maps_of_another_version_are_refused_and_go_on_forwarding(lab):
    """A daemon that does not know the layout of the attached maps says so, drops nothing, and relays what is new."""
    lab.start()
    held = [lab.raw_session(f"held-{number}") for number in range(5)]
    checks.all_spliced(lab, 5)
    lab.gateway.stop()
    settings = lab.bpffs() / "v1" / "limpet_setting"
    version = bpf.change_word(settings, 40, 0, 77)
    lab.gateway.start()
    _note(lab, "another version", "77", "detach --force")
    for connection in held:
        clients.ping(connection)
    clients.ping(lab.raw_session("relayed"))
    lab.gateway.stop()
    bpf.change_word(settings, 40, 0, version)
    lab.gateway.start()
    if (count := lab.gateway.flow_count()) != 5:
        raise LabError(f"the right version adopts {count} flows of 5")
    for connection in held:
        clients.ping(connection)


@scenario(modes=("tc",), families=(4,))
def foreign_pins_are_left_alone(lab):
    """What somebody else pinned under a name of ours, or a folder there, is named in `status` and not touched."""
    lab.start_brokers()
    pins = lab.bpffs() / "v1"
    pins.mkdir(parents=True)
    for name, make in (("limpet_flows4", bpf.pin_foreign_map), ("limpet_counters", lambda path: path.mkdir())):
        path = pins / name
        make(path)
        lab.make_gateway().start()
        _note(lab, str(path), "no map of limpet's")
        connection = lab.raw_session(f"beside-{name}")
        lab.gateway.wait_spliced(1)
        clients.ping(connection)
        connection.close()
        wait_until(lambda: lab.gateway.flow_count() == 0, 10, "the flow ends", step=0.1)
        lab.gateway.stop()
        if not path.exists():
            raise LabError(f"{path} was removed")
        path.rmdir() if path.is_dir() else path.unlink()


@scenario(modes=("relay",), families=(4,))
def relayed_connections_end_with_the_daemon(lab):
    """A relay needs its daemon: SIGTERM closes its clients after a grace, and they are told."""
    lab.start()
    connection = lab.raw_session("relayed")
    checks.all_spliced(lab, 1)
    lab.gateway.stop()
    if clients.mqtt.closed_within(connection, 5) is None:
        raise LabError("the daemon is gone and its client still waits")


@scenario(modes=SPLICING, families=(4,))
def detach_removes_everything(lab):
    """`limpet detach` refuses while connections live, and with --force leaves no program behind."""
    lab.start()
    lab.raw_session("alive")
    checks.all_spliced(lab, 1)
    lab.gateway.stop()
    detach = ["ip", "netns", "exec", lab.topology.gateway, lab.binary, "detach", "--bpffs", lab.bpffs()]
    refused = run(*detach, check=False)
    if refused.returncode == 0 or "1" not in refused.stdout + refused.stderr:
        raise LabError(f"detach with a live connection: {refused}")
    run(*detach, "--force")
    for interface in lab.topology.interfaces:
        links = run("ip", "-n", lab.topology.gateway, "-d", "link", "show", "dev", interface).stdout
        filters = "".join(run("tc", "-n", lab.topology.gateway, "filter", "show", "dev", interface, side).stdout
                          for side in ("ingress", "egress"))
        if "prog/xdp" in links or "limpet" in filters:
            raise LabError(f"programs are left on {interface}: {links} {filters}")


@scenario(families=(4,))
def a_bad_file_changes_nothing(lab):
    """`reload` of a wrong file is refused with file, line and column, and the daemon goes on as it was."""
    lab.start()
    held = lab.raw_session("before")
    good = lab.gateway.config_path.read_text()
    before = lab.gateway.status()
    for bad, line in ((good.replace('strategy', 'strategie') + 'nonsense = \n', None),
                      (good.replace('protocol = "mqtt"', 'protocol = "mqqt"', 1), 'protocol = "mqqt"')):
        lab.gateway.config_path.write_text(bad)
        refused = lab.gateway.command("reload", check=False)
        if refused.returncode != 1:
            raise LabError(f"a bad file was taken: {refused}")
        number = bad[:bad.index(line)].count("\n") + 1 if line else bad.count("\n")
        if f"{lab.gateway.config_path}:{number}:" not in refused.stderr:
            raise LabError(f"the error does not name line {number}: {refused.stderr}")
    after = lab.gateway.status()
    for part in ("listeners", "brokers"):
        if [entry["name"] for entry in before[part]] != [entry["name"] for entry in after[part]]:
            raise LabError(f"{part} changed by a file that was refused")
    clients.ping(held)
    lab.raw_session("after")


@scenario(families=(4,))
def a_good_reload_changes_what_it_says(lab):
    """A broker that is added takes clients at once; connections stay."""
    lab.start_brokers()
    lab.make_gateway(brokers=[1, 2]).start()
    held = [lab.raw_session(f"early-{number}") for number in range(10)]
    checks.all_spliced(lab, 10)
    lab.gateway._brokers = [1, 2, 3]
    lab.gateway.config_path.write_text(lab.gateway.config())
    lab.gateway.command("reload")
    for number in range(40):
        held.append(lab.raw_session(f"late-{number}"))
    if not any(lab.brokers[2].saw_client(f"late-{number}") for number in range(40)):
        raise LabError("none of forty new clients went to the broker that was added")
    for connection in held:
        clients.ping(connection)


BAD_FILES = [  # what is appended to a good file, and the line of it that is wrong, counted from 1
    ("[[listener]]\nname = \"twice\"\naddress = \"not an address\"\npool = \"main4\"\n", 3),
    ("[[listener]]\nname = \"lost\"\naddress = \"10.91.0.1:1999\"\npool = \"nowhere\"\n", 4),
    ("[[pool]]\nname = \"p\"\nstrategy = \"astrology\"\n", 3),
    ("[[pool]]\nname = \"p\"\n[[pool.broker]]\nname = \"b\"\naddress = \"10.92.0.11:1883\"\nweight = -1\n", 6),
    ("[surprise]\nkey = 1\n", 1),
    ("[[listener]]\nname = \"slow\"\naddress = \"10.91.0.1:1998\"\npool = \"main4\"\nconnect_timeout = \"soon\"\n", 5),
]


@scenario(modes=("relay",), families=(4,))
def a_wrong_configuration_is_refused_whole(lab):
    """`check` and `serve` say FILE:LINE:COL, exit with 1, and nothing starts."""
    gateway = lab.make_gateway()
    good = gateway.config()
    path = lab.folder / "wrong.toml"
    path.write_text(good)
    if run(lab.binary, "check", "-c", path, check=False).returncode != 0:
        raise LabError("a right file is refused")
    for text, line in BAD_FILES:
        path.write_text(good + text)
        number = good.count("\n") + line
        for command in ("check", "serve"):
            refused = run("ip", "netns", "exec", lab.topology.gateway, lab.binary, command, "-c", path, check=False,
                          timeout=10)
            if refused.returncode != 1 or f"{path}:{number}:" not in refused.stdout + refused.stderr:
                raise LabError(f"{command} of a file that is wrong in line {number}: {refused}")
    if lab.topology.tcp_sockets():
        raise LabError("something listens after a refused configuration")
    path.write_text(toml_table("[daemon]", {"socket": lab.folder / "x.sock"}))
    if run(lab.binary, "check", "-c", path, check=False).returncode != 1:
        raise LabError("a file without a listener is taken")
