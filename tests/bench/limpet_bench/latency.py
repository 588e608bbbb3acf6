# SPDX-License-Identifier: Apache-2.0
"""The round trip of one message at a time on one connection."""
from .measure import Measure
from .site import MOSQUITTO_PORT, PORT

_PAYLOADS = (64, 1024)


def row(payload, what, broker="echo"):
    return f"round trip {what}, {payload} B" + (", real mosquitto" if broker == "mosquitto" else "")


class Latency(Measure):
    name = "latency"

    def round(self, site, contender, number, results):
        with contender.running(site):
            for payload in _PAYLOADS:
                self._one(site, contender, number, results, payload, PORT, "echo")
        with contender.running(site, port=MOSQUITTO_PORT):
            self._one(site, contender, number, results, _PAYLOADS[0], MOSQUITTO_PORT, "mosquitto")

    @staticmethod
    def _one(site, contender, number, results, payload, port, broker):
        # The same id each round: the same broker, whose address the others use as well.
        target = contender.targets(site, port)[0]
        said = site.tool("pingpong", connect=target, payload=payload, count=site.sizes.round_trips,
                         warm_up=max(200, site.sizes.round_trips // 10), id=f"pp{payload}")
        results.add(row(payload, "median", broker), contender.name, number, said["p50"])
        if broker == "echo":
            results.add(row(payload, "p99", broker), contender.name, number, said["p99"])
