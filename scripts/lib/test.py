# SPDX-License-Identifier: Apache-2.0
"""Runs every check of Limpet in turn and sums them up; the last line is 'N passed, N failed, N skipped'."""
import argparse
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SCRIPTS = TOP / "scripts"
JOBS = str(os.cpu_count() or 1)


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def one(good):
    return Count(passed=1) if good else Count(failed=1)


def run(*command, environment=None, show=False, timeout=3600):
    """Runs a command in a process group of its own; (exit status, output). A failure's output is shown."""
    process = subprocess.Popen([str(word) for word in command], cwd=TOP, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                               env={**os.environ, **(environment or {})})
    lines = []
    deadline = time.monotonic() + timeout
    try:
        for line in process.stdout:
            lines.append(line)
            if show:
                print(line, end="", flush=True)
            if time.monotonic() > deadline:
                raise TimeoutError
        process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)  # a group that we made; scenarios clean up behind themselves
        process.wait()
        raise
    output = "".join(lines)
    if process.returncode != 0 and not show:
        print(output[-8000:], flush=True)
    return process.returncode, output


def tracked_sources():
    """The C and C++ files of the tree; git does not trust a tree of another user unless it is told to."""
    listing = subprocess.run(["git", "-c", f"safe.directory={TOP}", "ls-files", "*.h", "*.c", "*.cpp"], cwd=TOP,
                             capture_output=True, text=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        return listing.stdout.split()
    return [str(path.relative_to(TOP)) for folder in ("bpf", "include", "userspace", "tests")
            for path in (TOP / folder).rglob("*") if path.suffix in (".h", ".c", ".cpp")]


# the sections

def build(preset, *targets):
    status, _ = run(SCRIPTS / "build", preset, *targets, show=True)
    return one(status == 0)


def demonstration(_):
    """README's first command, before anything else has built what it may need."""
    return one(run(SCRIPTS / "demo")[0] == 0)


def rooms(_):
    return one(run(SCRIPTS / "check-rooms", "--self-test")[0] == 0) + one(run(SCRIPTS / "check-rooms")[0] == 0)


def documented(_):
    """Every counter has its place in the documentation."""
    names = re.findall(r'^    X\([A-Z_0-9]+, "([^"]+)"', (TOP / "include/limpet/reason.h").read_text(), re.MULTILINE)
    page = (TOP / "docs/COUNTERS.md").read_text()
    missing = [name for name in names if name != "none" and f"| `{name}` |" not in page]
    if missing or not names:
        print(f"docs/COUNTERS.md lacks {', '.join(missing) or 'everything'}", flush=True)
    return one(bool(names) and not missing)


def formatting(_):
    return one(run("clang-format-19", "--dry-run", "-Werror", *tracked_sources())[0] == 0)


def gtest(preset, pattern, names):
    """GoogleTest programs through ctest, side by side; cases are counted from the reports that they write."""
    with tempfile.TemporaryDirectory(prefix="limpet-gtest-") as folder:
        environment = {"GTEST_OUTPUT": f"json:{folder}/", "ASAN_OPTIONS": "detect_leaks=1",
                       "UBSAN_OPTIONS": "print_stacktrace=1"}
        if pattern:
            environment["GTEST_FILTER"] = f"*{pattern}*"
        status, output = run("ctest", "--test-dir", f"build/{preset}", "-j", JOBS, "-R", names, "--output-on-failure",
                             "--no-tests=error", "--timeout", "600", environment=environment)
        total = Count()
        for path in pathlib.Path(folder).glob("*.json"):
            total += gtest_report(json.loads(path.read_text()))
    broken = len(re.findall(r"\*\*\*(?!Failed)", output))  # crashed or timed out: no report
    if status != 0 and total.failed == 0:
        broken = max(broken, 1)
    return total + Count(failed=broken)


def gtest_report(report):
    total = Count()
    for suite in report.get("testsuites", []):
        for case in suite.get("testsuite", []):
            if case.get("status") == "NOTRUN":
                continue
            if case.get("result") == "SKIPPED":
                print(f"skipped: {suite['name']}.{case['name']}")
                total += Count(skipped=1)
            else:
                total += one("failures" not in case)
    return total


def unit_tests(arguments):
    return gtest("release", arguments.pattern, "^ut_")


def packet_tests(arguments):
    return gtest("release", arguments.pattern, "^bpf_tests$")


def models(_):
    """The protocol of the handoff, in every order of its steps; and that rules which are left out are noticed."""
    _, output = run(TOP / "tests/model/run", show=True)
    return last_count(output)


def end_to_end(arguments):
    command = [TOP / "tests/e2e/run"]
    if arguments.pattern:
        command += ["-k", arguments.pattern]
    if arguments.quick:
        command += ["--quick"]
    _, output = run(*command, show=True)
    return alone(output, last_count(output))


def parity(arguments):
    """The parity matrix, and that it contains what it promises; it measures, so it wants the machine to itself."""
    total = one(run(TOP / "tests/e2e/matrix", "--self-test")[0] == 0)
    if arguments.quick or arguments.pattern:
        return total
    _, output = run(TOP / "tests/e2e/matrix", show=True)
    return total + last_count(output)


def alone(output, count):
    """Scenarios run side by side on whatever machine this is. A few that failed get a second try with the machine to
    themselves, which is said by name; what fails again has failed."""
    found = re.search(r"^failed:\n((?:    .+\n)+)", output, re.MULTILINE)
    names = found.group(1).split() if found else []
    if len(names) != count.failed or not 0 < count.failed <= 3:
        return count
    for name in names:
        print(f"again, alone: {name}", flush=True)
        _, output = run(TOP / "tests/e2e/run", "-k", name, "--jobs", "1", show=True)
        if last_count(output) == Count(passed=1):
            count += Count(passed=1, failed=-1)
    return count


def last_count(output):
    if "e2e: no case has such a name" in output:  # -k meant a unit test
        return Count()
    found = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", output, re.MULTILINE)
    return Count(*map(int, found.groups())) if found else Count(failed=1)


def fuzzers(arguments):
    """A short run of every fuzzer over its corpus and what it finds itself."""
    names = sorted(f"fuzz_{source.stem}" for source in (TOP / "tests/fuzz").glob("*.cpp"))
    total = build("sanitize", *names)  # and not the rest of the tree with it
    if total.failed:
        return total
    for program in (TOP / "build/sanitize/tests" / name for name in names):
        with tempfile.TemporaryDirectory(prefix="limpet-corpus-") as fresh:
            corpus = TOP / "tests/fuzz/corpus" / program.name.removeprefix("fuzz_")
            seconds = 5 if arguments.quick else 20
            status, _ = run(program, fresh, *([corpus] if corpus.is_dir() else []), f"-max_total_time={seconds}",
                            "-timeout=5", "-rss_limit_mb=1024", f"-artifact_prefix={fresh}/")
        total += one(status == 0)
    return total


def sanitized(arguments):
    total = build("sanitize")
    return total if total.failed else total + gtest("sanitize", arguments.pattern, "^(ut_|bpf_tests)")


def kernels(arguments):
    """The BPF object of three compilers under the verifier of this kernel, 6.1 and 6.12, and scenarios in the latter two,
    under qemu; with --quick the kernel that runs here alone. Kernels that cannot be downloaded are skipped, by name."""
    _, output = run(SCRIPTS / "test-kernels", *(["host"] if arguments.quick else []), show=True)
    return last_count(output)


SECTIONS = [
    ("build", lambda _: build("release")),
    ("demo", demonstration),
    ("rooms", rooms),
    ("docs", documented),
    ("format", formatting),
    ("unit", unit_tests),
    ("bpf", packet_tests),
    ("model", models),
    ("e2e", end_to_end),
    ("parity", parity),
    ("fuzz", fuzzers),
    ("sanitize", sanitized),
    ("kernels", kernels),
]


def parse():
    names = ", ".join(name for name, _ in SECTIONS)
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what needs the machine for itself or long")
    parser.add_argument("-k", dest="pattern", default="", help="only tests and scenarios whose name contains this")
    parser.add_argument("--only", default="", metavar="SECTIONS", help=f"of {names}, separated by commas")
    arguments = parser.parse_args()
    arguments.only = set(filter(None, arguments.only.split(",")))
    if unknown := arguments.only - {name for name, _ in SECTIONS}:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if arguments.pattern and not arguments.only:
        arguments.only = {"build", "unit", "bpf", "e2e"}
    return arguments


def main():
    arguments = parse()
    total = Count()
    times = []
    for name, section in SECTIONS:
        if arguments.only and name not in arguments.only:
            continue
        print(f"== {name}", flush=True)
        begin = time.monotonic()
        count = section(arguments)
        took = time.monotonic() - begin
        times.append((name, took, count))
        print(f"== {name}: {count}, {took:.0f} s", flush=True)
        total += count
        if name == "build" and count.failed:
            break
    print()
    for name, took, count in times:
        print(f"{name:10}{took:6.0f} s  {count}")
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
