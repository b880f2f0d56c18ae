"""The place for job directories is full while jobs end: how is known at once, and what they had is given on."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.machine import GATE, Machine
from support.waiting import eventually

# What is used up, and what gives it back.
WANTS = {"bytes": "size=1m", "inodes": "size=8m,nr_inodes=60"}


@pytest.fixture(params=WANTS)
def small(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Machine]:
    """The directories of jobs, and nothing else, are on a small file system."""
    if os.geteuid():
        pytest.skip("only root may mount")
    place = Path(machine.state.path("jobs"))
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    options = f"{WANTS[request.param]},mode=0700"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "gflow-test", str(place)], check=False).returncode:
        pytest.skip("may not mount here")
    yield machine
    machine.gflowd("stop", check=False)
    eventually(lambda: not machine.processes())
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> list[Path]:
    """Takes all that is left of what there is little; each of these has a page or an inode of it."""
    few = os.statvfs(place).f_files < 1000
    made = []
    with contextlib.suppress(OSError):
        for number in count():
            made.append(place / f"ballast{number}")
            made[-1].write_bytes(b"" if few else bytes(4096))
    if not made[-1].exists():
        made.pop()
    return made


@pytest.mark.parametrize("executor", ["tmux", "process"])
def test_who_ends_while_there_is_no_room_has_ended_and_gives_its_gpu_on(small: Machine, executor: str) -> None:
    small.write_config(executor={"type": executor})
    small.start("--simulate-gpus", "1")
    ids = [
        small.submit("--gpus", "1", "--wrap", f"{GATE}; exit 7"),
        small.submit("-o", str(small.work / "out"), "--wrap", f"{GATE}; exit 9"),
        small.submit("--wrap", f"{GATE}; no-such-program"),
    ]
    following = small.submit("--gpus", "1", "--wrap", "exit 3")
    for job in ids:
        small.until(job, "running")
    ballast = fill(Path(small.state.path("jobs")))
    small.open_gate()
    assert [small.ended(job)["exit_code"] for job in ids] == [7, 9, 127]
    eventually(lambda: not any(map(small.of_job, ids)))
    eventually(lambda: small.job(following)["gpu_ids"] == [0])
    assert small.job(following)["state"] == "starting", "there is no room to begin it"
    for path in ballast:
        path.unlink()
    assert small.ended(following)["exit_code"] == 3


@pytest.mark.parametrize("executor", ["tmux", "process"])
def test_who_finds_the_last_room_gone_begins_all_the_same(small: Machine, executor: str) -> None:
    """There was room for all that is made before it is started, and no more."""
    small.write_config(executor={"type": executor})
    small.start()
    place = Path(small.state.path("jobs"))
    like = small.submit("-o", str(small.work / "out"), "true")
    assert small.wait(like) == 0
    made = [Path(small.state.attempt(like, 1), name) for name in ("used", "job.sh")]
    ballast = fill(place)
    if not ballast[0].stat().st_size:
        pytest.skip("a file that is not there cannot be made without an inode")
    job = small.submit("-o", str(small.work / "out"), "--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; exit 5")
    small.until(job, "starting")
    eventually(lambda: "No space left" in small.ctl("doctor", check=False).stdout)
    needed = sum(path.stat().st_blocks for path in made) // 8
    for path in ballast[:needed]:
        path.unlink()
    eventually(lambda: small.lines("ran") == [str(job)])
    small.until(job, "running")
    for path in ballast[needed:]:
        path.unlink()
    small.open_gate()
    assert small.ended(job)["exit_code"] == 5
    small.ran_exactly_once([job])
