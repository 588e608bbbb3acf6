# SPDX-License-Identifier: Apache-2.0
"""An unkind network at both end hosts, where netem is missing: loss, duplicates and frames that come late, drawn for
each frame that leaves (load/disorder.bpf.c). The gateway's interfaces stay as they are."""
from . import load
from .process import run

_ENDS = ("clients", "broker")


def single_frames(topology):
    """The end hosts hand down no super-packets, so that what is lost or late is one frame and not sixty. Holds for
    connections that are made afterwards, as if their NICs had no segmentation offload."""
    for where in _ENDS:
        run("ip", "-n", getattr(topology, where), "link", "set", "dev", "eth0", "gso_max_segs", "1")


class Disorder:
    """Attached at both ends; kind until `set` says otherwise."""

    def __init__(self, lab):
        single_frames(lab.topology)
        program = lab.binary.parent / "e2e" / "disorder.o"
        self._ends = [load.Generator(lab, where, "disorder", "--object", program, "--device", "eth0")
                      for where in _ENDS]
        for end in self._ends:
            end.result(10)

    def set(self, lose=0.0, duplicate=0.0, late=0.0, lateness=(0.0, 0.0)):
        """Shares in percent of the TCP frames that leave either end; lateness (least, most) in milliseconds."""
        least, most = (round(1000 * milliseconds) for milliseconds in lateness)
        words = f"set lose={round(100 * lose)} duplicate={round(100 * duplicate)} late={round(100 * late)} " \
                f"least={least} most={most}"
        for end in self._ends:
            end.tell(words, 5)

    def counts(self):
        """What was done so far, at both ends together: seen, lost, duplicated, late, untouched."""
        both = [end.tell("read", 5) for end in self._ends]
        return {name: sum(one[name] for one in both) for name in both[0]}
