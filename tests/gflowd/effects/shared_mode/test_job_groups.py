"""Which group is an attempt's, by its name; and real groups, where this machine lets us make some."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.waiting import eventually

from gflowd.effects import proc
from gflowd.effects.kernel import cgroups
from gflowd.effects.shared_mode import job_groups
from gflowd.effects.shared_mode.job_groups import JobGroups

KEY = (7, 2)


@pytest.mark.parametrize(
    ("by_systemd", "group", "key"),
    [
        (False, "/ours/7.2", (7, 2)),
        (False, "/ours/7.2/deeper", (7, 2)),
        (False, "/ours/7.2x", None),
        (False, "/ours", None),
        (False, "/other/7.2", None),
        (False, "/", None),
        (True, "/ours/gflow-job-7-2.service", (7, 2)),
        (True, "/ours/gflow-job-7-2.service/deeper", (7, 2)),
        (True, "/ours/7.2", None),
        (True, "/user.slice/ours/gflow-job-7-2.service", None),
    ],
)
def test_the_attempt_of_a_process_is_told_by_its_group(
    by_systemd: bool, group: str, key: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "cgroup", lambda _: f"4:memory:/ours/9.9\n0::{group}\n")
    assert JobGroups("/mount", "/mount/ours", by_systemd=by_systemd).key_of(1) == key


def test_where_there_are_no_groups_none_is_found_and_systemds_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "find_mount", lambda: None)
    assert job_groups.find("/state", by_systemd=True) is None
    monkeypatch.setattr(cgroups, "find_mount", lambda: "/nowhere")
    found = job_groups.find("/state", by_systemd=True)
    assert found is not None
    assert found.path(KEY) == "/nowhere/gflow.slice/gflow-job-7-2.service"
    assert found.is_populated(KEY), "no job has ended because groups are mounted no longer"
    assert not found.are_mounted
    assert found.pids(KEY) == set()
    assert found.watch(KEY) is None
    found.kill(KEY)


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[JobGroups]:
    found = job_groups.find(str(tmp_path), by_systemd=False) if os.geteuid() == 0 else None
    if found is None:
        pytest.skip("no control groups that we may make")
    yield found
    for name in cgroups.names(found.root):
        if (Path(found.root) / name).is_dir():
            with suppress(OSError):
                Path(found.root, name, "cgroup.kill").write_text("1")
    eventually(lambda: (found.close(age=0.0), not os.path.exists(found.root))[1])


def start(script: str) -> tuple[subprocess.Popen[bytes], bytes]:
    """A shell, and its first line."""
    reading, writing = os.pipe()
    process = subprocess.Popen(["/bin/sh", "-c", script], stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        return process, said.readline()


def test_a_group_has_its_members_wherever_they_went_and_tells_when_the_last_has_ended(
    groups: JobGroups, tmp_path: Path
) -> None:
    assert groups.root.endswith(f"/gflow-{zlib.crc32(os.fsencode(str(tmp_path))):08x}")
    path = groups.make(KEY, memory_mb=100)
    assert path == groups.make(KEY)
    assert (os.stat(path).st_mode & 0o777, groups.is_populated(KEY)) == (0o755, False)
    events = groups.watch(KEY)
    assert events is not None
    poll = select.poll()
    poll.register(events, select.POLLPRI)
    assert not cgroups.reread(events)
    script = f"echo 0 >{path}/cgroup.procs; setsid env -i sleep 1000 & echo $!; exec sleep 1001"
    job, said = start(script)
    stray = int(said)
    assert poll.poll(20000)
    assert cgroups.reread(events)
    assert groups.pids(KEY) == {job.pid, stray}
    assert (groups.key_of(stray), groups.key_of(os.getpid())) == (KEY, None)
    assert groups.freeze(KEY, frozen=True)
    eventually(lambda: "frozen 1" in Path(path, "cgroup.events").read_text())
    assert groups.is_populated(KEY)
    groups.remove_all_but((), age=0.0)
    assert groups.pids(KEY), "what is populated cannot be removed"
    groups.kill(KEY)
    assert job.wait(20) == -signal.SIGKILL
    eventually(lambda: not groups.is_populated(KEY))
    assert poll.poll(20000)
    assert not cgroups.reread(events)
    groups.remove_all_but({KEY}, age=0.0)
    assert os.path.exists(path)
    groups.remove(KEY)
    assert not os.path.exists(path)
    assert not cgroups.reread(events)
    os.close(events)


def test_a_kernel_that_cannot_kill_a_group_has_its_members_killed_while_none_can_fork(
    groups: JobGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "kill", lambda _: False)
    path = groups.make(KEY)
    job, _ = start(f"echo 0 >{path}/cgroup.procs; sleep 1000 & echo; sleep 1000")
    groups.kill(KEY)
    assert job.wait(20) == -signal.SIGKILL
    eventually(lambda: not groups.is_populated(KEY))


def test_who_ends_leaves_the_group_of_a_job_that_is_starting_and_one_that_is_gone_is_made_anew(
    groups: JobGroups,
) -> None:
    path = groups.make(KEY)
    groups.close()
    assert os.path.isdir(path)
    groups.close(age=0.0)
    assert not os.path.exists(groups.root)
    assert not groups.is_populated(KEY)
    assert os.path.isdir(groups.make(KEY))
    groups.close(age=0.0)
    assert os.path.isdir(groups.make_for_user(60001))


def test_the_last_to_end_leaves_the_group_of_a_job_that_is_just_starting_and_none_of_a_users(groups: JobGroups) -> None:
    starting, ended, of_user = groups.make(KEY), groups.make((8, 1)), groups.make_for_user(60001)
    removing, _ = start(f"echo 0 >{of_user}/cgroup.procs; echo; exec sleep 1000")
    program = subprocess.Popen(["/bin/sh", "-c", "read line", starting], stdin=subprocess.PIPE)
    eventually(lambda: proc.command_line(program.pid))
    groups.leave(lambda key: False, within=0.1)
    assert [os.path.isdir(each) for each in (starting, ended, of_user)] == [True, False, False]
    assert removing.wait(20) == -signal.SIGKILL
    threading.Timer(0.1, program.communicate).start()
    groups.leave(lambda key: False, within=20)
    assert not os.path.exists(groups.root)


def test_the_last_to_end_waits_for_what_is_left_of_a_job_that_has_ended(groups: JobGroups) -> None:
    living, ending = groups.make(KEY), groups.make((8, 1))
    lives, ends = (start(f"echo 0 >{each}/cgroup.procs; echo; exec sleep 1000")[0] for each in (living, ending))
    threading.Timer(0.1, ends.kill).start()
    groups.leave(lambda key: key == (8, 1), within=20)
    assert [os.path.isdir(each) for each in (living, ending)] == [True, False]
    for each in (lives, ends):
        each.kill()
        each.wait()
