# SPDX-License-Identifier: Apache-2.0
"""Somebody else's XDP program on the same device, here xdp-filter of xdp-tools: it goes on working, and so does
Limpet. Needs a kernel that takes programs of type EXT (libxdp's dispatcher), as scripts/test-kernels has them."""
import contextlib
import json
import os
import select
import shutil
import socket

from limpet_lab import checks
from limpet_lab.process import LabError, Missing, one_at_a_time, patient, run
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address

OURS, FILTER = "limpet_xdp", "xdpfilt_alw_all"  # by their names in the kernel
CLOSED, OPEN = 7777, 7778  # nobody listens at either; the filter drops what goes to the first


def _here(lab, *words, **options):
    """A command in the gateway's network that sees the machine's own /sys/fs/bpf."""
    return run("nsenter", f"--net=/run/netns/{lab.topology.gateway}", *words, **options)


def _load_filter(lab, in_dispatcher=True):
    """xdp-filter on the clients' interface, which drops TCP to CLOSED."""
    for tool in ("xdp-filter", "xdp-loader"):
        if not shutil.which(tool):
            raise Missing(f"command {tool}")
    if not os.path.ismount("/sys/fs/bpf"):
        raise Missing("a BPF file system at /sys/fs/bpf")
    one_at_a_time("xdp-filter")  # its rules are the machine's
    alone = [] if in_dispatcher else ["env", "LIBXDP_SKIP_DISPATCHER=1"]
    _here(lab, *alone, "xdp-filter", "load", "-m", "native", "front")
    lab.resources.on_exit(lambda: _here(lab, "xdp-filter", "unload", "--all", check=False))
    _here(lab, "xdp-filter", "port", "-m", "dst", "-p", "tcp", CLOSED)


def _need_dispatcher(lab):
    listing = run("nsenter", f"--net=/run/netns/{lab.topology.gateway}", lab.binary, "features", "--json")
    found = next(entry for entry in json.loads(listing.stdout)["features"] if entry["name"] == "dispatcher")
    if not found["available"]:
        raise Missing(f"dispatcher ({found['detail']})")


def _filters(lab):
    """Whether a SYN to CLOSED is dropped: one to OPEN that was sent behind it is answered (by a RST of the broker's),
    and it is not."""
    address = broker_address(4, 1)
    with lab.topology.inside("clients"), socket.socket() as first:
        first.setblocking(False)
        first.connect_ex((address, CLOSED))
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((address, OPEN), timeout=patient(5)).close()
        answered = select.select([], [first], [], 0.1)[1]
    return not answered


def _expect(lab, device, programs, filters):
    """These programs and no others run on the device; the filter works or is not there."""
    listing = _here(lab, "xdp-loader", "status", device).stdout
    found = {name for name in (OURS, FILTER) if f" {name} " in listing}
    if found != programs:
        raise LabError(f"wanted {programs} on {device}:\n{listing}")
    if listing.count(f" {OURS} ") > 1:
        raise LabError(f"more than one program of ours on {device}:\n{listing}")
    if filters is not None and _filters(lab) != filters:
        raise LabError(f"xdp-filter {'lets the closed port through' if filters else 'still drops'}:\n{listing}")


def _says(client, text):
    client.publish(client.client_id, text, 1)
    if client.receive().payload != text:
        raise LabError("the message came back changed")


def _view(lab, device):
    return next(view for view in lab.gateway.status()["interfaces"] if view["name"] == device)


def _detach(lab):
    """Everybody leaves, the daemon ends, and `detach` removes its programs."""
    lab.leave()
    checks.flows_end(lab.gateway)
    checks.guard_silent(lab.gateway)
    lab.gateway.stop()
    _here(lab, lab.binary, "detach", "--bpffs", lab.bpffs(), "--force")


@scenario(modes=("xdp",), families=(4,), timeout=120)
def a_dispatcher_is_shared(lab):
    """xdp-filter and Limpet in one dispatcher: both work, a restart of the daemon leaves one program of ours, and
    either leaves without the other."""
    lab.start_brokers()
    _need_dispatcher(lab)
    _load_filter(lab)
    _expect(lab, "front", {FILTER}, filters=True)
    lab.make_gateway(network_only=True).start()
    lab.check_mode()
    if not _view(lab, "front")["dispatcher"]:
        raise LabError(f"not in the dispatcher: {_view(lab, 'front')}")
    client = lab.client("neighbour")
    client.subscribe("neighbour", 1)
    checks.all_spliced(lab, 1)
    _says(client, b"beside a filter")
    _expect(lab, "front", {OURS, FILTER}, filters=True)

    lab.gateway.stop()
    _says(client, b"without a daemon")
    lab.gateway.start()
    _says(client, b"with the next one")
    _expect(lab, "front", {OURS, FILTER}, filters=True)

    _here(lab, "xdp-filter", "unload", "front")
    _says(client, b"the filter has left")
    _expect(lab, "front", {OURS}, filters=False)
    _load_filter(lab)
    _says(client, b"and is back")
    _expect(lab, "front", {OURS, FILTER}, filters=True)
    if not lab.gateway.reason("forwarded_xdp"):
        raise LabError(f"nothing was forwarded by xdp: {lab.gateway.status()['reasons']}")

    _detach(lab)
    _expect(lab, "front", {FILTER}, filters=True)
    _expect(lab, "back", set(), filters=None)


@scenario(modes=("xdp",), families=(4,))
def a_program_outside_of_a_dispatcher_is_left_alone(lab):
    """It cannot be joined, so it stays and works, TC carries its interface, and `status` says why."""
    lab.start_brokers()
    _load_filter(lab, in_dispatcher=False)
    lab.make_gateway(network_only=True).start()
    front = _view(lab, "front")
    if front["mode"] != "tc" or "another XDP program" not in front["note"] or _view(lab, "back")["mode"] != "xdp":
        raise LabError(f"attached: {lab.gateway.status()['interfaces']}")
    client = lab.client("neighbour")
    client.subscribe("neighbour", 1)
    checks.all_spliced(lab, 1)
    _says(client, b"through TC")
    _expect(lab, "front", {FILTER}, filters=True)
    _detach(lab)
    _expect(lab, "front", {FILTER}, filters=True)
