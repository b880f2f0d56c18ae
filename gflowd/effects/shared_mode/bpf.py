"""The few calls of bpf(2) that a filter of devices needs, by ctypes. Every one raises OSError."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

LOAD, PIN, GET, ATTACH, DETACH, BY_ID, ABOUT, QUERY = 5, 6, 7, 8, 9, 13, 15, 16
CGROUP_DEVICE_PROGRAM, CGROUP_DEVICE = 15, 6
ALLOW_MULTI = 2
MOST = 64  # programs of a control group, at most
CALLS = {
    "x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351, "i686": 357,
    "armv7l": 386,
}  # fmt: skip
_SIZE = 144  # of an attribute, filled up with zeros, as every kernel takes it
_ABOUT = struct.Struct("=II8s48x16s")  # of struct bpf_prog_info: type, id, tag, ..., name


def load(instructions: bytes, name: str) -> int:
    """A descriptor of a program, which the kernel has checked."""
    code, licence = (ctypes.create_string_buffer(data, len(data)) for data in (instructions, b"GPL\0"))
    addresses = ctypes.addressof(code), ctypes.addressof(licence)
    head = struct.pack("=IIQQIIQII", CGROUP_DEVICE_PROGRAM, len(instructions) // 8, *addresses, 0, 0, 0, 0, 0)
    return _bpf(LOAD, head + name.encode())


def attach(group: int, program: int) -> None:
    """Puts a program on a group, beside those that are on it. Raises EINVAL if it is on it already."""
    _bpf(ATTACH, struct.pack("=IIII", group, program, CGROUP_DEVICE, ALLOW_MULTI))


def detach(group: int, program: int) -> None:
    """Takes one off."""
    _bpf(DETACH, struct.pack("=IIII", group, program, CGROUP_DEVICE, 0))


def attached(group: int) -> list[int]:
    """The ids of the programs on a group itself."""
    ids = (ctypes.c_uint32 * MOST)()
    _, said = _ask(QUERY, struct.pack("=IIIIQI", group, CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), MOST))
    (found,) = struct.unpack_from("=I", said, 24)
    return list(ids[:found])


def pin(program: int, path: str) -> None:
    """Gives a program a name in a file system of type bpf, which keeps it."""
    _bpf(PIN, *_named(path, program))


def pinned(path: str) -> int:
    """A descriptor of the program of that name."""
    return _bpf(GET, *_named(path, 0))


def by_id(program_id: int) -> int:
    """A descriptor of the program with that id; for CAP_SYS_ADMIN alone."""
    return _bpf(BY_ID, struct.pack("=I", program_id))


def about(program: int) -> tuple[int, str]:
    """The id and the name of a program."""
    info = ctypes.create_string_buffer(_ABOUT.size)
    _bpf(ABOUT, struct.pack("=IIQ", program, _ABOUT.size, ctypes.addressof(info)), info)
    _kind, program_id, _tag, name = _ABOUT.unpack(info.raw)
    return program_id, name.partition(b"\0")[0].decode(errors="replace")


def _named(path: str, program: int) -> tuple[bytes, object]:
    name = ctypes.create_string_buffer(os.fsencode(path))
    return struct.pack("=QI", ctypes.addressof(name), program), name


def _bpf(command: int, head: bytes, *_alive: object) -> int:
    """What the call returns; `_alive` is what `head` has the addresses of."""
    return _ask(command, head)[0]


def _ask(command: int, head: bytes) -> tuple[int, bytes]:
    """What the call returns, and what it has made of its argument."""
    number = CALLS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known on {platform.machine()}")
    argument = ctypes.create_string_buffer(head, _SIZE)
    result = ctypes.CDLL(None, use_errno=True).syscall(number, command, argument, _SIZE)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, argument.raw
