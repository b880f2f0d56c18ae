"""Trees of any shape are removed, whosever they are, and nothing outside of them."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from support.waiting import eventually

from gflowd.effects.shared_mode import as_user, become, job_groups, tree_removal, user_removal
from gflowd.effects.shared_mode.as_user import Task
from gflowd.effects.shared_mode.job_groups import JobGroups

UID = 60001


@pytest.fixture
def place() -> Iterator[Path]:
    """Which other users reach."""
    found = Path(tempfile.mkdtemp(prefix="gflow-removal-"))
    found.chmod(0o711)
    yield found
    subprocess.run(["rm", "-rf", found], check=True)


@pytest.fixture
def groups(place: Path) -> Iterator[JobGroups]:
    found = job_groups.find(str(place), by_systemd=False) if os.geteuid() == 0 else None
    if found is None:
        pytest.skip("no control groups that we may make")
    yield found
    eventually(lambda: (found.close(age=0.0), not os.path.exists(found.root))[1])


def fill(top: Path, outside: Path, depth: int = 1200) -> None:
    """What a job can leave: names, links, pipes, directories that cannot be entered, nested as deep as it likes."""
    with chdir(top):
        for number in range(300):
            Path(f"f{number}").touch()
        Path("a\n -rf").mkdir()
        os.symlink(outside, "link")
        os.mkfifo("pipe")
        Path("closed/deep").mkdir(parents=True)
        Path("closed/deep/file").touch()
        os.chmod("closed/deep", 0o000)
        os.chmod("closed", 0o500)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")


def test_a_tree_of_any_shape_is_gone_and_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    top = tmp_path / "top"
    top.mkdir()
    fill(top, outside)
    with chdir(tmp_path):
        assert tree_removal.remove(str(top))
        assert tree_removal.remove(str(top)), "it is gone already"
        os.symlink(outside, tmp_path / "another")
        assert tree_removal.remove(str(tmp_path / "another"))
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_what_cannot_be_removed_holds_nothing_up(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ("a/stuck", "b", "c/d"):
        (top / name).mkdir(parents=True)
    with chdir(tmp_path), pytest.MonkeyPatch.context() as patch:
        rmdir = os.rmdir
        patch.setattr(os, "rmdir", lambda name: rmdir("/proc" if name == "stuck" else name))
        assert not tree_removal.remove(str(top))
    assert sorted(os.listdir(top)) == ["a"]


def give(path: Path) -> None:
    subprocess.run(["chown", "-hR", f"{UID}:{UID}", path], check=True)


def test_a_job_of_anothers_is_removed_by_its_user_and_the_rest_by_root(groups: JobGroups, place: Path) -> None:
    secret = place / "roots"
    secret.mkdir(mode=0o700)
    (secret / "kept").touch()
    jobs = []
    for name in ("7", "8"):
        job = place / name
        for own in (job / "u", job / "1/u", job / "2/u"):
            own.mkdir(parents=True)
            os.symlink(secret, own / "link")
            (own / "log").touch()
            os.link(secret / "kept", own / "hard")
            give(own)
        os.chown(secret / "kept", 0, 0)  # as the link has given it away
        (job / "1/job.sh").touch()
        os.mkfifo(job / "2/bell")
        jobs.append(str(job))
    (place / "8/1/u").rename(place / "8/1/v")
    (place / "8/1/v").chmod(0o700)
    removal = user_removal.of_jobs(jobs, groups)
    eventually(removal.is_over)
    assert removal.left() == [str(place / "8")], "what root did not make there is not looked into"
    assert sorted(os.listdir(place)) == ["8", "roots"]
    assert sorted(os.listdir(place / "8/1/v")) == ["hard", "link", "log"]
    assert os.listdir(secret) == ["kept"]


def test_directories_and_files_of_users_are_removed_by_them(groups: JobGroups, place: Path) -> None:
    own = place / "tmp/5"
    own.mkdir(parents=True)
    fill(own, place, 20)
    give(own)
    (place / "marks").mkdir()
    for name in ("1.x", "2.x"):
        (place / "marks" / name).touch()
    give(place / "marks")
    removal = user_removal.of_users([str(own), str(place / "marks/1.x"), str(place / "gone")], groups)
    eventually(removal.is_over)
    assert removal.left() == []
    assert os.listdir(place / "marks") == ["2.x"]


def test_who_has_very_much_to_remove_delays_no_other_for_long(
    groups: JobGroups, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = place / "slow.py"  # for the last, who comes first, it never ends
    program.write_text(
        f"import os, sys, time\nif sys.argv[1] == '{UID + 5}': time.sleep(1000)\n"
        "for each in sys.argv[5:]: os.rmdir(each)"
    )
    monkeypatch.setattr(become, "__file__", str(program))
    owned = []
    for uid in range(UID, UID + 6):
        (place / str(uid)).mkdir()
        os.chown(place / str(uid), uid, uid)
        owned.append(str(place / str(uid)))
    monkeypatch.setattr(user_removal, "SLICE", 30.0)
    removal = user_removal.of_users(owned, groups)
    eventually(lambda: (removal.is_over(), removal.left() == owned[-1:])[1])
    assert not removal.is_over()
    for task in removal._tasks:
        task._ends_at = 0.0
    eventually(removal.is_over)


def test_what_takes_too_long_is_ended(groups: JobGroups, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = place / "slow.py"
    program.write_text("import time; time.sleep(1000)")
    monkeypatch.setattr(become, "__file__", str(program))
    monkeypatch.setattr(as_user, "LONGEST", 0.0)
    began = time.monotonic()
    task = Task("remove", (), (UID, UID), groups)
    eventually(task.is_over)
    assert task.has_failed
    assert time.monotonic() < began + 60


def test_under_systemd_it_is_a_service_with_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(as_user.subprocess, "Popen", lambda words, **_: called.append(words))
    Task("cut", ("/d", "5"), (UID, 7), JobGroups("/m", "/m/gflow.slice", by_systemd=True))
    words = called[0]
    assert words[0] == "systemd-run"
    assert {"--uid=60001", "--gid=7", "--slice=gflow.slice", "--property=NoNewPrivileges=yes"} <= set(words)
    assert words[-6:] == ["60001", "7", "", "cut", "/d", "5"]
