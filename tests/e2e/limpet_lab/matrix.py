# SPDX-License-Identifier: Apache-2.0
"""Runs the cells of the parity matrix: each is one connection through Limpet and one that the same gateway only
forwards, between the same ends, over the same bad network, in turns."""
import contextlib
import dataclasses

from . import checks, load
from .disorder import Disorder
from .lab import Lab
from .process import LabError, Missing, run, wait_until
from .topology import BROKER_NET, broker_address, client_address, endpoint

#: of plain forwarding's throughput, under the same loss in the same run
LEAST_SHARE = 0.5
_ROUNDS = 12  # at the most; one is enough where it is clear
_LATE = {"duplicate": 1, "late": 2, "lateness": (0.1, 1.0)}  # percent, percent, milliseconds
_DATAPLANE = {"closing_timeout": "300ms", "retire_grace": "200ms"}
_STATED_SECONDS = 0.3 + 1  # closing_timeout, and what it takes to notice
_FULL_SEGMENT = {4: 1460, 6: 1440}  # of links of 1500 bytes
_DROPS = ("drop_malformed", "drop_no_route", "drop_pair_missing", "drop_fragment", "drop_ip_options", "drop_ttl")


@dataclasses.dataclass
class Outcome:
    """What a cell came to; megabytes per second as (up, down)."""
    cell: object
    how: str = "-"
    through: tuple = (0.0, 0.0)
    plain: tuple = (0.0, 0.0)
    rounds: int = 0
    trouble: str = ""
    missing: str = ""  # what the machine lacks for this cell
    clean: bool = False  # nothing of it is left: the next cell may follow in the same place

    @property
    def share(self):
        """Of plain forwarding, in the worse direction."""
        return min((one / other for one, other in zip(self.through, self.plain) if other), default=0.0)


class Site:
    """The networks, brokers and daemons of all cells of one mode."""

    def __init__(self, binary, mode, keep=False):
        self._lab = Lab(binary, mode, brokers=1, keep=keep, prefix="lpm")
        self._learned = None  # the broker's options, as the daemon that runs has met them

    def __enter__(self):
        self._lab.__enter__()
        try:
            self._start()
        except BaseException:
            self._lab.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._lab.__exit__()
        if self._lab.resources.trouble:
            raise LabError(f"cleaning up: {self._lab.resources.trouble}")

    def _start(self):
        for where in ("clients", "broker"):
            # What one transfer taught the host about the path must not help or hinder the next; and the same congestion
            # control everywhere, which nobody has to allow to a namespace.
            self._sysctl(where, "net.ipv4.tcp_no_metrics_save=1", "net.ipv4.tcp_congestion_control=reno")
        listen = ",".join(endpoint(broker_address(family, 1), 1883) for family in (4, 6))
        self._broker = load.Generator(self._lab, "broker", "transfer", "broker", "--listen", listen)
        self._broker.result(10)
        self._disorder = Disorder(self._lab)
        self._gateway = self._lab.make_gateway(brokers=[1], dataplane=_DATAPLANE)

    def _sysctl(self, where, *settings):
        run("ip", "netns", "exec", getattr(self._lab.topology, where), "sysctl", "-q", "-w", *settings)

    def diagnosis(self):
        return self._lab.diagnosis()

    def run(self, cell, size):
        """One cell, with transfers of `size` bytes."""
        outcome = Outcome(cell)
        try:
            self._prepare(cell)
            before = self._gateway.status()["reasons"]
            self._disorder.set(lose=cell.loss, **(_LATE if cell.disorder else {}))
            with contextlib.ExitStack() as stack:
                through = self._connect(stack, cell, self._lab.topology.listener(cell.family), "through")[0]
                plain, met = self._connect(stack, cell, broker_address(cell.family, 1), "plain")
                self._check_options(cell, met)
                outcome.how = self._how(before)
                self._transfer(outcome, through, plain, size)
                self._leave(through, plain)
            self._disorder.set()
            self._check_end(cell, before)
            outcome.clean = True
            outcome.trouble = self._judge(outcome)
        except LabError as error:
            outcome.trouble = str(error)
        except Missing as missing:
            outcome.missing = str(missing)
        return outcome

    def _prepare(self, cell):
        for where, options in (("clients", cell.client), ("broker", cell.broker)):
            switches = (("timestamps", options.timestamps), ("sack", options.sack),
                        ("window_scaling", options.window_scale))
            self._sysctl(where, *(f"net.ipv4.tcp_{name}={int(on)}" for name, on in switches))
            self._route(where, options.segment)
        if self._learned == cell.broker:
            return
        if self._learned:
            self._gateway.stop()
        self._gateway.start()
        self._lab.check_mode()
        self._learned = cell.broker

    def _route(self, where, segment):
        """The MSS that this end announces stands in its routes. The other terms are for a path of 0.1 ms with loss, and
        for plain forwarding as well: what only a timer can mend takes 8 ms instead of 200, and no ACK is delayed beyond
        that."""
        topology = self._lab.topology
        lines = ""
        for family, bits in ((4, 32), (6, 128)):
            near, far = (topology.listener(family), broker_address(family, 1)) if where == "clients" else \
                (BROKER_NET[family].format(1), client_address(family))
            terms = f"dev eth0 advmss {min(segment, _FULL_SEGMENT[family])} rto_min 8ms quickack 1\n"
            lines += f"route replace {near}/{bits} {terms}route replace {far}/{bits} via {near} {terms}"
        run("ip", "-n", getattr(topology, where), "-batch", "-", text_input=lines)

    def _connect(self, stack, cell, address, way):
        client = load.Generator(self._lab, "clients", "transfer", "client", "--connect", endpoint(address, 1883),
                                "--id", f"{way}-{cell.name}")
        stack.callback(client.kill)
        return client, client.result(30)

    @staticmethod
    def _check_options(cell, met):
        """The switches did switch, or the cell proves nothing."""
        options = (met["timestamps"], met["sack"], met["window_scale"])
        # The kernel takes the timestamps' room off both.
        announced, room = (met[name] + (12 if met["timestamps"] else 0) for name in ("announced_mss", "send_mss"))
        if options != cell.client.and_with(cell.broker) \
                or announced != min(cell.client.segment, _FULL_SEGMENT[cell.family]) \
                or room != min(cell.broker.segment, _FULL_SEGMENT[cell.family]):
            raise LabError(f"a plain connection has other options than the cell: {met}")

    def _how(self, before):
        """'spliced', or the reason for which the connection is relayed."""
        def decided():
            status = self._gateway.status()
            reasons = [name for name, count in status["reasons"].items()
                       if name.startswith("relay_") and count > before.get(name, 0)]
            return " ".join(reasons) or ("spliced" if status["connections"]["spliced"] == 1 else "")

        return wait_until(decided, 20, lambda: f"spliced or relayed: {self._gateway.status()['connections']}",
                          step=0.02)

    @staticmethod
    def _transfer(outcome, through, plain, size):
        """Through Limpet and past it in turns, until it is clear, or as often as is allowed. Loss falls where it likes
        and a lost segment may cost a timeout: so the times of all rounds are added up."""
        took = {through: [0.0, 0.0], plain: [0.0, 0.0]}
        sent = {through: [0, 0], plain: [0, 0]}
        while outcome.rounds < _ROUNDS:
            order = (through, plain) if outcome.rounds % 2 == 0 else (plain, through)
            for direction, word in enumerate(("up", "down")):
                for client in order:
                    done = client.tell(f"{word} {size}", 120)
                    took[client][direction] += done["seconds"]
                    sent[client][direction] += done["bytes"]
            outcome.rounds += 1
            outcome.through, outcome.plain = (
                tuple(amount / seconds / 1e6 for amount, seconds in zip(sent[client], took[client]))
                for client in (through, plain))
            if outcome.share >= LEAST_SHARE:
                break

    def _leave(self, through, plain):
        for client in (through, plain):
            if not client.finish(40)["orderly"]:
                raise LabError("the connection did not end by FIN")
        seen = self._broker.tell("read")
        if seen["wrong"]:
            raise LabError(f"the broker got other bytes than were sent: {seen['first']}")

    def _check_end(self, cell, before):
        # A FIN whose acknowledgement was lost is sent again, at growing distances.
        checks.flows_end(self._gateway, _STATED_SECONDS + (4 if cell.loss else 1))
        checks.no_entry_left(self._lab, 2)
        checks.no_connection_counted(self._gateway, 5)
        reasons = self._gateway.status()["reasons"]
        grown = {name: reasons.get(name, 0) - before.get(name, 0) for name in ("guard_host_packet", *_DROPS)}
        if wrong := {name: count for name, count in grown.items() if count}:
            raise LabError(f"counted {wrong}")

    @staticmethod
    def _judge(outcome):
        """What is wrong with it, or nothing."""
        if outcome.how != "spliced" and outcome.how not in outcome.cell.relays_allowed():
            return f"relayed for a reason that is not allowed here: {outcome.how}"
        if outcome.share < LEAST_SHARE:
            return f"throughput is {outcome.share:.2f} of plain forwarding's in {outcome.rounds} rounds"
        return ""


def run_cells(binary, cells, size, keep=False):
    """Yields the outcome of one cell after the other. After one that did not end well everything is made anew."""
    site = None
    mode = None
    with contextlib.ExitStack() as stack:
        for cell in cells:
            if site is None or cell.mode != mode:
                stack.pop_all().close()
                site, mode = stack.enter_context(Site(binary, cell.mode, keep)), cell.mode
            outcome = site.run(cell, size)
            if not outcome.clean:
                outcome.trouble += "\n" + site.diagnosis() if outcome.trouble else ""
                site = None
            yield outcome
