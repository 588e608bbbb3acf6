# SPDX-License-Identifier: Apache-2.0
"""Packets per second of spliced flows, beside a bare XDP redirect on the same devices.

A generator replays pure ACKs of connections that really were handed off and are silent now, as XDP frames, into the
gateway; at the brokers' end a counter drops them, so that no TCP sees them. Everybody starts from the same: the
bare redirect gets the frames of plain connections.
"""
import contextlib
import json
import os
import pathlib
import re
import time

from limpet_lab.process import LabError, wait_until

from . import frames
from .contenders import Contender, Plain
from .measure import Measure, spliced_all

SHARED = "packets/s, generator and gateway on one core"
OWN = "packets/s, gateway on a core of its own"
TRAFGEN = "packets/s from trafgen"
_TRAFGEN_PACKETS = 400_000   # for each second that the other generator gets
_GENERATOR_CORE, _GATEWAY_CORE = 0, 1


class BareRedirect(Plain):
    """An XDP program on the gateway's front interface that writes two MAC addresses and redirects."""
    name = "bare-xdp"
    title = "bare XDP redirect"

    @contextlib.contextmanager
    def running(self, site, port=0, crowd=0):
        yield self

    @contextlib.contextmanager
    def attached(self, site):
        """Only now: the connections were made by plain forwarding."""
        rig = attend(site, "gateway", "redirect", "--device", "front", "--to", "back",
                     "--source", mac(site, "gateway", "back"), "--destination", mac(site, "broker", "eth0"))
        yield
        rig.finish()
        rig.kill()


def attend(site, where, verb, *arguments):
    """A program of packet_rig that stays attached until its input ends."""
    rig = site.attendant(where, "packet_rig", verb, "--object", site.tools / "packet_rig.o", *arguments)
    rig.result(10)
    return rig


def mac(site, where, device):
    return json.loads(site.inside(where, "ip", "-j", "link", "show", "dev", device).stdout)[0]["address"]


class Packets(Measure):
    name = "packets"
    contenders = ("bare-xdp", "plain", "limpet-tc", "limpet-xdp")

    def round(self, site, contender, number, results):
        with contender.running(site), contextlib.ExitStack() as stack:
            connections = frames.open_connections(site, contender.targets(site), site.sizes.packet_flows)
            stack.callback(frames.close_connections, connections)
            spliced_all(contender, len(connections))
            path = site.folder("packets") / "frames"
            path.write_text(frames.write(connections, mac(site, "clients", "eth0"), mac(site, "gateway", "front")))
            if isinstance(contender, BareRedirect):
                stack.enter_context(contender.attached(site))
            counter = attend(site, "broker", "count", "--device", "eth0")
            stack.callback(counter.kill)
            results.add(SHARED, contender.name, number, self._generated(site, counter, path)[0])
            results.add(TRAFGEN, contender.name, number, self._trafgen(site, counter, path))
            with own_core(site, "gateway", "front", _GATEWAY_CORE) as moved:
                if moved:
                    arrived, sent = self._generated(site, counter, path)
                    results.add(OWN, contender.name, number, arrived)
                    if arrived > 0.98 * sent:
                        results.note(OWN, f"{contender.title}: in a round the generator was the limit")
                else:
                    results.note(OWN, "no threaded NAPI, or no second core, on this machine")
            counter.finish()
        self._check(contender)

    @staticmethod
    def _generated(site, counter, path):
        """Packets a second that arrived, and that were sent."""
        begin = counter.tell("read")["packets"]
        done = site.inside("clients", site.tools / "packet_rig", "generate", "--object", site.tools / "packet_rig.o",
                           "--device", "eth0", "--frames", path, "--seconds", site.sizes.packet_seconds,
                           "--core", _GENERATOR_CORE, timeout=60)
        said = json.loads(done.stdout)
        return settled(counter, begin) / said["seconds"], said["packets"] / said["seconds"]

    @staticmethod
    def _trafgen(site, counter, path):
        """The same frames from trafgen (netsniff-ng), one process on one core."""
        config = path.with_suffix(".trafgen")
        config.write_text("".join("{ " + ", ".join(f"0x{line[at:at + 2]}" for at in range(0, len(line), 2)) + " }\n"
                                  for line in path.read_text().split()))
        packets = _TRAFGEN_PACKETS * site.sizes.packet_seconds
        begin = counter.tell("read")["packets"]
        said = site.inside("clients", "trafgen", "--dev", "eth0", "--conf", config, "--num", packets, "--cpus", 1,
                           "--no-sock-mem", timeout=60)
        took = re.search(r"(\d+) sec, (\d+) usec on CPU", said.stdout + said.stderr)
        if not took:
            raise LabError(f"trafgen: {said.stdout} {said.stderr}")
        return settled(counter, begin) / (int(took[1]) + int(took[2]) / 1e6)

    @staticmethod
    def _check(contender):
        daemon = contender.limpet()
        if daemon and daemon.reason("guard_host_packet"):
            raise LabError("the host's own TCP answered a spliced flow")


def settled(counter, begin):
    """Packets since `begin`, when no more of them come."""
    last = counter.tell("read")["packets"]
    while True:
        time.sleep(0.1)
        current = counter.tell("read")["packets"]
        if current == last:
            return current - begin
        last = current


def _kernel_threads(device):
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().startswith(f"napi/{device}-"):
                found.add(int(path.parent.name))
    return found


@contextlib.contextmanager
def own_core(site, where, device, core):
    """The device's receiving side runs in a kernel thread on this core; False where that cannot be had."""
    before = _kernel_threads(device)
    switch = f"/sys/class/net/{device}/threaded"
    moved = (os.cpu_count() or 1) > core and \
        site.inside(where, "sh", "-c", f"echo 1 > {switch}", check=False).returncode == 0
    try:
        if moved:
            wait_until(lambda: _kernel_threads(device) - before, 5, f"threaded NAPI of {device}")
            for pid in _kernel_threads(device) - before:
                os.sched_setaffinity(pid, {core})
        yield moved
    finally:
        if moved:
            site.inside(where, "sh", "-c", f"echo 0 > {switch}", check=False)


EXTRA_CONTENDERS: list[Contender] = [BareRedirect()]
