"""What /proc shows of a process: it may say anew where its words and its environment are, as a restored one does."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PR_SET_MM, PR_SET_MM_MAP, PR_SET_MM_MAP_SIZE = 35, 14, 15
NONE = 0xFFFFFFFF


class Map(ctypes.Structure):
    """struct prctl_mm_map of linux/prctl.h."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in (
            "start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack",
            "arg_start", "arg_end", "env_start", "env_end", "auxv",
        )),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    ]  # fmt: skip


_libc = ctypes.CDLL(None, use_errno=True)
_libc.sbrk.restype = ctypes.c_void_p
_kept: list[object] = []  # the memory that the kernel reads from


@cache
def can_be_told() -> bool:
    """Whether this kernel has the call (CONFIG_CHECKPOINT_RESTORE)."""
    size = ctypes.c_uint(0)
    done = _libc.prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, ctypes.byref(size), 0, 0)
    return done == 0 and size.value == ctypes.sizeof(Map)


def tell(words: Sequence[str], env: Mapping[str, str]) -> None:
    """Lets /proc/self/cmdline and /proc/self/environ be those. Raises OSError."""
    args = b"".join(os.fsencode(word) + b"\0" for word in words)
    pairs = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in env.items())
    memory = ctypes.create_string_buffer(args + pairs, len(args) + len(pairs) + 1)
    _kept[:] = [memory]
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin = ctypes.addressof(memory)
    told = Map(
        start_code=int(fields[23]), end_code=int(fields[24]), start_stack=int(fields[25]),
        start_data=int(fields[42]), end_data=int(fields[43]), start_brk=int(fields[44]),
        arg_start=begin, arg_end=begin + len(args), env_start=begin + len(args), env_end=begin + len(args) + len(pairs),
        exe_fd=NONE,
    )  # fmt: skip
    told.brk = _libc.sbrk(0)
    if _libc.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.byref(told), ctypes.sizeof(told), 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
