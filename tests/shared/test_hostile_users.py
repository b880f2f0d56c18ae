"""A user who does what gflowctl never would, to what is theirs: others' jobs start and end all the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import Person, SharedMachine

SPARSE = 1 << 40  # bytes: more than any machine has memory for

# Nobody else opens the file then, until the kernel has waited for 45 seconds.
LEASE = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
signal.pause()
"""
FLOOD = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print("begun", flush=True)
while True:
    os.write(fd, bytes(4096))
"""

# Stops what becomes its user to cut a log.
STOP = """
import os, signal
print("begun", flush=True)
while True:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if b"\\0cut\\0/var/spool" in open(f"/proc/{pid}/cmdline", "rb").read():
                os.kill(int(pid), signal.SIGSTOP)
                print("stopped", flush=True)
        except OSError:
            pass
"""


@pytest.fixture(scope="module", autouse=True)
def started(machine: SharedMachine) -> Iterator[None]:
    machine.write_config(logs={"max_size": "1M"}, shared={"max_running_per_user": 6})
    machine.start()
    yield
    machine.stop()


@pytest.fixture(scope="module")
def gfa(machine: SharedMachine) -> Person:
    return machine.as_user("gfa")


def others_run(machine: SharedMachine) -> None:
    machine.as_user("gfb").ctl("submit", "--wait", "--", "true", timeout=20)


def kept(machine: SharedMachine, place: str, *known: Path) -> Path:
    """The only file of gfa's there that is not known yet."""
    files = [each for each in Path(machine.state.kept(place, 60001)).iterdir() if each.suffix != ".sh"]
    (found,) = set(files) - {*known}
    return found


def inside(machine: SharedMachine, path: Path) -> str:
    return f"/{path.relative_to(machine.root)}"


def reason(user: Person, job: int) -> str:
    user.ctl("wait", str(job), check=False, timeout=20)
    return user.ctl("show", str(job)).stdout.partition("Reason:")[2].partition("\n")[0]


def test_an_environment_that_its_user_changed_is_not_read_whole(machine: SharedMachine, gfa: Person) -> None:
    job = gfa.submit("--hold", "--", "true", env={**gfa.env, "ANEW": "sparse"})
    environment = kept(machine, "env")
    path = inside(machine, environment)
    gfa.sh(f"chmod u+w {path} && truncate -s {SPARSE} {path}")
    assert environment.stat().st_size == SPARSE
    gfa.ctl("release", str(job))
    assert "is not what was submitted" in reason(gfa, job)
    others_run(machine)
    machine.as_user("root").ctl("backup", "/root/backup.tar.gz", timeout=20)


@pytest.mark.parametrize("place", ["env", "scripts"])
def test_a_file_that_its_user_leases_keeps_nobody_waiting(machine: SharedMachine, gfa: Person, place: str) -> None:
    script = gfa.write("job.sh", f"#!/bin/sh\n: {place}\n", 0o755)
    known = [*Path(machine.state.kept(place, 60001)).glob("?" * 32)]
    job = gfa.submit("--hold", str(script), env={**gfa.env, "ANEW": place})
    holder = gfa.begin_program("python3", "-c", LEASE, inside(machine, kept(machine, place, *known)))
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"leased\n"
    gfa.ctl("release", str(job))
    others_run(machine)
    assert "is leased" in reason(gfa, job)
    holder.kill()
    holder.communicate()


def test_who_writes_to_a_relay_ends_the_job_and_keeps_no_worker_busy(machine: SharedMachine, gfa: Person) -> None:
    before = machine.of_user("gfa")
    running = gfa.begin("run", "--", "sleep", "60")
    (relay,) = eventually(lambda: [*Path(machine.state.relays(60001)).glob("*/alive")])
    eventually(lambda: [each for each in machine.of_user("gfa").values() if each.words == "sleep 60"])
    flood = gfa.begin_program(sys.executable, "-c", FLOOD, inside(machine, relay))
    assert flood.stdout is not None
    assert flood.stdout.readline() == b"begun\n"
    running.communicate(timeout=20)
    assert "TerminalLost" in gfa.ctl("queue", "-a", "--user", "gfa").stdout
    flood.kill()
    flood.communicate()
    eventually(lambda: machine.of_user("gfa").keys() <= before.keys())
    others_run(machine)
    assert os.path.exists(machine.state.relays(60001))


def test_who_stops_what_cuts_their_logs_keeps_others_uncut_for_no_time(machine: SharedMachine, gfa: Person) -> None:
    stopper = gfa.begin_program("python3", "-c", STOP)
    assert stopper.stdout is not None
    assert stopper.stdout.readline() == b"begun\n"
    text = "yes | head -c 3000000; exec sleep 60"
    for _ in range(5):
        gfa.submit("--cpus", "0", "--executor", "process", "--", "sh", "-c", text)
    assert stopper.stdout.readline() == b"stopped\n"
    eventually(lambda: sum(each.words.startswith("sleep 60") for each in machine.of_user("gfa").values()) == 5)
    job = machine.as_user("gfb").submit("--cpus", "0", "--executor", "process", "--", "sh", "-c", text)
    eventually((machine.own(job) / "log.cut").exists, within=20)
    assert sum(" cut /var/spool" in each.words for each in machine.of_user("gfa").values()) == 1
    stopper.kill()
    stopper.communicate()
    gfa.ctl("cancel", "--all")
    machine.as_user("gfb").ctl("cancel", "--all")


def test_jobs_that_need_nothing_are_not_started_without_number(machine: SharedMachine, gfa: Person) -> None:
    gfa.ctl("submit", "--cpus", "0", "--array", "1-9", "--", "sleep", "60")
    eventually(lambda: len(gfa.ctl("queue", "--states", "running").stdout.splitlines()) == 7)
    eventually(lambda: "(Quota)" in gfa.ctl("queue").stdout)  # what is shown is written at most once a second
    others_run(machine)
    gfa.ctl("cancel", "--all")
