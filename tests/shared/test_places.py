"""What lies where: who owns it, who may do what with it, and what strangers get."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shared_machine import ACCOUNTS
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import SharedMachine

SECRET = "the secret of gfa"
# Root's, with this mode, wherever they are there; below each place, users' own directories apart.
MODES = {
    "var/lib/gflow": 0o711, "var/lib/gflow/snapshot.jsonl": 0o644, "var/lib/gflow/observed.json": 0o644,
    "var/lib/gflow/daemon.pid": 0o644, "var/lib/gflow/shared": 0o644, "var/lib/gflow/snapshot.lock": 0o600,
    "var/lib/gflow/scheduler.lock": 0o600, "var/lib/gflow/daemon.lock": 0o600, "var/lib/gflow/history.db": 0o600,
    "var/lib/gflow/log": 0o700, "var/spool/gflow": 0o711, "var/spool/gflow/users": 0o711,
    "var/spool/gflow/users/60001": 0o711, "var/spool/gflow/users/60001/env": 0o711, "var/spool/gflow/jobs": 0o711,
    "run/gflow": 0o711, "run/gflow/bell": 0o600, "run/gflow/gate.sock": 0o666,
}  # fmt: skip
MUST = ("var/lib/gflow/snapshot.jsonl", "var/lib/gflow/snapshot.lock", "var/spool/gflow/jobs", "run/gflow/gate.sock")


@pytest.fixture(scope="module")
def running(machine: SharedMachine) -> Iterator[SharedMachine]:
    """With the daemon, and a job of gfa's that runs (1)."""
    machine.start()
    gfa = machine.as_user("gfa")
    script = gfa.write("secret.sh", f"#!/bin/sh\n# {SECRET}\necho {SECRET}\nexec sleep 1000\n", 0o700)
    assert gfa.submit(str(script), env={**gfa.env, "TOLD": SECRET}) == 1
    gfa.until(1, "running")
    eventually(lambda: SECRET in gfa.log(1).decode())
    yield machine
    gfa.cancel(1)


def test_roots_files_have_the_modes_that_they_must_have(running: SharedMachine) -> None:
    found = {name: (running.root / name).lstat() for name in MODES if os.path.lexists(running.root / name)}
    assert set(MUST) <= found.keys()
    assert {name: (each.st_uid, oct(each.st_mode & 0o7777)) for name, each in found.items()} == {
        name: (0, oct(MODES[name])) for name in found
    }


def test_users_may_write_into_nothing_of_roots(running: SharedMachine) -> None:
    """Nor have any but their own."""
    wrong = []
    for place in ("var/lib/gflow", "var/spool/gflow", "run/gflow"):
        for above, folders, files in os.walk(running.root / place):
            for name in (*folders, *files):
                path = Path(above) / name
                try:
                    found = path.lstat()
                except FileNotFoundError:  # renamed since it was listed
                    continue
                if found.st_uid == 0 and found.st_mode & 0o022 and not stat.S_ISSOCK(found.st_mode):
                    wrong.append(f"{path} {found.st_mode:o}")
                if found.st_uid not in (0, ACCOUNTS["gfa"]) or (found.st_uid and found.st_mode & 0o077):
                    wrong.append(f"{path} of {found.st_uid} {found.st_mode:o}")
    assert wrong == []


def _content(path: Path) -> bytes:
    """Nothing of what is no file, or was renamed since it was listed."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return b""


def test_a_stranger_reads_no_log_script_environment_or_terminal(running: SharedMachine) -> None:
    gfb = running.as_user("gfb")
    secrets = [
        path
        for place in ("var/lib/gflow", "var/spool/gflow", "run/gflow")
        for path in (running.root / place).rglob("*")
        if SECRET.encode() in _content(path)
    ]
    assert {path.name for path in secrets} >= {"log"}
    assert len(secrets) >= 3  # script and environment, too
    inside = [f"/{path.relative_to(running.root)}" for path in secrets]
    for path in inside:
        assert "Permission denied" in gfb.sh(f"cat {path}").stderr, path
        assert SECRET in running.as_user("root").sh(f"cat {path}").stdout
    for line in ("log 1", "show --script 1", "show --env 1", "attach 1"):
        done = gfb.ctl(*line.split(), check=False)
        assert (done.returncode, SECRET in done.stdout + done.stderr) == (1, False), done
    assert gfb.refused(1, "log", "1") == "job 1 belongs to gfa"
    assert SECRET in running.as_user("gfa").ctl("log", "1").stdout


def test_what_a_stranger_locks_holds_nobody_up(running: SharedMachine) -> None:
    gfb, gfa = running.as_user("gfb"), running.as_user("gfa")
    locks = [path for path in (running.root / "var/lib/gflow").iterdir() if path.name.endswith((".lock", ".db"))]
    assert locks
    for path in locks:
        assert gfb.sh(f"exec 3</var/lib/gflow/{path.name}").returncode != 0
    line = ("flock", "-x", "/var/lib/gflow/snapshot.jsonl", "sh", "-c", "echo held; cat")
    holding = gfb.begin_program(*line, stdin=subprocess.PIPE)
    assert holding.stdout is not None
    try:
        assert holding.stdout.readline() == b"held\n"
        gfa.ctl("submit", "--wait", "--", "true")
    finally:
        holding.communicate()


def test_a_stranger_rings_no_bell_and_makes_nothing_in_anybodys_place(running: SharedMachine) -> None:
    gfb = running.as_user("gfb")
    attempt = f"/{running.attempt(1).relative_to(running.root)}"
    for line in (
        f"echo >{attempt}/bell", f"touch {attempt}/stop.KILL", f"mv {attempt} {attempt}.x", f"rm -rf {attempt}",
        f"touch {attempt}/u/exit", f"ln -s /etc {attempt}/u/x", "mkdir /var/spool/gflow/jobs/4711",
        f"mv {attempt}/u/tmux.sock {attempt}/u/x", "mkdir /var/spool/gflow/users/60001/env/x",
        "mkdir /var/spool/gflow/users/60002", "ls /var/spool/gflow/users", "ls /var/spool/gflow/jobs",
        "echo >/run/gflow/bell", "ln -s /tmp/x /run/gflow/x",
    ):  # fmt: skip
        assert gfb.sh(f"({line}) 2>/dev/null").returncode != 0, line
    assert running.as_user("gfa").job(1)["state"] == "running"


def test_the_owner_changes_nothing_in_roots_part(running: SharedMachine) -> None:
    gfa = running.as_user("gfa")
    attempt = f"/{running.attempt(1).relative_to(running.root)}"
    for line in (
        f"touch {attempt}/stop.KILL", f"mv {attempt}/u {attempt}/v", f"rmdir {attempt}/u", f"rm {attempt}/job.sh",
        f"echo >>{attempt}/job.sh", f"ln -sf /tmp/x {attempt}/bell", f"rm -f {attempt}/bell",
    ):  # fmt: skip
        assert gfa.sh(f"({line}) 2>/dev/null").returncode != 0, line
