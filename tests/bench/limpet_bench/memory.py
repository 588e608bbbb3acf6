# SPDX-License-Identifier: Apache-2.0
"""What an idle connection costs the gateway, in its kernel and in its processes.

Clients and brokers live in the same kernel. Their sockets are in every contender's figure, and in that of plain
forwarding, where the gateway keeps nothing for a connection: its figure is taken away in the same round.
"""
from limpet_lab import load
from limpet_lab.process import LabError, wait_until

from . import machine
from .measure import Measure, spliced_all

TOTAL = "memory per idle connection"
KERNEL = "of it kernel, measured beside plain forwarding"
PROCESS = "of it processes"
COMPUTED = "the same, computed from the map's elements"
OBJECTS = "kernel objects of the elements' size, per connection"
FIXED = "fixed, before the first connection"
_PER_CONNECTION = 2        # elements: one for each direction
_ELEMENT = 192             # bytes: 48 of the hash table, 16 key, 120 value, 8 of the allocator; a size class
_GENERATORS = 2            # processes, each with an address of its own


class Memory(Measure):
    name = "memory"

    def __init__(self):
        self._plain = {}   # round -> (kernel bytes, objects) of plain forwarding, per connection

    def round(self, site, contender, number, results):
        empty = machine.process_bytes([]) + machine.kernel_bytes()
        with contender.running(site, crowd=site.sizes.crowd):
            fixed = machine.kernel_bytes() - empty + machine.process_bytes(contender.pids())
            before = self._snapshot(contender)
            crowd = self._connect(site, contender, number)
            spliced_all(contender, site.sizes.crowd)
            after = self._snapshot(contender)
            self._leave(site, contender, crowd)
        kernel, process, objects = ((late - early) / site.sizes.crowd for early, late in zip(before, after))
        if contender.name == "plain":
            self._plain[number] = (kernel, objects)
            return
        results.add(FIXED, contender.name, number, fixed)
        results.add(PROCESS, contender.name, number, process)
        if number in self._plain:
            kernel -= self._plain[number][0]
            results.add(KERNEL, contender.name, number, kernel)
            results.add(TOTAL, contender.name, number, kernel + process)
        if contender.limpet():
            results.add(COMPUTED, contender.name, number, _PER_CONNECTION * _ELEMENT + process)
            if number in self._plain:
                results.add(OBJECTS, contender.name, number, objects - self._plain[number][1])

    @staticmethod
    def _snapshot(contender):
        return machine.kernel_bytes(), machine.process_bytes(contender.pids()), machine.element_objects(_ELEMENT)

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
