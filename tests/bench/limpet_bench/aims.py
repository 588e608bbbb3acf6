# SPDX-License-Identifier: Apache-2.0
"""What the project wants of these figures."""
import dataclasses

from . import latency, memory, messages, packets
from .contenders import SPLICED


@dataclasses.dataclass(frozen=True)
class Aim:
    row: str
    text: str
    limit: float
    contenders: tuple = tuple(SPLICED)
    base: str = ""          # a ratio to this contender; else the value itself
    at_least: bool = False  # else at most

    def value(self, results, contender):
        if self.base:
            return results.ratio(self.row, contender, self.base)
        return results.median(self.row, contender)

    def met(self, value):
        return value >= self.limit if self.at_least else value <= self.limit


AIMS = [
    *(Aim(latency.row(payload, "median"), "at most 1.10 times plain forwarding", 1.10, base="plain")
      for payload in (64, 1024)),
    Aim(messages.RATE_CPU, "at most 1.05 times plain forwarding", 1.05, base="plain"),
    Aim(messages.RATE_CPU, "at most half of haproxy", 0.5, base="haproxy"),
    Aim(memory.TOTAL, "at most 700 B", 700),
    *(Aim(row, "at least 0.85 of a bare XDP redirect", 0.85, ("limpet-xdp",), "bare-xdp", True)
      for row in (packets.SHARED, packets.OWN, packets.TRAFGEN)),
]
