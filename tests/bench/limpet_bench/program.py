# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds a packet and verified instructions of the BPF programs, from tests/bench/packet_dataplane.cpp."""
import json
import pathlib

from limpet_lab.process import run

_TOP = pathlib.Path(__file__).resolve().parents[3]
_SOURCE = _TOP / "tests/bench/packet_dataplane.cpp"
_PROGRAM = _TOP / "build/bench/tests/bench_packet_dataplane"


def lines(rounds, tell):
    """What the program says, a list of its lines for each round; empty where there is no such program."""
    if not _SOURCE.exists():
        return []
    tell("building bench_packet_dataplane")
    run(_TOP / "scripts/build", "bench", "bench_packet_dataplane", timeout=1800)
    every = []
    for _ in range(rounds):
        said = run(_PROGRAM, timeout=300).stdout.splitlines()
        every.append([json.loads(line) for line in said if line.startswith("{")])
    return every
