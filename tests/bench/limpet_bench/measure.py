# SPDX-License-Identifier: Apache-2.0
"""What every measure is: a name, whom it measures, and one round of one contender."""
from limpet_lab.process import LabError, wait_until


class Measure:
    name = ""
    #: names of the contenders that it measures; None: all
    contenders = None

    def prepare(self, site, contenders, results):
        """Once, before the first round."""

    def round(self, site, contender, number, results):
        """One round of one contender; it adds rows to the results."""
        raise NotImplementedError

    def wants(self, contender):
        return self.contenders is None or contender.name in self.contenders


def spliced_all(contender, count, seconds=30):
    """For Limpet: that many connections are in the kernel, none is relayed. Otherwise a proxy is measured."""
    daemon = contender.limpet()
    if daemon is None:
        return

    def reached():
        connections = daemon.status()["connections"]
        if connections["relayed"] and not connections["pending"] \
                and connections["spliced"] + connections["relayed"] >= count:
            raise LabError(f"{connections['relayed']} of {count} connections are relayed: "
                           f"{daemon.status().get('reasons')}")
        return connections["spliced"] >= count

    wait_until(reached, seconds, lambda: f"{count} connections spliced: {daemon.status()}", step=0.1)
