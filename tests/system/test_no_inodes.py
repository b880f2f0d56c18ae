"""A disk on which the snapshot can be written, but no directory for a job can be made."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine import Machine, unmount
from support.waiting import eventually


@pytest.fixture
def full(machine: Machine) -> Iterator[Machine]:
    """The place for job directories is a file system without a free inode."""
    if os.geteuid():
        pytest.skip("only root may mount")
    place = Path(machine.state.path("jobs"))
    place.mkdir(parents=True, mode=0o700)
    place.parent.chmod(0o700)
    options = "size=4m,mode=0700,nr_inodes=2"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "gflow-test", str(place)], check=False).returncode:
        pytest.skip("may not mount here")
    (place / "ballast").touch()
    yield machine
    machine.gflowd("stop", check=False)
    eventually(lambda: not machine.processes())
    unmount(place)


@pytest.mark.parametrize("executor", ["tmux", "process"])
def test_no_job_fails_for_want_of_an_inode(full: Machine, executor: str) -> None:
    full.write_config(executor={"type": executor}, daemon={"start_grace": 3})
    full.start()
    ids = [full.submit("-c", "8", "--wrap", "echo $GFLOW_JOB_ID >>ran") for _ in range(4)]
    eventually(lambda: "No space left" in full.ctl("doctor", check=False).stdout)
    eventually(lambda: full.job(ids[0])["state"] == "starting")
    began = time.time()
    eventually(lambda: time.time() > began + 4)  # longer than the grace in which a job must begin
    assert full.daemon_log().count("cannot write") == 1
    assert [full.job(i)["state"] for i in ids] == ["starting", "queued", "queued", "queued"]
    place = full.state.path("jobs")
    subprocess.run(["mount", "-o", "remount,nr_inodes=500", place], check=True)
    assert full.wait(*ids) == 0
    full.ran_exactly_once(ids)
