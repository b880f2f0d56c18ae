"""A rule of device access as a program for the kernel: BPF of the type that decides for a control group whether its
processes may open a device (linux/bpf.h, struct bpf_cgroup_dev_ctx). It returns 1 for yes and 0 for no (EPERM).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gflowd.core.gpu.device_access import Rule

CHARACTER = 2  # BPF_DEVCG_DEV_CHAR
ACCESS_TYPE, MAJOR, MINOR = 0, 4, 8  # where the context has them
GET_CURRENT_UID_GID = 15  # the helper; the lower half is the real user
LOAD, AND, MOVE, MOVE_32, MOVE_IMMEDIATE, CALL, EXIT = 0x61, 0x57, 0xBF, 0xBC, 0xB7, 0x85, 0x95
EQUAL, NOT_EQUAL, AT_LEAST = 0x15, 0x55, 0x35
_INSTRUCTION = struct.Struct("<BBhi")


def instructions(rule: Rule) -> bytes:
    """The program."""
    rows: list[tuple[int, int, int, str, int]] = [(MOVE, 6, 1, "", 0)]  # a call takes registers 0 to 5
    labels: dict[str, int] = {}
    if rule.spares_root:
        rows += [(CALL, 0, 0, "", GET_CURRENT_UID_GID), (MOVE_32, 0, 0, "", 0), (EQUAL, 0, 0, "allow", 0)]
    rows += [(LOAD, 2, 6, "", ACCESS_TYPE), (AND, 2, 0, "", 0xFFFF), (NOT_EQUAL, 2, 0, "allow", CHARACTER)]
    rows += [(LOAD, 3, 6, "", MAJOR), (LOAD, 4, 6, "", MINOR)]
    for family in rule.families:
        after = f"after {family.major}"
        rows += [(NOT_EQUAL, 3, 0, after, family.major), (AT_LEAST, 4, 0, "allow", family.control)]
        rows += [(EQUAL, 4, 0, "allow", minor) for minor in family.minors]
        rows += [(MOVE_IMMEDIATE, 0, 0, "", 0), (EXIT, 0, 0, "", 0)]
        labels[after] = len(rows)
    labels["allow"] = len(rows)
    rows += [(MOVE_IMMEDIATE, 0, 0, "", 1), (EXIT, 0, 0, "", 0)]
    return b"".join(_assembled(at, row, labels) for at, row in enumerate(rows))


def name(owner: str, rule: Rule) -> str:
    """What the program is called, in the 15 bytes it may have: equal names are equal rules of one owner."""
    return f"{prefix(owner)}{zlib.crc32(instructions(rule)):08x}"


def prefix(owner: str) -> str:
    """How the names of all programs of one owner begin."""
    return f"gf{zlib.crc32(owner.encode(errors='surrogateescape')) & 0xFFFF:04x}_"


def _assembled(at: int, row: tuple[int, int, int, str, int], labels: dict[str, int]) -> bytes:
    code, target, source, label, value = row
    offset = labels[label] - at - 1 if label else 0
    if code == LOAD:
        offset, value = value, 0
    return _INSTRUCTION.pack(code, target | source << 4, offset, value)
