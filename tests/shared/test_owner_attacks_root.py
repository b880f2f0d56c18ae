"""The owner of a job changes what lies in its directory, so that root writes, reads or ends what it must not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.machine import alive
from support.waiting import eventually

from gflowd.effects import proc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import SharedMachine

PRECIOUS = "root's own\n" * 100_000  # longer than logs may be


@pytest.fixture(scope="module")
def running(machine: SharedMachine) -> SharedMachine:
    machine.write_config(executor={"grace": 1}, logs={"max_size": "64K"})
    machine.start()
    return machine


@pytest.fixture
def precious(running: SharedMachine) -> Iterator[Path]:
    """A file of root's that everybody may read, and that nothing may have changed in the end."""
    path = running.root / "precious"
    path.write_text(PRECIOUS)
    yield path
    assert path.read_text() == PRECIOUS
    assert (path.stat().st_uid, path.stat().st_mode & 0o777, path.stat().st_nlink) == (0, 0o644, 1)


def still_works(machine: SharedMachine) -> None:
    """For others, and for the one who attacked."""
    for name in ("gfb", "gfa"):
        machine.as_user(name).ctl("submit", "--wait", "--", "true")
    assert machine.daemon.poll() is None


@pytest.mark.parametrize("name", ["log", "pid", "exit", "used", "progress"])
def test_a_link_to_roots_file(running: SharedMachine, precious: Path, name: str) -> None:
    """Also below a directory that is swapped for a link."""
    gfa = running.as_user("gfa")
    job = gfa.submit("--time", "1h", "--", "sh", "-c", "yes | head -c 300000; until [ -e go ]; do sleep 0.1; done")
    gfa.until(job, "running")
    place = f"/{running.own(job).relative_to(running.root)}"
    assert gfa.sh(f"rm -f {place}/{name} && ln -s {precious} {place}/{name} && touch go").returncode == 0
    if name == "exit":  # which it cannot write now, and tries again for ever
        gfa.ctl("cancel", str(job))
    gfa.wait(job)
    gfa.ctl("log", str(job), check=False)
    gfa.sh("rm go")
    still_works(running)


@pytest.mark.parametrize("kind", ["mkfifo {}", "mkdir {}", "ln -s / {}", "ln -s /dev/zero {}", "ln -s {} {}"])
def test_something_else_in_the_place_of_a_file(running: SharedMachine, kind: str) -> None:
    """Nobody waits for it, and no end is lost for others."""
    gfa = running.as_user("gfa")
    job = gfa.submit("--time", "1h", "--", "sleep", "1000")
    gfa.until(job, "running")
    place = f"/{running.own(job).relative_to(running.root)}"
    for name in ("pid", "exit", "used", "log", "progress"):
        path = f"{place}/{name}"
        assert gfa.sh(f"rm -rf {path}; {kind.replace('{}', path)}").returncode == 0
    still_works(running)
    gfa.ctl("cancel", str(job))
    gfa.wait(job)
    eventually(lambda: not any("sleep 1000" in process.words for process in running.of_user("gfa").values()))
    still_works(running)


def sleepers(machine: SharedMachine) -> list[int]:
    """The commands of gfa's jobs."""
    return [pid for pid, process in machine.of_user("gfa").items() if process.words == "sleep 1000"]


def test_a_forged_pid_ends_nobody_else(running: SharedMachine) -> None:
    gfa, gfb = running.as_user("gfa"), running.as_user("gfb")
    other = gfb.begin_program("sleep", "2000")
    victims = {"another user's": other.pid, "the daemon": running.daemon.pid}
    for victim in victims.values():
        job = gfa.submit("--time", "1h", "--", "sleep", "1000")
        gfa.until(job, "running")
        (own,) = eventually(lambda: sleepers(running))
        pid = running.own(job) / "pid"
        boot = pid.read_text().split()[0]
        pid.write_text(f"{boot} {Path(f'/proc/{victim}/stat').read_text()}")
        gfa.ctl("cancel", str(job))
        gfa.wait(job)
        assert alive(victim)
        eventually(lambda own=own: not alive(own))
    other.kill()
    other.communicate()
    still_works(running)


def test_the_end_of_a_job_cannot_be_told_while_it_lives(running: SharedMachine) -> None:
    """Else its GPUs and CPUs would be given to others."""
    gfa = running.as_user("gfa")
    job = gfa.submit("-c", "2", "--", "sleep", "1000")
    gfa.until(job, "running")
    pids = eventually(lambda: sleepers(running))
    (running.own(job) / "exit").write_text("0\n")
    gfb = running.as_user("gfb")
    gfb.ctl("submit", "--wait", "--", "true")
    assert gfa.job(job)["state"] in ("running", "completing") or not any(map(alive, pids))
    gfa.ctl("cancel", str(job), check=False)
    gfa.wait(job)
    eventually(lambda: not any(map(alive, pids)))


def test_a_deep_tree_in_ones_directory_crashes_nothing(running: SharedMachine) -> None:
    gfa = running.as_user("gfa")
    deep = "import os\nfor n in range(20000):\n os.mkdir('d'); os.chdir('d')\n"
    gfa.write("deep.py", deep)
    job = gfa.submit("--", "sh", "-c", f"cd {running.own(1).parent.parent.parent}/$GFLOW_JOB_ID/1/u 2>/dev/null; true")
    gfa.wait(job)
    place = f"/{running.own(job).relative_to(running.root)}"
    assert gfa.sh(f"python3 {gfa.work}/deep.py", cwd=place).returncode == 0
    gfa.ctl("redo", str(job), check=False)
    still_works(running)


def test_a_flood_of_output_is_cut_by_the_owner(running: SharedMachine, precious: Path) -> None:
    gfa = running.as_user("gfa")
    job = gfa.submit("--", "sh", "-c", "yes | head -c 50000000; until [ -e cut ]; do sleep 0.1; done")
    gfa.until(job, "running")
    log = running.own(job) / "log"
    eventually(lambda: log.exists() and 0 < log.stat().st_blocks * 512 < 1 << 20 and log.stat().st_size != 0)
    assert log.stat().st_uid == gfa.uid
    gfa.sh("touch cut")
    gfa.wait(job)
    still_works(running)


def test_a_flood_of_rings_costs_little(running: SharedMachine) -> None:
    """What it takes of a processor, of which a flood on one bell for all took half."""
    gfa = running.as_user("gfa")
    job = gfa.submit("--", "sleep", "1000")
    gfa.until(job, "running")
    bell = f"/{running.attempt(job).relative_to(running.root)}/bell"
    ring = (
        f"import os, time\nend = time.monotonic() + 5\nfd = os.open({bell!r}, os.O_WRONLY | os.O_NONBLOCK)\n"
        "while time.monotonic() < end:\n try: os.write(fd, b'x' * 100)\n except BlockingIOError: pass\n"
    )
    before = seconds(running)
    assert gfa.python(ring).returncode == 0
    assert seconds(running) - before < 1.0
    gfa.cancel(job)


def seconds(machine: SharedMachine) -> float:
    """Of CPU time that the daemon took so far."""
    ticks = 0
    for pid, process in machine.processes().items():
        if process.uid == 0 and "gflowd" in process.words:
            ticks += sum(map(int, proc.after_name(proc.stat(pid))[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
