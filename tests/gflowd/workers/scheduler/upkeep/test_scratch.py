"""The directories for temporary files: private, of one job, and gone with it, whoever was killed in between."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path

import pytest

from gflowd.effects.attempt import jobdir, removal
from gflowd.paths import Shared, State
from gflowd.workers.scheduler.upkeep import scratch as module
from gflowd.workers.scheduler.upkeep.scratch import Scratch


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "tmp"
    found.mkdir()
    return found


@pytest.fixture
def scratch(state: State, place: Path) -> Scratch:
    return Scratch(state, str(place))


def swept(scratch: Scratch, *needed: int) -> None:
    """Sweeps until nothing is left to do."""
    while scratch.sweep(needed.__contains__, time.monotonic()) is not None:
        if scratch._removal is not None:
            scratch._removal._process.wait()


def fill(path: str) -> None:
    inner = Path(path, "modules", "read-only")
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    inner.parent.chmod(0o500)


def test_it_is_private_below_a_private_directory_and_the_same_for_each_attempt(scratch: Scratch, place: Path) -> None:
    path = scratch.make(7)
    assert (os.path.basename(path), Path(path).parent.parent) == ("7", place)
    assert [stat.S_IMODE(os.lstat(each).st_mode) for each in (path, os.path.dirname(path))] == [0o700, 0o700]
    Path(path, "left").touch()
    assert scratch.make(7) == path
    assert os.listdir(path) == ["left"]
    assert os.path.dirname(scratch.make(8)) == os.path.dirname(path)


def test_it_goes_with_the_job_and_the_last_one_takes_the_directory_around_along(scratch: Scratch, place: Path) -> None:
    first, second = scratch.make(1), scratch.make(2)
    fill(first)
    swept(scratch, 1, 2)
    assert os.path.isdir(first)
    swept(scratch, 2)
    assert (os.path.exists(first), os.path.isdir(second)) == (False, True)
    swept(scratch)
    assert list(place.iterdir()) == []
    assert scratch.make(3) == os.path.join(os.path.dirname(second), "3"), "under the name that is remembered"


def test_whoever_comes_next_finds_what_was_left(scratch: Scratch, state: State, place: Path) -> None:
    fill(scratch.make(1))
    kept = scratch.make(2)
    Path(kept).parent.joinpath("not a job's").touch()
    after = Scratch(state, str(place / "elsewhere"))
    swept(after, 2)
    assert {each.name for each in Path(kept).parent.iterdir()} == {"2", "not a job's"}
    assert after.make(2) == kept


def test_links_are_not_followed_when_it_goes_nor_when_it_is_made(scratch: Scratch, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    path = scratch.make(1)
    os.symlink(precious, os.path.join(path, "link"))
    other = scratch.make(2)
    os.rmdir(other)
    os.symlink(precious, other)
    assert scratch.make(2) not in (other, str(precious)), "a job put a link there"
    swept(scratch)
    assert (precious / "file").exists()


@pytest.mark.parametrize("is_replaced", [True, False])
def test_what_is_in_a_directory_around_that_is_ours_no_more_stays(
    scratch: Scratch, tmp_path: Path, *, is_replaced: bool
) -> None:
    around = Path(os.path.dirname(scratch.make(1)))
    precious = tmp_path / "precious" / "1"
    precious.mkdir(parents=True)
    (precious / "file").touch()
    around.rename(tmp_path / "moved")
    if is_replaced:
        around.symlink_to(precious.parent)
    swept(scratch)
    assert (precious / "file").exists()
    assert scratch.make(1) != str(around / "1") or not is_replaced


def test_a_directory_around_that_is_another_s_or_open_is_not_used(scratch: Scratch, state: State, place: Path) -> None:
    parent = Path(os.path.dirname(scratch.make(1)))
    parent.chmod(0o755)
    assert Path(scratch.make(2)).parent not in (parent, place)
    assert Scratch(state, str(place))._of_jobs.keys() == {2}


def test_without_a_place_it_is_made_in_another(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OTHER_PLACES", (str(tmp_path / "none"),))
    scratch = Scratch(state, "/dev/null")
    assert scratch.make(1).startswith(f"{state.root}/gflow-")
    monkeypatch.setattr(module.scratch, "make", lambda *_: False)
    with pytest.raises(OSError, match="no place for temporary files of job 2"):
        scratch.make(2)


def test_what_is_in_use_is_remembered_however_often_a_place_fails(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OTHER_PLACES", (str(tmp_path),))
    scratch = Scratch(state, "/dev/null")
    paths = [scratch.make(job) for job in range(module.REMEMBERED + 2)]
    assert Scratch(state, "/dev/null")._of_jobs == dict(enumerate(paths))


def test_that_of_a_job_that_lives_stays_whatever_the_records_say(scratch: Scratch, state: State) -> None:
    path = scratch.make(1)
    directory = state.attempt(1, 1)
    jobdir.prepare(directory, b"")
    held = os.open(os.path.join(directory, "alive"), os.O_RDWR)
    swept(scratch)
    assert os.path.isdir(path)
    os.close(held)
    swept(scratch)
    assert not os.path.exists(path)


def test_what_cannot_be_removed_is_told_once(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("gflow"), "propagate", True)
    caplog.set_level("DEBUG", logger="gflow")
    Path(scratch.make(1), "file").touch()
    monkeypatch.setattr(removal, "TOOL", ("/no/such/tool",))
    assert scratch.sweep(lambda _: False, 5.0) == 5.0 + module.RETRY
    monkeypatch.setattr(removal, "TOOL", ("false",))
    for _ in range(3):
        swept(scratch)
    assert len({id(record) for record in caplog.records}) == 2, "one that could not begin, and what it left"
    going_on = scratch.make(2)
    Path(going_on, "file").touch()
    monkeypatch.setattr(removal, "TOOL", ("sh", "-c", "exec sleep 60"))
    assert scratch.sweep(lambda _: False, 5.0) == scratch.sweep(lambda _: False, 5.0) == 5.0 + module.SOON
    assert scratch._removal is not None
    scratch._removal._process.kill()
    scratch._removal._process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories to others")
def test_of_many_users_it_is_the_users_where_only_root_may_make_names(tmp_path: Path, state: State) -> None:
    for name in ("spool", "own", "open"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "open").chmod(0o1777)
    state.share(Shared(spool=str(tmp_path / "spool")))
    for number, (place, used) in enumerate([("own", "own"), ("open", "spool"), ("missing", "spool")]):
        scratch = Scratch(state, str(tmp_path / place))
        path = scratch.make(number, (60001, 60001))
        assert Path(path).parent.parent == tmp_path / used
        found = [(each.st_uid, stat.S_IMODE(each.st_mode)) for each in map(os.lstat, (path, os.path.dirname(path)))]
        assert found == [(60001, 0o700), (0, 0o711)]
        Path(path, "left").touch()
        assert scratch.sweep(lambda _: False, 0.0) is not None, "without their processes nothing of users' is removed"
        assert os.listdir(path) == ["left"]
    assert os.listdir(tmp_path / "open") == []
