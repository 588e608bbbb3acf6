# SPDX-License-Identifier: Apache-2.0
"""The list of scenarios, and how one of them is run."""
import dataclasses
import inspect
import signal
import sys
import traceback

from .lab import Lab, require_capabilities
from .process import LabError, Missing

PASSED, FAILED, SKIPPED = 0, 1, 3
MODES = ("xdp", "tc", "relay")
SCENARIOS = []
#: lines that a scenario prints with this in front are shown although it passed
MEASURED = "measured: "
#: what the command line may change
settings = {"handoffs": 2500}


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    story: object
    modes: tuple
    families: tuple
    alone: bool      # nothing else runs beside it
    timeout: int     # seconds until it is ended and counts as failed
    leaves: dict     # closing check that cannot hold (checks.CLOSING) -> why
    options: dict    # of the Lab

    @property
    def subject(self):
        return self.story.__module__.rsplit(".", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Case:
    """A scenario in one mode and one family."""
    scenario: Scenario
    mode: str
    family: int

    @property
    def name(self):
        return f"{self.scenario.subject}.{self.scenario.name}[{self.mode},ipv{self.family}]"


def scenario(modes=MODES, families=(4, 6), alone=False, timeout=90, leaves=None, **options):
    """Registers a function story(lab) under its name, which says what must hold. A story that ends with a living daemon is
    followed by the closing checks (checks.nothing_left): `leaves` names those whose premise it destroys, each with the
    reason why."""
    def register(story):
        if not inspect.getdoc(story):
            raise LabError(f"scenario {story.__name__} does not say why")
        SCENARIOS.append(Scenario(story.__name__, story, modes, families, alone, timeout, leaves or {}, options))
        return story
    return register


def cases(modes=MODES, families=(4, 6)):
    return [Case(each, mode, family) for each in SCENARIOS for mode in each.modes if mode in modes
            for family in each.families if family in families]


def _terminated(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what follows is cleaning up
    raise LabError("ended from outside (took too long?)")


def run_case(case, binary, keep=False):
    """Runs one case in this process and returns PASSED, FAILED or SKIPPED; says why on stderr."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        require_capabilities(case.mode, binary)
        with Lab(binary, case.mode, case.family, keep=keep, **case.scenario.options) as lab:
            try:
                case.scenario.story(lab)
                lab.finish(case.scenario.leaves)
            except Missing:
                raise
            except BaseException:
                traceback.print_exc()
                print(lab.diagnosis(), file=sys.stderr)
                return FAILED
        if lab.resources.trouble:
            print("cleaning up:", *lab.resources.trouble, file=sys.stderr)
            return FAILED
        return PASSED
    except Missing as missing:
        print(f"missing: {missing}", file=sys.stderr)
        return SKIPPED
    except BaseException:
        traceback.print_exc()
        return FAILED
