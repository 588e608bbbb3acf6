# SPDX-License-Identifier: Apache-2.0
"""What an idle connection costs the gateway, in its kernel and in its processes.

Clients and brokers live in the same kernel. Their sockets are in every contender's figure, and in that of plain
forwarding, where the gateway keeps nothing for a connection: its figure is taken away in the same round.
"""
from limpet_lab import load
from limpet_lab.process import LabError, wait_until

from . import machine
from .contenders import SPLICED
from .measure import Measure, spliced_all

TOTAL = "memory per idle connection"
KERNEL = "of it kernel, measured beside plain forwarding"
PROCESS = "of it processes"
COMPUTED = "computed: two elements of the map, and the process"
FILLED = {4: "two elements alone, IPv4: a map filled by itself", 6: "two elements alone, IPv6: a map filled by itself"}
FIXED = "fixed, before the first connection"
# The element of a connection's direction: 48 B of the hash table, 12 B of key rounded up to 16, 120 B of value, 8 B
# of the allocator: the whole of the kernel's size class of 192 B.
_DIRECTIONS = 2
_ELEMENT = 192
_GENERATORS = 2            # processes, each with an address of its own


class Memory(Measure):
    name = "memory"

    def __init__(self):
        self._plain = {}   # round -> kernel bytes of plain forwarding, per connection

    def round(self, site, contender, number, results):
        crowd_size = site.sizes.crowd
        empty = machine.kernel_bytes()
        with contender.running(site, crowd=crowd_size):
            kernel, process = machine.kernel_bytes(), machine.process_bytes(contender.pids())
            fixed = kernel - empty + process
            crowd = self._connect(site, contender, number)
            spliced_all(contender, crowd_size)
            kernel = (machine.kernel_bytes() - kernel) / crowd_size
            process = (machine.process_bytes(contender.pids()) - process) / crowd_size
            self._leave(site, contender, crowd)
        if contender.name == "plain":
            self._plain[number] = kernel
            return self._fill(site, number, results)
        if number not in self._plain:
            raise LabError("plain forwarding was not measured in this round")
        kernel -= self._plain[number]
        results.add(FIXED, contender.name, number, fixed)
        results.add(PROCESS, contender.name, number, process)
        results.add(KERNEL, contender.name, number, kernel)
        results.add(TOTAL, contender.name, number, kernel + process)
        if contender.name in SPLICED:
            results.add(COMPUTED, contender.name, number, _DIRECTIONS * _ELEMENT + process)

    @staticmethod
    def _fill(site, number, results):
        """The elements of as many connections without any connection, by both families."""
        for family, row in FILLED.items():
            filler = site.attendant("gateway", "map_fill", "--family", family, "--connections", site.sizes.crowd)
            filler.result(10)
            before = machine.kernel_bytes()
            filler.tell("fill")
            grown = (machine.kernel_bytes() - before) / site.sizes.crowd
            filler.kill()
            for name in SPLICED:
                results.add(row, name, number, grown)

    @staticmethod
    def _connect(site, contender, number):
        targets = contender.targets(site)
        share = site.sizes.crowd // _GENERATORS
        crowd = [load.mass(site.lab, share, targets, f"idle-{number}-{index}-", source=source,
                           rate=site.sizes.crowd_rate, window=500, keep_alive=3600)
                 for index, source in zip(range(_GENERATORS), site.sources())]
        for generator in crowd:
            said = generator.result(120)
            if said["served"] != share:
                raise LabError(f"{contender.title}: only {said['served']} of {share} were served: {said}")
        return crowd

    @staticmethod
    def _leave(site, contender, crowd):
        for generator in crowd:
            generator.tell("leave")
        for generator in crowd:
            generator.kill()
        topology = site.topology

        def gone():
            return not any(state == "ESTAB" for where in ("clients", "gateway", "broker")
                           for state, _, _ in topology.tcp_sockets(where))

        wait_until(gone, 60, f"{contender.title}: every connection ends", step=0.5)
