# SPDX-License-Identifier: Apache-2.0
"""Connections set up and ended, what each costs, and how long Limpet holds a connection's packets meanwhile."""
from .measure import Measure

PER_SECOND = "connections/s"
CPU = "CPU per connection"
TIME = "time to CONNACK, median"
HOLD = {"p50": "time in HOLD, p50", "p99": "time in HOLD, p99", "p999": "time in HOLD, p99.9"}


class Connections(Measure):
    name = "connections"

    def round(self, site, contender, number, results):
        with contender.running(site):
            said = site.tool("storm", seconds=180, connect=",".join(contender.targets(site)),
                             source=",".join(site.sources()), count=site.sizes.storm, window=site.sizes.storm_window,
                             prefix=f"storm-{number}-", idle=site.sizes.idle_seconds)
            if said["failed"]:
                results.note(PER_SECOND, f"{contender.title}: {said['failed']} of {site.sizes.storm} failed in a round")
            results.add(PER_SECOND, contender.name, number, said["per_second"])
            results.add(CPU, contender.name, number, said["cpu_us"])
            results.add(TIME, contender.name, number, said["p50"])
            results.own_load.append(said["idle_load"])
            self._hold(contender, number, results)

    @staticmethod
    def _hold(contender, number, results):
        if contender.limpet() is None:
            return
        held = contender.limpet().status()["hold_microseconds"]
        for quantile, row in HOLD.items():
            results.add(row, contender.name, number, held[quantile])
