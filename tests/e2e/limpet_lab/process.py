# SPDX-License-Identifier: Apache-2.0
"""Processes and resources of one laboratory: whatever was started or made is ended or removed, in reverse order."""
import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import threading
import time

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_held = {}

#: A factor on every time limit of the laboratory: 1 on a machine, several in a guest under emulation
#: (scripts/test-kernels). What must *not* happen is not waited for any longer.
PATIENCE = float(os.environ.get("LIMPET_PATIENCE", "1"))


def patient(seconds):
    """A time limit, stretched as this machine needs it."""
    return seconds * PATIENCE


class LabError(Exception):
    """Something that must hold does not, or could not be set up."""


class Missing(Exception):
    """A capability of the machine is missing; the scenario is skipped under this name."""


def run(*command, check=True, timeout=60, text_input=None):
    """Runs a command to its end and returns the CompletedProcess with text output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=patient(timeout),
                          input=text_input)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done


def _die_with_parent():
    """In a child: a laboratory that is killed takes its processes with it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(condition, seconds, what, step=0.02):
    """Polls until `condition()` is true and returns its value; LabError names what did not come."""
    deadline = time.monotonic() + patient(seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            shown = what() if callable(what) else what
            raise LabError(f"not within {patient(seconds):g} s: {shown}")
        time.sleep(patient(step))  # where a question takes long it is not asked as often


def one_at_a_time(subject, wait=True):
    """Takes what only one case may use at a time, until this process ends; False: somebody has it. Who has it may ask again."""
    if subject in _held:
        return True
    lock = open(f"/run/lock/limpet-lab-{subject}" if os.path.isdir("/run/lock") else f"/run/limpet-lab-{subject}", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        lock.close()
        return False
    _held[subject] = lock
    return True


@contextlib.contextmanager
def inside(namespace):
    """The calling thread (and threads that it starts) makes its sockets in this network namespace."""
    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _setns(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(there)
        os.close(home)


def _setns(descriptor):
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "setns")


class Process:
    """One process that a laboratory started; output goes to a file."""

    def __init__(self, command, output, namespace=None, stdin=subprocess.DEVNULL, limits=None, network_only=False):
        words = [str(word) for word in command]
        if limits:
            words = ["prlimit", *limits, "--", *words]
        if namespace and network_only:  # /sys stays the machine's, with its BPF file system
            words = ["nsenter", f"--net=/run/netns/{namespace}", *words]
        elif namespace:
            words = ["ip", "netns", "exec", namespace, *words]  # all exec, so the pid stays ours
        self.command = " ".join(words)
        self.output = output
        with open(output, "ab") as file:
            self.popen = subprocess.Popen(words, stdin=stdin, stdout=file, stderr=subprocess.STDOUT,
                                          preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    def log(self):
        with open(self.output, errors="replace") as file:
            return file.read()

    def signal(self, number):
        if self.running:
            self.popen.send_signal(number)

    def wait(self, seconds):
        """The exit status; LabError if it does not end in time."""
        try:
            return self.popen.wait(patient(seconds))
        except subprocess.TimeoutExpired:
            raise LabError(f"did not end within {seconds:g} s: {self.command}") from None

    def end(self, seconds=5):
        """SIGTERM, and SIGKILL for one that does not listen."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(patient(seconds))
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdin:
            self.popen.stdin.close()


class Resources(contextlib.ExitStack):
    """An ExitStack that goes on when one of its steps fails; what failed is kept in `trouble`."""

    def __init__(self):
        super().__init__()
        self.trouble = []

    def on_exit(self, step, *arguments):
        def guarded():
            try:
                step(*arguments)
            except Exception as error:  # cleaning goes on whatever one step says
                self.trouble.append(f"{getattr(step, '__name__', step)}: {error}")
        self.callback(guarded)

    def start(self, command, output, **options):
        process = Process(command, output, **options)
        self.on_exit(process.end)
        return process
