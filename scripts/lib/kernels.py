# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's stock kernels under qemu and runs scripts/lib/kernel_guest.py in each; the last line is
'N passed, N failed, N skipped'. Kernels are downloaded and unpacked below $LIMPET_CACHE (~/.cache/limpet)."""
import argparse
import lzma
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = pathlib.Path(os.environ.get("LIMPET_CACHE", pathlib.Path.home() / ".cache/limpet")) / "kernels"
# The root file system comes over 9p and gets a writable layer in memory.
ROOT_MODULES = ["virtio_pci", "netfs", "9p", "9pnet_virtio", "overlay"]
TEST_MODULES = ["veth", "cls_bpf", "sch_ingress", "tls"]
SERIES = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}
GUEST_MEGABYTES = 2048

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /lower /layer /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
while read module; do /bin/busybox insmod /modules/$module || echo "init: no $module"; done </modules/order
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /lower
/bin/busybox mount -t tmpfs -o size=512m layer /layer
/bin/busybox mkdir /layer/upper /layer/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work over /new
for place in proc sys dev; do /bin/busybox mount --move /$place /new/$place; done
for place in tmp run; do /bin/busybox mount -t tmpfs $place /new/$place; done
/bin/busybox mkdir /new/run/machine
/bin/busybox mount --bind /lower /new/run/machine
/bin/busybox mount -t bpf bpf /new/sys/fs/bpf
exec /bin/busybox switch_root /new %(python)s -B %(guest)s %(arguments)s
"""


def sh(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, text=True, capture_output=True, **options).stdout


def newest_package(series):
    """The package that Debian's metapackage of a series stands for, or None where apt knows no such series."""
    found = subprocess.run(["apt-cache", "depends", SERIES.get(series, f"linux-image-{series}-amd64")],
                           capture_output=True, text=True, check=False)
    names = re.findall(r"Depends: (linux-image-[0-9]\S+)", found.stdout)
    return names[0] if names else None


def unpacked(package):
    """The folder with the files of a kernel package, downloaded where it is not there yet."""
    folder = CACHE / package
    if (folder / "boot").is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        sh("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=scratch)
        archive = next(pathlib.Path(scratch).glob("*.deb"))
        sh("dpkg-deb", "-x", archive, pathlib.Path(scratch) / "files")
        (pathlib.Path(scratch) / "files").rename(folder)
    return folder


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


def initramfs(modules, arguments, target):
    with tempfile.TemporaryDirectory(prefix="limpet-initramfs-") as name:
        folder = pathlib.Path(name)
        for sub in ("bin", "modules"):
            (folder / sub).mkdir()
        shutil.copy(shutil.which("busybox"), folder / "bin/busybox")
        loaded = modules.closure(ROOT_MODULES + TEST_MODULES)
        for module, content in loaded.items():
            (folder / "modules" / f"{module}.ko").write_bytes(content)
        (folder / "modules/order").write_text("".join(f"{module}.ko\n" for module in loaded))
        (folder / "init").write_text(INIT % {"python": sys.executable, "guest": TOP / "scripts/lib/kernel_guest.py",
                                             "arguments": " ".join(arguments)})
        (folder / "init").chmod(0o755)
        files = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
        with open(target, "wb") as out:
            subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], input=files.encode(), stdout=out,
                           stderr=subprocess.DEVNULL, cwd=folder, check=True)


def boot(kernel, archive, log, timeout):
    """Runs the guest until it switches itself off. True: it did so in time."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", str(GUEST_MEGABYTES),
               "-nodefaults", "-no-reboot", "-display", "none", "-serial", f"file:{log}",
               "-kernel", str(kernel), "-initrd", str(archive),
               "-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init",
               "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
               "-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as guest:
        try:
            status = guest.wait(timeout)
            if status != 0:
                print(f"qemu ended with status {status}", flush=True)
            return status == 0
        except BaseException as error:
            guest.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return False
            raise


def check(series, arguments, folder):
    """The counts of one kernel: [passed, failed, skipped]."""
    package = newest_package(series)
    if package is None:
        print(f"skip  {series}: apt knows no such kernel", flush=True)
        return [0, 0, 1]
    files = unpacked(package)
    print(f"== {package}", flush=True)
    log = folder / f"{series}.log"
    archive = folder / f"{series}.cpio"
    inside = ["--build", f"/run/machine{arguments.build}"] + (["--only", arguments.only] if arguments.only else [])
    initramfs(Modules(files), inside, archive)
    ended = boot(next((files / "boot").glob("vmlinuz-*")), archive, log, arguments.timeout)
    text = log.read_text(errors="replace").replace("\r", "")
    verdicts = re.findall(r"^(pass|fail|skip)  .*$", text, re.MULTILINE)
    for line in re.findall(r"^(?:pass|fail|skip|info)  .*$", text, re.MULTILINE):
        print(f"{line}", flush=True)
    counts = [verdicts.count(word) for word in ("pass", "fail", "skip")]
    if not ended or not re.search(r"^guest: done$", text, re.MULTILINE):
        print(f"fail  {series}: the guest did not come to its end; its console:\n{text[-4000:]}", flush=True)
        counts[1] += 1
    elif counts[1] or arguments.verbose:
        print(text[-12000:], flush=True)
    return counts


def main():
    parser = argparse.ArgumentParser(prog="scripts/test-kernels", description=__doc__)
    parser.add_argument("series", nargs="*", default=list(SERIES), help=f"default: {' '.join(SERIES)}")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build/release", help="the build folder to check")
    parser.add_argument("--only", default="", help="only checks whose name contains one of these, separated by commas")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one kernel")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the guest's console")
    arguments = parser.parse_args()
    arguments.build = arguments.build.resolve()
    total = [0, 0, 0]
    with tempfile.TemporaryDirectory(prefix="limpet-kernels-") as name:
        for series in arguments.series:
            counts = check(series, arguments, pathlib.Path(name))
            total = [sum(pair) for pair in zip(total, counts)]
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
