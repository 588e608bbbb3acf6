# SPDX-License-Identifier: Apache-2.0
"""The load generators of tests/e2e/load: built when their source is newer, driven by lines of JSON."""
import json
import pathlib
import queue
import subprocess
import threading

from .process import LabError, run

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "load"
_FLAGS = ["-std=c++23", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Werror"]


def build(folder):
    """Compiles what is not up to date in `folder`; called once, before scenarios run beside each other."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    headers = max(header.stat().st_mtime for header in SOURCES.glob("*.h"))
    for source in SOURCES.glob("*.cpp"):
        program = folder / source.stem
        newest = max(headers, source.stat().st_mtime)
        if not program.exists() or program.stat().st_mtime < newest:
            run("g++", *_FLAGS, source, "-o", program, timeout=300)


class Generator:
    """A load generator in a namespace, told what to do on its standard input."""

    def __init__(self, lab, where, program, *arguments):
        self.name = program
        words = ["ip", "netns", "exec", getattr(lab.topology, where), str(lab.binary.parent / "e2e" / program),
                 *map(str, arguments)]
        self._popen = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True)
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        lab.resources.on_exit(self.kill)

    def _read(self):
        for line in self._popen.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def result(self, seconds):
        """The next line that it prints."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise LabError(f"{self.name}: no result within {seconds} s") from None
        if line is None:
            raise LabError(f"{self.name} ended: {self._popen.stderr.read().strip()}")
        return line

    def tell(self, command, seconds=60):
        self._popen.stdin.write(command + "\n")
        self._popen.stdin.flush()
        return self.result(seconds)

    def finish(self, seconds=60):
        """Ends its input; for those whose last word comes at the end, that word."""
        self._popen.stdin.close()
        return self.result(seconds)

    def kill(self):
        self._popen.kill()
        self._popen.wait()


def mass(lab, count, targets, prefix, **options):
    """`count` MQTT clients that connect to `targets` (ADDR:PORT) and stay."""
    arguments = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    return Generator(lab, "clients", "mass", "--count", count, "--connect", ",".join(targets), "--prefix", prefix,
                     *arguments)
