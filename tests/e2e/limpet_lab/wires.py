# SPDX-License-Identifier: Apache-2.0
"""What a topology's links are made of besides veth pairs, and what may be done to them: connected pairs of virtio_net
devices, 802.1q tags, netem. What this kernel or machine has not is Missing, by name."""
import contextlib
import os
import pathlib

from .process import LabError, Missing, one_at_a_time, run

#: Hardware addresses of the connected pairs that scripts/test-kernels gives its guests: locally administered, "LPT",
#: the number of the wire and of its end. No other device is ever taken for a wire.
VIRTIO_MAC = "02:4c:50:54:{wire:02x}:{end:02x}"


def _two_free_wires():
    """The number of the first of two that nobody uses; with four wires two cases can run side by side."""
    for first in (2, 0):
        if one_at_a_time(f"wire-{first}", wait=False):
            return first
    one_at_a_time("wire-0")
    return 0


def _device_of(mac):
    for path in pathlib.Path("/sys/class/net").glob("*/address"):
        if path.read_text().strip() == mac:
            return path.parent.name
    raise Missing("connected pairs of virtio_net devices (scripts/test-kernels has them)")


class VirtioWires:
    """Two pairs of virtio_net devices that qemu connected, borrowed from the namespace we run in; `give_back()` returns
    them as they were."""

    def __init__(self):
        _device_of(VIRTIO_MAC.format(wire=0, end=0))  # or they are Missing
        self._number = _two_free_wires()
        self._away = []

    def connect(self, *ends):
        """Each of two ends is (namespace, name of the device there)."""
        for end, (namespace, name) in enumerate(ends):
            device = _device_of(VIRTIO_MAC.format(wire=self._number, end=end))
            run("ip", "link", "set", "dev", device, "down")
            run("ip", "link", "set", "dev", device, "xdpdrv", "off", check=False)  # of a case that was killed
            run("ip", "link", "set", "dev", device, "netns", namespace)
            self._away.append((namespace, name, device))
            run("ip", "-n", namespace, "link", "set", "dev", device, "name", name)
            run("ip", "-n", namespace, "link", "set", "dev", name, "up")
        self._number += 1

    def give_back(self):
        for namespace, name, device in self._away:
            with contextlib.suppress(LabError):
                run("ip", "-n", namespace, "link", "set", "dev", name, "down")
                run("ip", "-n", namespace, "link", "set", "dev", name, "xdpdrv", "off", check=False)
                run("ip", "-n", namespace, "link", "set", "dev", name, "name", device)
                run("ip", "-n", namespace, "link", "set", "dev", device, "netns", os.getpid())
        self._away.clear()


def tag(namespace, parent, number):
    """Puts an 802.1q device with this VLAN number on `parent`; its name."""
    name = f"{parent}.{number}"
    done = run("ip", "-n", namespace, "link", "add", "link", parent, "name", name, "type", "vlan", "id", number,
               check=False)
    if "Unknown device type" in done.stderr or "not supported" in done.stderr:
        raise Missing("802.1q devices")
    if done.returncode != 0:
        raise LabError(f"adding {name}: {done.stderr.strip()}")
    run("ip", "-n", namespace, "link", "set", "dev", name, "up")
    return name


def netem(namespace, device, words):
    """What the device sends is delayed, lost, doubled or reordered as `words` say ("loss 2% delay 5ms"); None: no more."""
    discipline = ["netem", *words.split()] if words else ["pfifo", "limit", "1000"]
    done = run("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", *discipline, check=False)
    if "unknown" in done.stderr.lower():
        raise Missing("netem")
    if done.returncode != 0:
        raise LabError(f"netem on {device}: {done.stderr.strip()}")
