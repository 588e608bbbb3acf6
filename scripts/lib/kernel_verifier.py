# SPDX-License-Identifier: Apache-2.0
"""The BPF object, as each compiler made it, under the verifier of the kernel that runs here: does it load, and how many
instructions did the verifier look at? tests/bpf/verifier-budget.toml says how many it may be."""
import contextlib
import ctypes
import os
import pathlib
import subprocess
import tempfile
import tomllib

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
BUDGET = TOP / "tests/bpf/verifier-budget.toml"
COMPILERS = ("clang-14", "clang-16", "clang-19")
_SYS_BPF, _BPF_OBJ_GET = 321, 7  # x86-64


class Refused(Exception):
    """The object does not load; the text is the end of what the verifier said."""


def object_of(build, compiler):
    """Where the target bpf_matrix leaves the object."""
    return build / "bpf" / compiler / "limpet.bpf.o"


@contextlib.contextmanager
def _bpf_file_system():
    with tempfile.TemporaryDirectory(prefix="limpet-verifier-") as folder:
        subprocess.run(["mount", "-t", "bpf", "limpet-verifier", folder], check=True)
        try:
            yield pathlib.Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def _verified_instructions(pin):
    """What the verifier counted for a pinned program; kernels since 5.16 tell in its descriptor's fdinfo."""
    path = ctypes.create_string_buffer(os.fsencode(pin))
    attributes = (ctypes.c_uint64 * 16)(ctypes.addressof(path))
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(_SYS_BPF, _BPF_OBJ_GET, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if descriptor < 0:
        raise Refused(f"opening {pin}: {os.strerror(ctypes.get_errno())}")
    try:
        lines = pathlib.Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="utf-8").splitlines()
    finally:
        os.close(descriptor)
    return next((int(line.split(":")[1]) for line in lines if line.startswith("verified_insns")), 0)


def load(source):
    """{program: verified instructions} of an object file; Refused where a program does not load."""
    with _bpf_file_system() as folder:
        done = subprocess.run(["bpftool", "prog", "loadall", source, folder / "programs"], text=True,
                              capture_output=True, timeout=600, check=False)
        if done.returncode != 0:
            raise Refused((done.stdout + done.stderr)[-6000:])
        return {pin.name: _verified_instructions(pin) for pin in sorted((folder / "programs").iterdir())}


def budget(path=BUDGET):
    """{program: verified instructions that it may cost}."""
    with open(path, "rb") as file:
        return tomllib.load(file)["verified_instructions"]


def beyond(counts, allowed):
    """What is wrong with the counts, a sentence for each program."""
    wrong = [f"{name}: {count:,} verified instructions, {allowed[name]:,} allowed"
             for name, count in counts.items() if name in allowed and count > allowed[name]]
    wrong += [f"{name} has no budget in {BUDGET.relative_to(TOP)}" for name in counts if name not in allowed]
    return wrong + [f"{name} has a budget and does not exist" for name in allowed if name not in counts]


def table(counts):
    """Lines of a table: programs down, (kernel, compiler) across; `counts` is {(kernel, compiler, program): count}."""
    columns = list(dict.fromkeys((kernel, compiler) for kernel, compiler, _ in counts))
    programs = sorted({program for _, _, program in counts})
    heads = [f"{kernel}/{compiler.removeprefix('clang-')}" for kernel, compiler in columns]
    widths = [max(len(head), 9) for head in heads]
    yield " ".join([f"{'verified instructions':22}", *(f"{head:>{width}}" for head, width in zip(heads, widths))])
    for program in programs:
        cells = [counts.get((*column, program)) for column in columns]
        shown = ["-" if cell is None else f"{cell:,}" for cell in cells]
        yield " ".join([f"{program:22}", *(f"{cell:>{width}}" for cell, width in zip(shown, widths))])
