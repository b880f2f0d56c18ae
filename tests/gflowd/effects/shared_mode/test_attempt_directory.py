"""Both parts of a job's directory as root makes them, and what is believed of what users write there."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from gflowd.core.execution import job_script
from gflowd.core.job.model import Identity
from gflowd.effects import proc
from gflowd.effects.shared_mode import attempt_directory
from gflowd.paths import Shared, State

KEY = (7, 1)
UID = 60001
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


class Groups:
    """Stands for the control groups: who is in the attempt's."""

    def __init__(self) -> None:
        self.members: set[int] = set()
        self.killed: list[object] = []

    def key_of(self, pid: int) -> object:
        return KEY if pid in self.members else None

    def is_populated(self, key: object) -> bool:
        return bool(self.members)

    def kill(self, key: object) -> None:
        self.killed.append(key)


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(str(tmp_path / "state"))
    state.share(Shared(spool=str(tmp_path)))
    os.mkdir(state.jobs, 0o711)
    return state


def modes(state: State) -> dict[str, tuple[int, str]]:
    found = {}
    for place, _, names in os.walk(state.jobs):
        for path in (place, *(os.path.join(place, name) for name in names)):
            at = os.lstat(path)
            found[os.path.relpath(path, state.jobs)] = at.st_uid, stat.filemode(at.st_mode)
    return found


def test_root_has_its_part_and_the_user_the_other(state: State) -> None:
    for _ in range(2):  # a launch may be repeated
        before = os.umask(0o077)
        try:
            attempt_directory.prepare(state, KEY, b"#!/bin/sh\n", (UID, UID))
        finally:
            os.umask(before)
    ours, own = (0, "drwx--x--x"), (UID, "drwx------")
    assert modes(state) == {
        ".": (0, stat.filemode(os.stat(state.jobs).st_mode)),
        "7": ours,
        "7/u": own,
        "7/1": ours,
        "7/1/u": own,
        "7/1/u/used": (UID, "-rw-------"),
        "7/1/job.sh": (UID, "-r-x------"),
        "7/1/bell": (UID, "prw-------"),
    }


def test_room_for_the_last_word_is_made_before_the_user_can_be_there(state: State, tmp_path: Path) -> None:
    own = Path(state.own_attempt(*KEY))
    attempt_directory.prepare(state, KEY, b"", (UID, UID))
    assert (own / "used").read_bytes() == job_script.BLANK
    (tmp_path / "others").write_bytes(b"")
    for put in (own.joinpath("used").unlink, lambda: (own / "used").symlink_to(tmp_path / "others")):
        put()
        attempt_directory.prepare(state, KEY, b"", (UID, UID))
    assert (tmp_path / "others").read_bytes() == b""


@pytest.mark.parametrize("left", [None, b"", b" " * 512])
def test_a_root_that_was_killed_before_it_gave_the_room_away_goes_on(state: State, left: bytes | None) -> None:
    own = Path(state.own_attempt(*KEY))
    own.mkdir(parents=True, mode=0o700)
    for directory in own.parents[:2]:
        directory.chmod(0o711)
    if left is not None:
        (own / "used").write_bytes(left)
        os.chown(own / "used", UID, UID)
    attempt_directory.prepare(state, KEY, b"", (UID, UID))
    assert ((own / "used").read_bytes(), (own / "used").stat().st_uid) == (job_script.BLANK, UID)


@pytest.mark.parametrize("place", ["job", "attempt", "own", "link", "open"])
def test_what_is_not_as_root_left_it_is_refused(state: State, tmp_path: Path, place: str) -> None:
    attempt_directory.prepare(state, KEY, b"", (UID, UID))
    target = {"job": state.job(7), "own": state.own_attempt(*KEY)}.get(place, state.attempt(*KEY))
    if place == "link":
        os.rename(target, tmp_path / "elsewhere")
        os.symlink(tmp_path / "elsewhere", target)
    elif place == "open":
        os.chmod(target, 0o777)
    else:
        os.chown(target, UID + 1, -1)
    before = modes(state)
    with pytest.raises(OSError, match=r"root's alone|belongs to user|Not a directory|symbolic"):
        attempt_directory.prepare(state, KEY, b"changed", (UID, UID))
    assert modes(state) == before


def write_pid(state: State, pid: int, uid: int = UID) -> Identity:
    path = os.path.join(state.own_attempt(*KEY), "pid")
    boot, line = proc.boot_id(), proc.stat(pid).decode() or f"{pid} (sh) S 1 1 1 0 -1 0 {'0 ' * 12}5 0 0"
    Path(path).write_text(f"{boot} {line.strip()}\n")
    os.chown(path, uid, uid)
    start = proc.start_ticks(pid) or 5
    return Identity(boot, pid, start)


def test_who_began_counts_only_as_a_member_of_the_group_or_when_it_is_gone(state: State) -> None:
    groups = Groups()
    attempt_directory.prepare(state, KEY, b"", (UID, UID))

    def beginning() -> Identity | None:
        found = attempt_directory.beginning(state, KEY, UID, groups)  # type: ignore[arg-type]
        return None if found is None else found.identity

    assert beginning() is None
    ours = write_pid(state, os.getpid())
    assert beginning() is None, "a stranger's process, forged"
    groups.members.add(os.getpid())
    assert beginning() == ours
    write_pid(state, os.getpid(), uid=0)
    assert beginning() is None, "a file that is not the user's: a hard link to another's"
    gone = subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, check=True)
    dead = write_pid(state, int(gone.stdout))
    assert beginning() == dead
    path = Path(state.own_attempt(*KEY), "pid")
    path.write_text("barred by its user\n")
    assert beginning() is None
    path.unlink()
    os.mkfifo(path)
    os.chown(path, UID, UID)
    assert beginning() is None


def test_an_attempt_is_barred_in_roots_part_for_good_and_what_slipped_through_is_ended(state: State) -> None:
    groups = Groups()
    assert attempt_directory.bar(state, KEY, "no room", UID, groups)  # type: ignore[arg-type]
    assert modes(state).keys() == {".", "7", "7/1", "7/1/barred"}, "also where nothing was prepared"
    assert groups.killed == [KEY]
    attempt_directory.prepare(state, KEY, b"", (UID, UID))
    groups.members.add(os.getpid())
    write_pid(state, os.getpid())
    found = attempt_directory.beginning(state, KEY, UID, groups)  # type: ignore[arg-type]
    assert found is not None
    assert (found.identity, found.why) == (None, "no room")
    os.unlink(os.path.join(state.attempt(*KEY), "barred"))
    assert not attempt_directory.bar(state, KEY, "", UID, groups)  # type: ignore[arg-type]
    assert groups.killed == [KEY]
