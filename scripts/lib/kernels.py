# SPDX-License-Identifier: Apache-2.0
"""Checks Limpet on other kernels: the BPF object of three compilers under the verifier of this machine's kernel ("host")
and of Debian's 6.1 and 6.12, and in these, booted under qemu, the data path's end-to-end scenarios with what this machine
may lack (dispatcher, netem, 802.1q, virtio_net). One line a check; the last is 'N passed, N failed, N skipped'."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import signal
import sys
import tempfile
import threading

import kernel_boot
import kernel_verifier

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))
sys.dont_write_bytecode = True
from limpet_lab import load  # noqa: E402

HOST = "host"
MACHINE = "/run/machine"  # where a guest sees this machine's root
WORDS = ("pass", "fail", "skip")


class Report:
    """What was said of all kernels; several threads may tell it something."""

    def __init__(self):
        self.counts = dict.fromkeys(WORDS, 0)
        self.instructions = {}
        self._lock = threading.Lock()

    def verdict(self, kernel, word, text):
        with self._lock:
            if word in self.counts:
                self.counts[word] += 1
            print(f"{word}  {kernel} {text}", flush=True)

    def verified(self, kernel, compiler, program, count):
        with self._lock:
            self.instructions[kernel, compiler, program] = count

    def show(self, text):
        with self._lock:
            print(text, flush=True)


def check_host(arguments, report):
    """The verifier of the kernel that runs here."""
    kernel = os.uname().release
    allowed = kernel_verifier.budget(arguments.budget)
    for compiler in kernel_verifier.COMPILERS:
        name = f"verifier-{compiler}"
        if not wanted(arguments, name):
            continue
        try:
            counts = kernel_verifier.load(kernel_verifier.object_of(arguments.build, compiler))
        except kernel_verifier.Refused as reason:
            report.verdict(HOST, "fail", f"{name}: {reason}")
            continue
        for program, count in counts.items():
            report.verified(HOST, compiler, program, count)
        wrong = kernel_verifier.beyond(counts, allowed)
        report.verdict(HOST, "fail" if wrong else "pass", f"{name}: " + ("; ".join(wrong) or f"loads on {kernel}"))


def wanted(arguments, name):
    return any(part in name for part in arguments.only.split(","))


def guest_command(arguments):
    """What the guest's first process is; it finds this tree below MACHINE."""
    words = [sys.executable, "-B", f"{MACHINE}{TOP}/scripts/lib/kernel_guest.py", "--build",
             f"{MACHINE}{arguments.build}", "--only", arguments.only, "--jobs", str(arguments.jobs), "--budget",
             f"{MACHINE}{arguments.budget}"]
    for pattern in arguments.pattern:
        words += ["-k", pattern]
    return " ".join(map(shlex.quote, words + (["--all"] if arguments.all else [])))


def check_guest(series, arguments, folder, report):
    """Boots a kernel and repeats what its guest says."""
    try:
        files = kernel_boot.kernel(series)
    except kernel_boot.Unavailable as reason:
        report.verdict(series, "skip", f"boot: {reason}")
        return
    archive = folder / f"{series}.cpio"
    kernel_boot.initramfs(files, guest_command(arguments), archive)
    console, failed, ended = [], False, False
    with kernel_boot.Guest(files, archive, arguments.timeout, arguments.cores) as guest:
        for line in guest.lines():
            console.append(line)
            if found := re.match(r"(pass|fail|skip|info)  (.*)", line):
                report.verdict(series, *found.groups())
                failed = failed or found.group(1) == "fail"
            elif found := re.match(r"verified (\S+) (\S+) (\d+)$", line):
                report.verified(series, found.group(1), found.group(2), int(found.group(3)))
            ended = ended or line == "guest: done"
    if not ended:
        report.verdict(series, "fail", f"boot: {f'not done after {arguments.timeout:g} s' if guest.late else 'it died'}")
    if failed or not ended or arguments.verbose:
        report.show(f"--- the console of {files.name}:\n" + "\n".join(console[-400:]))


def parse():
    series = [HOST, *kernel_boot.SERIES]
    parser = argparse.ArgumentParser(prog="scripts/test-kernels", description=__doc__)
    parser.add_argument("series", nargs="*", default=series, help=f"default: {' '.join(series)}")
    parser.add_argument("--build", type=pathlib.Path, default=TOP / "build/release", help="the build folder to check")
    parser.add_argument("--only", default="", help="only checks whose name contains one of these, separated by commas: "
                        "verifier-COMPILER, packets, ktls, dispatcher, scenarios")
    parser.add_argument("-k", dest="pattern", action="append", default=[],
                        help="instead of the selection tests/e2e/kernels.txt the scenarios whose name contains this")
    parser.add_argument("--all", action="store_true", help="all scenarios that share a machine (an hour for a kernel)")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios side by side in a guest")
    parser.add_argument("--cores", type=int, default=2, help="of a guest")
    parser.add_argument("--at-once", type=int, default=2, help="guests side by side")
    parser.add_argument("--budget", type=pathlib.Path, default=kernel_verifier.BUDGET, help="verified instructions")
    parser.add_argument("--timeout", type=float, help="seconds for one kernel (default: 1200; with --all 10800)")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the guests' consoles")
    arguments = parser.parse_args()
    arguments.build, arguments.budget = arguments.build.resolve(), arguments.budget.resolve()
    arguments.timeout = arguments.timeout or (10800 if arguments.all else 1200)
    return arguments


def main():
    arguments = parse()
    report = Report()
    load.build(arguments.build / "e2e")  # a guest cannot write there
    if HOST in arguments.series:
        check_host(arguments, report)
    with tempfile.TemporaryDirectory(prefix="limpet-kernels-") as name, \
            concurrent.futures.ThreadPoolExecutor(arguments.at_once) as pool:
        guests = [pool.submit(check_guest, series, arguments, pathlib.Path(name), report)
                  for series in arguments.series if series != HOST]
        for guest in guests:
            guest.result()
    if report.instructions:
        print(*kernel_verifier.table(report.instructions), sep="\n")
    print(", ".join(f"{report.counts[word]} {word}{'ped' if word == 'skip' else 'ed'}" for word in WORDS))
    return 1 if report.counts["fail"] or not report.counts["pass"] else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
