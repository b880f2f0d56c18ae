"""Which device files a job may open, decided by the program itself in a small machine that knows its instructions."""

from __future__ import annotations

import struct

import pytest

from gflowd.core.gpu import device_access, device_program
from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.device_access import Family, Files, Rule, UnknownFile, of_logins, rule

BLOCK, CHARACTER = 1, 2
MIG = Files(195, 236, {(0, 3, None): 30, (0, 3, 0): 31, (0, 4, None): 39, (0, 4, 0): 40}, 2)


def gpu(minor: int | None, instance: tuple[int, int] | None = None) -> Gpu:
    return Gpu(index=7, uuid=f"GPU-{minor}-{instance}", model="X", memory_mb=1, minor=minor, instance=instance)


def may(rule: Rule, major: int, minor: int, *, kind: int = CHARACTER, uid: int = 1000, access: int = 6) -> bool:
    """What the kernel would do with the program, by linux/bpf.h."""
    code = device_program.instructions(rule)
    context = {0: access << 16 | kind, 4: major, 8: minor}
    registers = {1: -1}
    at = 0
    while True:
        op, both, offset, value = struct.unpack_from("<BBhi", code, 8 * at)
        target, source = both & 15, both >> 4
        at += 1
        match op:
            case 0x61:
                assert registers[source] == -1, "only the context is read"
                registers[target] = context[offset]
            case 0x57:
                registers[target] &= value
            case 0xBF:
                registers[target] = registers[source]
            case 0xBC:
                registers[target] = registers[source] & 0xFFFFFFFF
            case 0xB7:
                registers[target] = value
            case 0x85:
                assert value == device_program.GET_CURRENT_UID_GID
                registers = {0: 77 << 32 | uid, 6: registers[6]}
            case 0x95:
                assert at * 8 == len(code) or registers[0] == 0
                return bool(registers[0])
            case 0x15 | 0x55 | 0x35:
                jumps = {0x15: registers[target] == value, 0x55: registers[target] != value}
                at += offset * jumps.get(op, registers[target] >= value)
            case _:
                raise AssertionError(op)


def opened(rule: Rule, major: int = 195, **how: int) -> list[int]:
    return [minor for minor in (0, 1, 2, 30, 31, 39, 40, 253, 254, 255) if may(rule, major, minor, **how)]


def test_a_job_opens_its_own_gpus_and_what_controls_them_all() -> None:
    assert opened(rule([], Files(195))) == [254, 255]
    assert opened(rule([gpu(1)], Files(195))) == [1, 254, 255]
    assert opened(rule([gpu(2), gpu(0)], Files(195))) == [0, 2, 254, 255]
    assert opened(rule([gpu(1)], Files(195)), access=1) == [1, 254, 255], "nor makes one for itself"
    assert opened(rule([gpu(1)], Files(240)), 240) == [1, 254, 255]


def test_nothing_else_is_closed() -> None:
    none = rule([], MIG)
    assert may(none, 1, 3)
    assert may(none, 195, 0, kind=BLOCK)
    assert may(none, 511, 0), "nvidia-uvm has no GPU of its own"


def test_a_mig_device_takes_the_file_of_its_gpu_and_those_of_its_instances() -> None:
    part = rule([gpu(0, (3, 0))], MIG)
    assert opened(part) == [0, 254, 255]
    assert opened(part, 236) == [2, 30, 31], "and one may watch"
    assert opened(rule([gpu(1)], MIG), 236) == [2]
    assert opened(rule([], Files(195, 236)), 236) == []


def test_root_is_spared_where_logins_are_shut_out_by_whichever_way_it_comes() -> None:
    shut = of_logins(MIG)
    assert opened(shut) == [254, 255]
    assert opened(shut, uid=0) == opened(Rule(())), "all"
    assert opened(rule([], MIG), uid=0) == [254, 255], "not in a job"


def test_a_gpu_whose_file_is_unknown_has_no_rule() -> None:
    for unknown in (gpu(None), gpu(0, (5, 0)), gpu(0, (3, 1))):
        with pytest.raises(UnknownFile, match=r"the driver does not tell the device files? of .*7"):
            rule([unknown], MIG)


def test_a_program_is_called_by_whose_it_is_and_what_is_in_it() -> None:
    one, other = rule([gpu(0)], MIG), rule([gpu(1)], MIG)
    names = {device_program.name(owner, each) for owner in ("/a", "/b") for each in (one, other, of_logins(MIG))}
    assert len(names) == 6
    assert all(len(name) == 15 for name in names)
    same = Rule((Family(195, (0,), 254), Family(236, (2,))))
    assert device_program.name("/a", one) == device_program.name("/a", same)
    assert device_program.name("/a", one).startswith(device_program.prefix("/a"))
    assert (device_access.OFF, device_access.JOBS, device_access.EVERYONE) == ("off", "jobs", "everyone")
