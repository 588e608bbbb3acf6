# SPDX-License-Identifier: Apache-2.0
"""The load generators of tests/e2e/load and their BPF programs: built when their source is newer, driven by lines of
JSON."""
import contextlib
import json
import pathlib
import queue
import subprocess
import threading

from .process import LabError, patient, run

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "load"
_INCLUDE = SOURCES.parents[2] / "include"
_FLAGS = ["-std=c++23", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wsign-conversion", "-Werror",
          "-I", _INCLUDE]
_WITH_BPF = ("disorder", "entries")


def build(folder, *programs):
    """Compiles what is not up to date in `folder`, these programs or all; called once, before scenarios run beside each
    other."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    headers = max(header.stat().st_mtime for place in (SOURCES, _INCLUDE / "limpet") for header in place.glob("*.h"))
    triplet = run("g++", "-print-multiarch").stdout.strip()
    for source in (SOURCES / f"{program}.cpp" for program in programs) if programs else SOURCES.glob("*.c*"):
        if source.suffix == ".cpp":
            product = folder / source.stem
            command = ["g++", *_FLAGS, source, "-o", product, *(["-lbpf"] if source.stem in _WITH_BPF else [])]
        else:  # NAME.bpf.c
            product = folder / source.name.replace(".bpf.c", ".o")
            command = ["clang-19", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror", "-I",
                       f"/usr/include/{triplet}", "-c", source, "-o", product]
        if not product.exists() or product.stat().st_mtime < max(headers, source.stat().st_mtime):
            run(*command, timeout=300)


class Generator:
    """A load generator in a namespace, told what to do on its standard input."""

    def __init__(self, lab, where, program, *arguments):
        self.name = program
        words = ["ip", "netns", "exec", getattr(lab.topology, where), str(lab.binary.parent / "e2e" / program),
                 *map(str, arguments)]
        self._popen = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True)
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        lab.resources.on_exit(self.kill)

    def _read(self):
        with contextlib.suppress(ValueError):  # a line that was not finished when the process was killed
            for line in self._popen.stdout:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def result(self, seconds):
        """The next line that it prints."""
        try:
            line = self._lines.get(timeout=patient(seconds))
        except queue.Empty:
            raise LabError(f"{self.name}: no result within {seconds} s") from None
        if line is None:
            raise LabError(f"{self.name} ended: {self._popen.stderr.read().strip()}")
        return line

    def poll(self):
        """The next line that it prints, or None if there is none yet."""
        try:
            line = self._lines.get_nowait()
        except queue.Empty:
            return None
        if line is None:
            raise LabError(f"{self.name} ended: {self._popen.stderr.read().strip()}")
        return line

    def tell(self, command, seconds=60):
        with contextlib.suppress(BrokenPipeError):  # it has ended; result() says how
            self._popen.stdin.write(command + "\n")
            self._popen.stdin.flush()
        return self.result(seconds)

    def finish(self, seconds=60):
        """Ends its input; for those whose last word comes at the end, that word."""
        self._popen.stdin.close()
        return self.result(seconds)

    def kill(self):
        """SIGKILL, if it still runs; afterwards there is nothing more to hear from it."""
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            with contextlib.suppress(OSError):  # what was not written yet has no reader any more
                pipe.close()


def mass(lab, count, targets, prefix, **options):
    """`count` MQTT clients that connect to `targets` (ADDR:PORT) and stay."""
    arguments = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
    return Generator(lab, "clients", "mass", "--count", count, "--connect", ",".join(targets), "--prefix", prefix,
                     *arguments)
