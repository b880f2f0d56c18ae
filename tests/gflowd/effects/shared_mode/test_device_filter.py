"""A real kernel's filters, on device files of the major for odds and ends that stand for GPUs: only for root."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest
from support.groups import WHY_NO_FILTER, inside

from gflowd.core.gpu import device_program
from gflowd.core.gpu.device_access import Family, Rule
from gflowd.effects.shared_mode import bpf, device_filter
from gflowd.effects.shared_mode.device_filter import DeviceFilter

MISC = 10
FUSE, LOOP = 229, 237  # /dev/fuse, /dev/loop-control: opening them does nothing
NONE, FIRST, BOTH = (Rule((Family(MISC, minors),)) for minors in ((), (FUSE,), (FUSE, LOOP)))


pytestmark = pytest.mark.skipif(WHY_NO_FILTER is not None, reason=str(WHY_NO_FILTER))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two "GPUs" that everybody may open, as far as their modes go."""
    made = []
    for minor in (FUSE, LOOP):
        path = str(tmp_path / str(minor))
        os.mknod(path, 0o020666, os.makedev(MISC, minor))
        made.append(path)
    try:
        os.close(os.open(made[0], os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no device to try on: {error}")
    return made


def tried(paths: list[str]) -> str:
    """`y` for each that can be opened, `n` for what the kernel refuses."""
    said = ""
    for path in [*paths, "/dev/null"]:
        try:
            os.close(os.open(path, os.O_RDONLY))
            said += "y"
        except PermissionError:
            said += "n"
    return said


def test_a_group_opens_what_its_rule_says_and_the_last_rule_holds(group: str, files: list[str]) -> None:
    filters = DeviceFilter("/state")
    with contextlib.closing(filters):
        assert filters.put(group, NONE)
        assert inside(group, lambda: tried(files)) == "nny"
        assert tried(files) == "yyy", "it holds for the group alone"
        assert filters.put(group, FIRST)
        assert not filters.put(group, FIRST)
        assert inside(group, lambda: tried(files)) == "yny"
        os.mkdir(f"{group}/inner")
        assert inside(f"{group}/inner", lambda: tried(files)) == "yny", "there is no way out downwards"
        filters.put(f"{group}/inner", BOTH)
        assert inside(f"{group}/inner", lambda: tried(files)) == "yny", "nor by a filter of one's own"
        filters.take_off(group)
        assert inside(group, lambda: tried(files)) == "yyy"


def test_putting_it_again_after_a_restart_adds_nothing(group: str, files: list[str]) -> None:
    for _ in range(70):  # the kernel takes 64
        with contextlib.closing(DeviceFilter("/state")) as filters:
            filters.put(group, FIRST)
    with contextlib.closing(DeviceFilter("/other")) as other, contextlib.closing(DeviceFilter("/state")) as filters:
        other.put(group, NONE)
        assert filters.put(group, BOTH)
        assert inside(group, lambda: tried(files)) == "nny", "both hold"
        other.take_off(group)
        assert inside(group, lambda: tried(files)) == "yyy", "and each takes off its own"


def test_what_was_open_before_or_is_passed_on_goes_on_working(group: str) -> None:
    """So whoever gives a GPU away must first see that nobody is on it."""
    ours, theirs = socket.socketpair()
    zero = os.open("/dev/zero", os.O_RDONLY)
    socket.send_fds(ours, [b"."], [zero])

    def act() -> str:
        _, (passed,), _, _ = socket.recv_fds(theirs, 1, 1)
        return f"{tried(['/dev/zero'])} {os.read(zero, 1)!r} {os.read(passed, 1)!r}"

    with contextlib.closing(DeviceFilter("/state")) as filters, ours, theirs:
        filters.put(group, Rule((Family(1, (3,)),)))
        assert inside(group, act) == r"ny b'\x00' b'\x00'"
    os.close(zero)


def test_programs_are_kept_for_systemd_and_for_the_next_daemon(
    group: str, files: list[str], bpf_place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(DeviceFilter("/state", bpf_place)) as filters:
        assert filters.can_pin
        path = filters.pin(FIRST)
        assert path == filters.pin(FIRST)
        filters.put(group, FIRST)
        assert bpf.about(bpf.pinned(path))[1] == device_program.name("/state", FIRST)
    monkeypatch.setattr(bpf, "by_id", no_right)
    with contextlib.closing(DeviceFilter("/state", bpf_place)) as filters:
        assert not filters.put(group, FIRST)
        filters.put(group, NONE)
        filters.forget_all_but([NONE])
        assert os.listdir(f"{bpf_place}/gflow") == [device_program.name("/state", NONE)]
        filters.take_off(group)
        assert inside(group, lambda: tried(files)) == "yyy"


def no_right(_program_id: int) -> int:
    raise PermissionError(1, "as for a daemon without CAP_SYS_ADMIN")


def test_a_daemon_without_the_right_says_what_it_needs(group: str) -> None:
    def act() -> str:
        os.setuid(65534)
        return str(device_filter.why_not())

    assert inside(group, act) == device_filter.NO_RIGHT
