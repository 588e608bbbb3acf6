# SPDX-License-Identifier: Apache-2.0
"""A few calls of bpf(2), for what no tool of the laboratory does: foreign pins and maps of another version."""
import ctypes
import os

_SYSCALL = 321  # bpf(2), x86-64
_MAP_CREATE, _LOOKUP, _UPDATE, _PIN, _GET = 0, 1, 2, 6, 7
_HASH = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, *words):
    """`words` are the attribute's 32-bit words; an address or a long takes two."""
    attribute = (ctypes.c_uint32 * 32)(*words)
    result = _libc.syscall(_SYSCALL, command, ctypes.byref(attribute), ctypes.sizeof(attribute))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _halves(address):
    return address & 0xffffffff, address >> 32


def _path(path):
    return ctypes.create_string_buffer(os.fsencode(path))


def pin_foreign_map(path):
    """A hash map that is nobody's, pinned at `path`."""
    descriptor = _bpf(_MAP_CREATE, _HASH, 4, 4, 1)
    try:
        name = _path(path)
        _bpf(_PIN, *_halves(ctypes.addressof(name)), descriptor)
    finally:
        os.close(descriptor)


def change_word(path, size, offset, value):
    """Writes a 32-bit word of the only element of a pinned array; returns what was there."""
    name = _path(path)
    descriptor = _bpf(_GET, *_halves(ctypes.addressof(name)))
    try:
        key = ctypes.c_uint32(0)
        element = (ctypes.c_uint8 * size)()
        where = (descriptor, 0, *_halves(ctypes.addressof(key)), *_halves(ctypes.addressof(element)))
        _bpf(_LOOKUP, *where)
        before = int.from_bytes(bytes(element[offset:offset + 4]), "little")
        element[offset:offset + 4] = value.to_bytes(4, "little")
        _bpf(_UPDATE, *where)
        return before
    finally:
        os.close(descriptor)
