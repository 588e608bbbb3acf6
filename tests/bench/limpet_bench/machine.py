# SPDX-License-Identifier: Apache-2.0
"""The machine: what it is, and how much memory its kernel and some processes take."""
import datetime
import os
import pathlib
import platform
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
_KERNEL_FIELDS = ("Slab", "KernelStack", "PageTables", "Percpu", "VmallocUsed")


def facts():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 platform.machine())
    debian = pathlib.Path("/etc/debian_version")
    memory = int(open("/proc/meminfo").readline().split()[1])
    return {"kernel": platform.release(), "cores": os.cpu_count(), "processor": model,
            "memory": f"{memory / 2**20:.0f} GiB", "debian": debian.read_text().strip() if debian.exists() else "no",
            "date": datetime.date.today().isoformat()}


def _shrink():
    """Gives back what the slab caches keep for later, so that a difference is of what is in use."""
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("2\n")
    for cache in pathlib.Path("/sys/kernel/slab").glob("*"):
        if not cache.is_symlink():
            try:
                (cache / "shrink").write_text("1\n")
            except OSError:
                pass


def _kernel_now():
    meminfo = dict(line.split(":", 1) for line in open("/proc/meminfo"))
    total = sum(int(meminfo[name].split()[0]) * 1024 for name in _KERNEL_FIELDS)
    # Pages that sockets hold for queued data, of the whole machine.
    words = next(line for line in open("/proc/net/sockstat") if line.startswith("TCP:")).split()
    return total + int(words[words.index("mem") + 1]) * PAGE


def kernel_bytes(seconds=8):
    """Kernel memory in use, once it has come to rest: things freed go back only after a grace period."""
    deadline = time.monotonic() + seconds
    _shrink()
    last = _kernel_now()
    while time.monotonic() < deadline:
        time.sleep(0.7)
        _shrink()
        current = _kernel_now()
        if abs(current - last) < 64 * 1024:
            return current
        last = current
    return last


def process_bytes(pids):
    """Proportional share of memory of these processes."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
