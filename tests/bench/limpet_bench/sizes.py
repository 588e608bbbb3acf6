# SPDX-License-Identifier: Apache-2.0
"""How much of everything: the real run, and a small one that shows that everything works."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    rounds: int = 5
    round_trips: int = 20000        # of one ping-pong
    connections: int = 200          # that carry messages
    message_seconds: int = 4        # of one window of messages
    idle_seconds: int = 2           # before it, for the machine's own load
    calibration_seconds: int = 2
    storm: int = 20000              # connections set up and ended in one go
    storm_window: int = 64          # of them at once
    crowd: int = 20000              # idle connections
    crowd_rate: int = 2000          # of them set up a second, by each of two processes
    packet_flows: int = 16
    packet_seconds: int = 3


QUICK = Sizes(rounds=1, round_trips=2000, message_seconds=1, idle_seconds=1, calibration_seconds=1, storm=1000,
              crowd=1000, crowd_rate=1000, packet_seconds=1)
