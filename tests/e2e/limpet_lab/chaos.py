# SPDX-License-Identifier: Apache-2.0
"""Handoffs by the thousand while daemon, clients and brokers are killed at random, and the account of it afterwards:
each connection that was not whole must have been cut by one of the kills."""
import dataclasses
import random
import time

from . import load
from .process import LabError
from .topology import broker_address, client_address, endpoint

_PORT = 1883
_SHIFTS = 3                # client processes at a time
_AT_ONCE = 100             # connections of each
_ID_RANGE = 10_000_000     # client ids are numbered; this is the first one's distance from shift to shift
_PROBE_SECONDS = 12        # keep-alive probes of the ends: for those whose RST was lost, and after all others were told
_TOLD_SECONDS = 8          # within so long after a kill its victims have heard of it
_BLAMED_SECONDS = 30       # and what ends later than this is not blamed on it any more
_KEEP_ALIVE = 5            # seconds; who is left when both ends were killed unheard is found by it
_CAUSES = ("daemon", "broker", "client")


@dataclasses.dataclass
class Kill:
    """Who was killed and when, in seconds of CLOCK_MONOTONIC; `until` it was there again."""
    cause: str
    when: float
    until: float = 0.0
    spliced: tuple = ()    # endpoints of the connections that were spliced then: of their clients, and ours to brokers
    victim: int = 0        # the broker's number or the shift's

    def touches(self, ended):
        """The connection lived at some time when the victim was away, and did not end before or long after."""
        return ended["began"] / 1e6 <= self.until and self.when <= ended["ended"] / 1e6 <= self.until + _BLAMED_SECONDS


class Chaos:
    """`run` until so many handoffs went well and everybody was killed a few times."""

    def __init__(self, lab, handoffs, addresses, seed=1):
        self.lab = lab
        self.handoffs = handoffs
        self.whole = 0
        self.kills = []
        self.ended = []        # what shifts tell of connections that were not whole
        self._addresses = addresses
        self._draw = random.Random(seed)
        self._brokers = {number: self._start_broker(number) for number in (1, 2, 3)}
        self._broker_reports = {}
        self._shifts = {}      # number -> generator
        self._made = 0

    # processes

    def _start_broker(self, number):
        listen = endpoint(broker_address(self.lab.family, number), _PORT)
        broker = load.Generator(self.lab, "broker", "flood", "broker", "--listen", listen, "--report", 1, "--probe",
                                _PROBE_SECONDS)
        broker.result(10)
        return broker

    def _start_shift(self, count):
        number = self._made
        self._made += 1
        source = client_address(self.lab.family, 10 + number % self._addresses)
        self._shifts[number] = load.Generator(
            self.lab, "clients", "flood", "client", "--connect", endpoint(self.lab.listener, _PORT), "--source", source,
            "--count", count, "--until-whole", 1, "--at-once", _AT_ONCE, "--bytes", 16384, "--first",
            number * _ID_RANGE, "--report", 1, "--probe", _PROBE_SECONDS, "--keep-alive",
            _KEEP_ALIVE)

    # the course of it

    def run(self, each=3, seconds=600):
        """`each`: how often daemon, clients and brokers are killed at least."""
        deadline = time.monotonic() + seconds
        schedule = list(_CAUSES) * each
        self._draw.shuffle(schedule)
        pause = self._pause()
        while self.whole < self.handoffs or schedule:
            self._keep_shifts()
            if time.monotonic() > pause:
                getattr(self, f"_kill_{schedule.pop() if schedule else self._draw.choice(_CAUSES)}")()
                pause = self._pause()
            if time.monotonic() > deadline:
                raise LabError(f"only {self.whole} of {self.handoffs} connections were whole after {seconds} s")
            time.sleep(0.01)
        while self._shifts:
            self._collect()
            if time.monotonic() > deadline + 60:
                raise LabError(f"shifts {sorted(self._shifts)} do not come to an end")
            time.sleep(0.01)
        self._broker_reports = {number: broker.finish(60) for number, broker in self._brokers.items()}

    def _pause(self):
        return time.monotonic() + self._draw.uniform(0.2, 1.2)

    def _keep_shifts(self):
        self._collect()
        while len(self._shifts) < _SHIFTS:
            self._start_shift(max(100, self.handoffs // 30))

    def _collect(self):
        for number, shift in list(self._shifts.items()):
            if result := shift.poll():
                del self._shifts[number]
                shift.kill()  # it has ended; this closes its pipes
                self.whole += result["whole"]
                self.ended += result["report"]
                if result["mismatch"] or result["hung"] or result["twice"]:
                    raise LabError(f"clients of shift {number}: { {**result, 'report': '…'} }")

    def _kill_daemon(self):
        flows = [flow for flow in self.lab.gateway.flows() if flow["state"] == "active"]
        kill = Kill("daemon", time.monotonic(), spliced=tuple({flow[end] for flow in flows}
                                                              for end in ("client", "source")))
        self.lab.gateway.kill()
        self.lab.gateway.start()
        kill.until = time.monotonic()
        self.kills.append(kill)

    def _kill_broker(self):
        number = self._draw.choice(sorted(self._brokers))
        when = time.monotonic()
        self._brokers[number].kill()
        self._brokers[number] = self._start_broker(number)
        self.kills.append(Kill("broker", when, time.monotonic(), victim=number))

    def _kill_client(self):
        if not self._shifts:
            return
        number = self._draw.choice(sorted(self._shifts))
        when = time.monotonic()
        self._shifts.pop(number).kill()
        self.kills.append(Kill("client", when, when, victim=number))

    # the account

    def check(self):
        """Every connection that was not whole is accounted for, at both ends."""
        late = []
        known = {ended["id"] for ended in self.ended}
        elsewhere = {ended["id"]: number for number, report in self._broker_reports.items()
                     for ended in report["report"]}
        for ended in self.ended:
            self._account(ended, "client", late, elsewhere)
        for number, report in self._broker_reports.items():
            if report["mismatch"] or report["hung"] or report["twice"]:
                raise LabError(f"broker {number}: { {**report, 'report': '…'} }")
            for ended in report["report"]:
                if ended["id"] not in known and not self._of_killed_shift(ended["id"]):
                    self._account(ended, "broker", late, {})
        # A RST is sent once, and this network loses some of everything.
        if len(late) > 2 + len(self.ended) // 50:
            raise LabError(f"{len(late)} of {len(self.ended)} victims heard of it only when they probed: {late[:5]}")

    def _of_killed_shift(self, number):
        return any(kill.cause == "client" and kill.victim == number // _ID_RANGE for kill in self.kills)

    def _account(self, ended, side, late, elsewhere):
        """Which kill cut this connection? None may have cut one that was spliced, if it was the daemon's."""
        cut_by = [kill for kill in self.kills if kill.touches(ended) and self._may_cut(kill, ended, side, elsewhere)]
        if not cut_by:
            raise LabError(f"a {side}'s connection was not whole, and no kill explains it: {ended}; "
                           f"kills: {[(kill.cause, kill.when, kill.until) for kill in self.kills]}")
        if ended["ended"] / 1e6 > max(kill.until for kill in cut_by) + _TOLD_SECONDS:
            late.append(ended)

    @staticmethod
    def _may_cut(kill, ended, side, elsewhere):
        if kill.cause == "daemon":
            was_spliced = ended["endpoint"] in kill.spliced[0 if side == "client" else 1]
            return not (was_spliced and ended["began"] / 1e6 < kill.when)
        if kill.cause == "broker":
            # Another broker, that lives, says that this connection was its own.
            return side == "client" and elsewhere.get(ended["id"], kill.victim) == kill.victim
        return False
