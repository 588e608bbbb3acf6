# SPDX-License-Identifier: Apache-2.0
"""Messages over 200 connections: processor time of each at a rate that everybody sustains, and how many there can be."""
from .measure import Measure

RATE_CPU = "CPU per message at a fixed rate"
SATURATION = "messages/s at saturation, one packet each"
SATURATION_CPU = "CPU per message at saturation, one packet each"
BATCHED = "messages/s at saturation, batched"
BATCHED_CPU = "CPU per message at saturation, batched"
_PAYLOAD = 64
_BATCH = 16      # messages under way on each connection
_SHARE = 0.4     # of what the slowest can do


class Messages(Measure):
    name = "messages"

    def __init__(self):
        self._rate = 0

    def prepare(self, site, contenders, results):
        """The fixed rate: a share of what the slowest contender can do."""
        most = []
        for contender in contenders:
            with contender.running(site):
                most.append(self._traffic(site, contender, site.sizes.calibration_seconds, idle=0,
                                          window=1)["per_second"])
        self._rate = max(1000, int(min(most) * _SHARE) // 1000 * 1000)
        results.note(RATE_CPU, f"{self._rate} messages/s in all")

    def round(self, site, contender, number, results):
        seconds, idle = site.sizes.message_seconds, site.sizes.idle_seconds
        with contender.running(site):
            said = self._traffic(site, contender, seconds, idle, rate=self._rate)
            if said["per_second"] < 0.98 * self._rate:
                results.note(RATE_CPU, f"{contender.title} reached only {said['per_second']:.0f}/s in a round")
            results.add(RATE_CPU, contender.name, number, said["cpu_us"])
            results.own_load.append(said["idle_load"])
            for window, per_second, cpu in ((1, SATURATION, SATURATION_CPU), (_BATCH, BATCHED, BATCHED_CPU)):
                said = self._traffic(site, contender, seconds, idle, window=window)
                results.add(per_second, contender.name, number, said["per_second"])
                results.add(cpu, contender.name, number, said["cpu_us"])

    @staticmethod
    def _traffic(site, contender, seconds, idle, **options):
        return site.tool("traffic", seconds=90, connect=",".join(contender.targets(site)),
                         connections=site.sizes.connections, payload=_PAYLOAD, duration=seconds, idle=idle, **options)
