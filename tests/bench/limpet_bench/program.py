# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds a packet and verified instructions of the BPF programs, from tests/bench/packet_dataplane.cpp."""
import json
import pathlib
import subprocess

from limpet_lab.process import LabError, run

_TOP = pathlib.Path(__file__).resolve().parents[3]
_PROGRAM = _TOP / "build/bench/tests/bench_packet_dataplane"


def lines(tell):
    """What the program says, line by line; its figures are medians of many runs already."""
    tell("program: building bench_packet_dataplane")
    run(_TOP / "scripts/build", "bench", "bench_packet_dataplane", timeout=1800)
    tell("program: running it")
    try:
        said = run(_PROGRAM, timeout=600).stdout
    except subprocess.TimeoutExpired:
        raise LabError("bench_packet_dataplane: no end within 600 s") from None
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]
