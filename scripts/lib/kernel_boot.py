# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel packages, and booting one under qemu with this machine's root file system read-only inside. Packages
are unpacked below $LIMPET_CACHE (~/.cache/limpet); nothing is installed for this machine's own boot."""
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

CACHE = pathlib.Path(os.environ.get("LIMPET_CACHE", pathlib.Path.home() / ".cache/limpet")) / "kernels"
SERIES = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}
GUEST_MEGABYTES = 2048
WIRES = 4  # pairs of virtio_net devices, connected inside qemu (tests/e2e/limpet_lab/wires.py knows them)

# The modules of each group in the order of loading. The root file system comes over 9p and gets a writable layer in
# memory; the rest is loaded by the guest, which wants to see the kernel without "tls" first.
MODULES = {
    "root": ["virtio_pci", "netfs", "9p", "9pnet_virtio", "overlay"],
    "guest": ["crc32c_generic", "veth", "virtio_net", "bridge", "8021q", "cls_bpf", "sch_ingress", "sch_netem",
              "nf_tables", "nft_numgen", "inet_diag", "tcp_diag"],
    "tls": ["tls"],
}

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /lower /layer /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
while read module; do /bin/busybox insmod /modules/$module || echo "init: no $module"; done </modules/root.order
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /lower
/bin/busybox mount -t tmpfs -o size=512m layer /layer
/bin/busybox mkdir /layer/upper /layer/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work over /new
for place in proc sys dev; do /bin/busybox mount --move /$place /new/$place; done
for place in tmp run; do /bin/busybox mount -t tmpfs $place /new/$place; done
/bin/busybox mkdir /new/run/machine
/bin/busybox mount --bind /lower /new/run/machine
/bin/busybox cp -r /modules /new/run/modules
/bin/busybox mount -t bpf bpf /new/sys/fs/bpf
exec /bin/busybox switch_root /new %(command)s
"""


class Unavailable(Exception):
    """A kernel that cannot be had here: no such package, or no network."""


def _run(*command, **options):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False, **options)


def _newest_package(series):
    """The package that Debian's metapackage of a series stands for; None where apt knows no such series."""
    found = _run("apt-cache", "depends", SERIES.get(series, f"linux-image-{series}-amd64"))
    names = re.findall(r"Depends: (linux-image-[0-9]\S+)", found.stdout)
    return names[0] if names else None


def _cached_package(series):
    """The newest package of the series that was unpacked before, or None."""
    found = [folder for folder in CACHE.glob(f"linux-image-{series}.*") if (folder / "boot").is_dir()]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def _download(package):
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        done = _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2", "download", package,
                    cwd=scratch, timeout=600)
        archive = next(pathlib.Path(scratch).glob("*.deb"), None)
        if done.returncode != 0 or archive is None:
            raise Unavailable(f"{package} could not be downloaded: {done.stderr.strip()[-300:]}")
        files = pathlib.Path(scratch) / "files"
        subprocess.run(["dpkg-deb", "-x", archive, files], check=True)
        files.rename(CACHE / package)


def kernel(series):
    """The folder with the files of a series' newest kernel package; an older one from the cache where there is no
    network. Raises Unavailable."""
    package = _newest_package(series)
    if package is None:  # a machine whose lists of packages were never fetched
        _run("apt-get", "-q", "update", timeout=300)
        package = _newest_package(series)
    if package and (CACHE / package / "boot").is_dir():
        return CACHE / package
    try:
        if package is None:
            raise Unavailable(f"apt knows no kernel {series}")
        _download(package)
        return CACHE / package
    except Unavailable:
        if cached := _cached_package(series):
            return cached
        raise


class Modules:
    """A kernel's modules, and what each needs before it."""

    def __init__(self, folder):
        self._files = {}
        for path in (folder / "lib/modules").rglob("*.ko*"):
            self._files[path.name.split(".")[0].replace("-", "_")] = path

    def _bytes(self, name):
        path = self._files[name]
        return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()

    def closure(self, names):
        """{module: its bytes} in the order of loading; what is built in or does not exist is left out."""
        ordered = {}

        def visit(name):
            name = name.replace("-", "_")
            if name in ordered or name not in self._files:
                return
            content = self._bytes(name)
            needed = re.search(rb"\0depends=([^\0]*)\0", content)
            for other in needed.group(1).decode().split(",") if needed else []:
                if other:
                    visit(other)
            ordered[name] = content

        for name in names:
            visit(name)
        return ordered


def initramfs(folder, command, target):
    """Writes the archive whose init mounts everything and becomes `command`."""
    modules = Modules(folder)
    with tempfile.TemporaryDirectory(prefix="limpet-initramfs-") as name:
        root = pathlib.Path(name)
        for sub in ("bin", "modules"):
            (root / sub).mkdir()
        shutil.copy(shutil.which("busybox"), root / "bin/busybox")
        seen = set()
        for group, names in MODULES.items():
            loaded = modules.closure(names)
            order = [module for module in loaded if module not in seen]
            for module in order:
                (root / "modules" / f"{module}.ko").write_bytes(loaded[module])
            (root / "modules" / f"{group}.order").write_text("".join(f"{module}.ko\n" for module in order))
            seen.update(order)
        (root / "init").write_text(INIT % {"command": command})
        (root / "init").chmod(0o755)
        files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        with open(target, "wb") as out:
            subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], input=files.encode(), stdout=out,
                           stderr=subprocess.DEVNULL, cwd=root, check=True)


def _wires():
    """qemu's hubs connect the devices of a pair; without a tap there is no offload, as XDP wants it."""
    words = []
    for wire in range(WIRES):
        for end in (0, 1):
            words += ["-netdev", f"hubport,id=w{wire}e{end},hubid={wire + 1}", "-device",
                      f"virtio-net-pci,netdev=w{wire}e{end},mac=02:4c:50:54:{wire:02x}:{end:02x},romfile="]
    return words


class Guest:
    """A guest that runs until it switches itself off, or `seconds` are over: then `late` is true."""

    def __init__(self, folder, archive, seconds, cores):
        image = next((folder / "boot").glob("vmlinuz-*"))
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(cores), "-m",
                   str(GUEST_MEGABYTES), "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
                   "-kernel", str(image), "-initrd", str(archive),
                   "-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init",
                   "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                   "-device", "virtio-9p-pci,fsdev=root,mount_tag=root", *_wires()]
        self.late = False
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True, errors="replace")
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.start()

    def _expire(self):
        self.late = True
        self._process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._timer.cancel()
        self._process.kill()
        self._process.wait()

    def lines(self):
        """The lines of its console as they come."""
        for line in self._process.stdout:
            yield line.rstrip("\r\n")
