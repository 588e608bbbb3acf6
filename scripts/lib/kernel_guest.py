# SPDX-License-Identifier: Apache-2.0
"""The first process of a guest that scripts/lib/kernels.py booted: checks Limpet on the guest's kernel. On the console a
line for each check, 'pass|fail|skip  NAME: DETAIL', and 'verified COMPILER PROGRAM COUNT'."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback

import kernel_verifier

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
E2E = TOP / "tests/e2e"
MODULES = pathlib.Path("/run/modules")
PATIENCE = "6"  # everything is so much slower under emulation than on a machine, and more at times
SECOND_TRIES = 2  # cases that get one, alone


class Failed(Exception):
    pass


def say(word, name, text):
    print(f"{word}  {name}: {text}", flush=True)


def run(*command, timeout=60):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def insert_modules(group):
    for name in (MODULES / f"{group}.order").read_text(encoding="utf-8").split():
        run("busybox", "insmod", MODULES / name)


# the checks: each returns a detail, or raises

def verifier(compiler):
    def check(arguments):
        try:
            counts = kernel_verifier.load(kernel_verifier.object_of(arguments.build, compiler))
        except kernel_verifier.Refused as reason:
            raise Failed(str(reason)) from None
        for program, count in counts.items():
            print(f"verified {compiler} {program} {count}", flush=True)
        if wrong := kernel_verifier.beyond(counts, kernel_verifier.budget(arguments.budget)):
            raise Failed("; ".join(wrong))
        return f"{len(counts)} programs load, within their budget"
    return check


def packet_tests(arguments):
    """tests/bpf under BPF_PROG_RUN."""
    program = arguments.build / "tests/bpf_tests"
    output = run(program, "--gtest_brief=1", timeout=300)
    return [line for line in output.splitlines() if line][-1]


def feature(arguments, name):
    listing = json.loads(run(arguments.limpet, "features", "--json"))
    return next(entry for entry in listing["features"] if entry["name"] == name)


def ktls_follows_its_module(arguments):
    """`limpet features` tells a kernel with kTLS from one without."""
    if feature(arguments, "ktls")["available"]:
        raise Failed("kTLS is said to be there before its module is")
    insert_modules("tls")
    after = feature(arguments, "ktls")
    if not after["available"]:
        raise Failed(f"the module is loaded, and kTLS is said to be missing: {after['detail']}")
    return "absent without its module, there with it"


def dispatcher_is_found(arguments):
    found = feature(arguments, "dispatcher")
    if not found["available"]:
        raise Failed(found["detail"])
    return found["detail"]


class Scenarios:
    """tests/e2e/run in the guest, its lines in our words. What failed beside others is tried once more, alone."""

    def __init__(self, arguments):
        self._command = [sys.executable, "-B", E2E / "run", "--limpet", arguments.limpet, "--mode", "xdp,tc"]
        if arguments.pattern:
            self._choice = [word for pattern in arguments.pattern for word in ("-k", pattern)]
        else:
            self._choice = ["--quick"] if arguments.all else ["--select", E2E / "kernels.txt"]
        self._jobs = arguments.jobs

    def check(self):
        failed = self._run("info", "--jobs", self._jobs, *self._choice)
        for number, name in enumerate(failed):
            if number < SECOND_TRIES and len(failed) <= SECOND_TRIES:
                self._run("fail", "--jobs", 1, "-k", name)
            else:
                say("fail", name, "see above")

    def _run(self, word_for_failed, *options):
        """Names of the cases that failed; `word_for_failed` says what that means now."""
        words = [str(word) for word in (*self._command, *options)]
        failed, seen = [], 0
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                              env={**os.environ, "LIMPET_PATIENCE": PATIENCE}) as process:
            for line in process.stdout:
                found = re.match(r"(passed|FAILED|skipped) +([\d.]+) s  (\S+) *(.*)", line)
                if not found:
                    print(line, end="", flush=True)
                    continue
                seen += 1
                outcome, seconds, name, reason = found.groups()
                if outcome == "FAILED":
                    failed.append(name)
                word = {"passed": "pass", "skipped": "skip", "FAILED": word_for_failed}[outcome]
                say(word, name, f"{outcome.lower()} after {float(seconds):.0f} s {reason}".rstrip())
        if process.returncode != 0 and not failed or not seen:
            say("fail", "scenarios", f"tests/e2e/run ended with status {process.returncode}")
        return failed


def one(name, check, arguments):
    begin = time.monotonic()
    try:
        word, detail = "pass", check(arguments)
    except (Failed, subprocess.TimeoutExpired) as reason:
        word, detail = "fail", str(reason)
    except Exception:  # pylint: disable=broad-exception-caught
        word, detail = "fail", traceback.format_exc()
    say(word, name, f"{detail} ({time.monotonic() - begin:.0f} s)")


CHECKS = {
    **{f"verifier-{compiler}": verifier(compiler) for compiler in kernel_verifier.COMPILERS},
    "packets": packet_tests,
    "ktls": ktls_follows_its_module,
    "dispatcher": dispatcher_is_found,
}


def prepare():
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["HOME"] = "/root"
    try:
        insert_modules("guest")
    except Failed as reason:
        say("fail", "modules", str(reason))  # what needs them is skipped then, which must not go unnoticed
    run("ip", "link", "set", "lo", "up")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--budget", type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-k", dest="pattern", action="append", default=[])
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    arguments.limpet = arguments.build / "limpet"
    prepare()
    print(f"\ninfo  kernel: {os.uname().release}, up after {time.clock_gettime(time.CLOCK_BOOTTIME):.0f} s", flush=True)
    chosen = arguments.only.split(",")
    for name, check in CHECKS.items():
        if any(part in name for part in chosen):
            one(name, check, arguments)
    if any(part in "scenarios" for part in chosen):
        Scenarios(arguments).check()
    print(f"info  kernel: done after {time.clock_gettime(time.CLOCK_BOOTTIME):.0f} s", flush=True)
    print("guest: done", flush=True)


if __name__ == "__main__":
    try:
        main()
    except BaseException:  # pylint: disable=broad-exception-caught
        traceback.print_exc()
    finally:
        time.sleep(1)  # the serial line's last bytes
        pathlib.Path("/proc/sysrq-trigger").write_text("o", encoding="utf-8")  # off
        time.sleep(60)
