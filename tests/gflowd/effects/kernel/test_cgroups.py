"""Where groups may be made, on directories that stand for some; and real ones, where this machine has them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import eventually

from gflowd.core.execution import job_script
from gflowd.effects import proc
from gflowd.effects.attempt import jobdir
from gflowd.effects.kernel import cgroups
from gflowd.effects.kernel.cgroups import Cgroups

MOUNTS = """\
24 30 0:22 / /proc rw - proc proc rw
26 30 0:24 /a /sys/fs/part rw - cgroup2 cgroup2 rw
25 30 0:23 / /sys/fs/cg\\040roup rw,nosuid shared:4 - cgroup2 cgroup2 rw
"""


def test_the_whole_tree_is_found_and_not_a_part_of_it() -> None:
    assert cgroups.mount_point(MOUNTS) == "/sys/fs/cg roup"
    assert cgroups.mount_point("24 30 0:22 / /proc rw - proc proc rw\n") is None
    assert cgroups.mount_point("") is None


def test_our_own_group_is_that_of_version_two() -> None:
    assert cgroups.own_path("4:memory:/x\n0::/user.slice/a b\n") == "/user.slice/a b"
    assert cgroups.own_path("4:memory:/x\n") is None


def test_a_machine_without_groups_has_no_place(tmp_path: Path) -> None:
    assert cgroups.settle(str(tmp_path), "/state") is None
    (tmp_path / "cgroup.controllers").write_text("cpu io\n")
    assert cgroups.settle(str(tmp_path), "/state") is None
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert cgroups.settle(str(tmp_path), "/state") is None, "its limits cannot be set"
    assert os.listdir(tmp_path) == ["cgroup.controllers"]


def test_a_group_that_cannot_be_limited_is_not_left_behind(tmp_path: Path) -> None:
    assert Cgroups(str(tmp_path)).make((1, 1), 10) is None
    assert os.listdir(tmp_path) == []


def test_what_has_served_is_removed_and_what_is_new_or_live_or_not_ours_stays(tmp_path: Path) -> None:
    groups = Cgroups(str(tmp_path))
    old = time.time() - 100
    for name in ("1.1", "2.1", "2.2", "other"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (old, old))
    (tmp_path / "3.1").mkdir()
    groups.remove_all_but({(2, 2)})
    assert sorted(os.listdir(tmp_path)) == ["2.2", "3.1", "other"]
    groups.close()
    assert sorted(os.listdir(tmp_path)) == ["3.1", "other"]
    groups.close(age=0.0)
    assert os.listdir(tmp_path) == ["other"]


def test_what_is_left_at_the_end_is_removed_but_the_group_of_a_job_that_is_just_starting(tmp_path: Path) -> None:
    groups = Cgroups(str(tmp_path / "groups"))
    for name in ("1.1", "2.1", "other"):
        (tmp_path / "groups" / name).mkdir(parents=True)

    def script(key: tuple[int, int]) -> str:
        return str(tmp_path / f"{key[0]}/{key[1]}/job.sh")

    starting = subprocess.Popen(["sh", "-c", "read line", script((2, 1))], stdin=subprocess.PIPE)
    eventually(lambda: proc.command_line(starting.pid))
    try:
        groups.leave(script)
        assert sorted(os.listdir(tmp_path / "groups")) == ["2.1", "other"]
    finally:
        starting.communicate()
    groups.leave(script)
    assert os.listdir(tmp_path / "groups") == ["other"]
    Cgroups(str(tmp_path / "gone")).leave(script)


def test_without_its_group_an_attempt_is_neither_held_nor_killed(tmp_path: Path) -> None:
    groups = Cgroups(str(tmp_path / "gone"))
    assert not groups.holds((1, 1))
    groups.kill((1, 1))
    groups.close()


def test_under_a_users_systemd_a_service_is_ours_if_we_sit_below_it(tmp_path: Path) -> None:
    unit = tmp_path / "user@1000.service/app.slice/gflowd.service"
    (unit / "daemon").mkdir(parents=True)
    uid = os.geteuid() or 1000
    for place in (unit, unit.parent):
        os.chown(place, uid, -1)
    assert cgroups.is_of_our_unit(str(unit), uid)
    assert not cgroups.is_of_our_unit(str(unit.parent), uid), "not a service"
    assert not cgroups.is_of_our_unit(str(unit), uid + 1), "not ours"
    assert not cgroups.is_of_our_unit(str(unit.with_name("gone.service")), uid)
    (unit / "cgroup.procs").write_text("12\n")
    assert not cgroups.is_of_our_unit(str(unit), uid), "a process is in it, so it was not made to be divided"


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Cgroups]:
    found = cgroups.find(str(tmp_path))
    if found is None:
        pytest.skip("no control group here that we may divide")
    yield found
    for name in os.listdir(found.root):
        if name[0].isdigit():
            found.kill((int(name.split(".")[0]), int(name.split(".")[1])))
    deadline = time.monotonic() + 60
    while os.path.exists(found.root) and time.monotonic() < deadline:
        found.close(age=0.0)
        time.sleep(0.02)
    assert not os.path.exists(found.root)


def run(tmp_path: Path, cgroup: str | None, text: str) -> jobdir.Record | None:
    """The exit record of a `job.sh` that runs `text` in a group."""
    (tmp_path / "environment.sh").write_bytes(b"")
    place = os.fsencode(tmp_path)
    script = job_script.job_script(
        job_script.Launch(
            title="test", directory=place, bell=b"/nonexistent", environment=place + b"/environment.sh", variables=(),
            cwd=place, umask=0o022, command=(os.fsencode(sys.executable), b"-c", text.encode()),
            cgroup=None if cgroup is None else os.fsencode(cgroup),
        )
    )  # fmt: skip
    jobdir.prepare(str(tmp_path), script)
    subprocess.run(["/bin/sh", str(tmp_path / "job.sh")], check=False, stdin=subprocess.DEVNULL, timeout=60)
    return jobdir.exit_record(str(tmp_path))


GROW = "import os\nos.fork()\nkept = [bytearray(b'x') * (1 << 20) for _ in range({})]"


def test_the_kernel_ends_all_of_an_attempt_and_the_script_records_it(real: Cgroups, tmp_path: Path) -> None:
    path = real.make((1, 1), 50)
    assert path is not None
    assert not real.holds((1, 1))
    record = run(tmp_path, path, GROW.format(100))
    assert record is not None
    assert (record.status, record.starved) == (137, True)
    assert not real.holds((1, 1))


def test_within_its_limit_an_attempt_is_in_its_group_and_ends_as_it_likes(real: Cgroups, tmp_path: Path) -> None:
    path = real.make((1, 1), 200)
    record = run(tmp_path, path, GROW.format(20) + "\nraise SystemExit(open('/proc/self/cgroup').read().count('/1.1'))")
    assert record is not None
    assert (record.status, record.starved) == (1, False)


def test_a_group_is_killed_whole(real: Cgroups) -> None:
    path = real.make((7, 2), 50)
    text = f"echo 0 >{path}/cgroup.procs; setsid env -i sleep 60 & exec sleep 60"
    child = subprocess.Popen(["sh", "-c", text])
    deadline = time.monotonic() + 60
    while not real.holds((7, 2)) and time.monotonic() < deadline:
        time.sleep(0.01)
    real.kill((7, 2))
    assert child.wait(60) == -9
    while real.holds((7, 2)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not real.holds((7, 2))


def test_a_group_that_has_gone_keeps_no_job_from_running(tmp_path: Path) -> None:
    record = run(tmp_path, "/nonexistent/it's gone", "raise SystemExit(5)")
    assert record is not None
    assert (record.status, record.starved) == (5, False)
