"""What users and vandals do wrong: one clear line, the right exit status, nothing lost, no traceback."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.machine import GATE, Machine, stopped
from support.waiting import eventually

WRONG = [
    (2, "submit"),
    (2, "submit", "--no-such-option", "true"),
    (2, "submit", "--gpus", "many", "true"),
    (2, "submit", "--gpus", "-1", "true"),
    (2, "submit", "--gpus", "1.5", "true"),
    (2, "submit", "--cpus", "x", "true"),
    (2, "submit", "--cpus", "99999999999999999999", "true"),
    (2, "submit", "--memory", "1X", "true"),
    (2, "submit", "--memory", "-5G", "true"),
    (2, "submit", "--time", "soon", "true"),
    (2, "submit", "--time", "-1", "true"),
    (2, "submit", "--time", "1:2:3:4", "true"),
    (2, "submit", "--grace", "x", "true"),
    (2, "submit", "--priority", "256", "true"),
    (2, "submit", "--priority", "high", "true"),
    (2, "submit", "--begin", "yesterdayish", "true"),
    (2, "submit", "--executor", "screen", "true"),
    (2, "submit", "--wrap", "a", "b"),
    (2, "submit", "--parsable", "--json", "true"),
    (1, "submit", "--wrap", ""),
    (1, "submit", "--wrap", "  "),
    (1, "submit", "--name", "", "true"),
    (1, "submit", "--name", "n" * 300, "true"),
    (1, "submit", "--project", "p" * 65, "true"),
    (1, "submit", "--chdir", "no-such-dir", "true"),
    (1, "submit", "--chdir", "/etc/passwd", "true"),
    (1, "submit", "--output", "plain/out", "true"),
    (1, "submit", "--error", "plain/err", "true"),
    (1, "submit", "--output", "%q", "true"),
    (1, "submit", "--input", "no-such-file", "true"),
    (1, "submit", "--export", "=x", "true"),
    (1, "submit", "--shared", "--gpus", "1", "true"),
    (1, "reserve", "create", "--gpus", "1", "--start", "2020-01-01 9:00", "--for", "1h"),
    (1, "reserve", "create", "--gpus", "1", "--start", "now", "--for", "1h", "--user", "no-such-user"),
    (1, "reserve", "cancel", "99"),
    (1, "gpus", "drain", "0"),
    (1, "submit", "--", ""),
    (1, "submit", "--", "-x"),
    (1, "submit", "./plain"),
    (1, "submit", "--name", b"\xff\xfe", "true"),
    (1, "submit", "--", "echo", b"\xff\xfe"),
    (1, "submit", "--wrap", b"echo \xff"),
    (2, "no-such-command"),
    (1, "show", "99"),
    (1, "cancel", "99"),
    (1, "hold", "99"),
    (1, "release", "99"),
    (1, "wait", "99"),
    (1, "log", "99"),
    (1, "attach", "99"),
    (1, "queue", "99"),
    (1, "close-sessions", "99"),
    (1, "show", "@"),
    (2, "show", "x"),
    (2, "show", "1-"),
    (2, "show"),
    (2, "cancel"),
    (2, "cancel", "1", "--all"),
    (2, "wait", "--timeout", "x", "1"),
    (2, "queue", "--format", "NOPE"),
    (2, "queue", "--sort", "NOPE"),
    (2, "queue", "--states", "nope"),
    (2, "queue", "--limit", "x"),
    (2, "queue", "--since", "x"),
    (2, "release", "--at", "x", "1"),
    (2, "completion", "powershell"),
    (2, "close-sessions"),
]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine without a daemon, on which nothing is ever queued."""
    found = Machine(tmp_path_factory.mktemp("m"))
    (found.work / "plain").write_text("neither program nor script\n")
    return found


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(str(word)[:20] for word in words[1:]))
def test_it_is_refused_with_one_line(empty: Machine, words: tuple[int, *tuple[str | bytes, ...]]) -> None:
    status, *rest = words
    said = empty.refused(status, *rest)
    assert len(said) < 1000
    assert said.isprintable()
    assert not Path(empty.state.snapshot).exists()


def test_a_list_with_an_unknown_job_changes_nothing(machine: Machine) -> None:
    ids = [machine.submit("true") for _ in range(2)]
    said = machine.refused(1, "cancel", f"{ids[0]},{ids[1]},77,99")
    assert "77" in said
    assert "99" in said
    assert {job["state"] for job in machine.jobs().values()} == {"queued"}


def test_a_script_that_may_not_be_read_is_refused(machine: Machine) -> None:
    script = machine.work / "s"
    script.write_text("#!/bin/sh\n")
    script.chmod(0)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything")
        done = machine.run("setpriv", "--reuid=65534", "cat", str(script))
        assert done.returncode != 0
        pytest.skip("root may read everything")
    machine.refused(1, "submit", "./s")


def test_escapes_in_names_do_not_reach_the_terminal_raw(up: Machine) -> None:
    job_id = up.submit("-n", "\033[2Jx\ny", "true")
    up.wait(job_id)
    for words in (("queue", "-a"), ("show", str(job_id))):
        out = up.ctl(*words).stdout
        assert "\033" not in out
        assert "x\ny" not in out
    assert up.job(job_id)["name"] == "\033[2Jx\ny"


@pytest.fixture
def small_disk(machine: Machine) -> Machine:
    """A state directory on a file system of a few hundred kilobytes, mounted for the test."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    place = Path(machine.state.root)
    place.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k,mode=0700", "gflow-test", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount here")
    yield machine
    machine.gflowd("stop", check=False)
    eventually(lambda: not machine.processes())
    subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """Takes every byte that is left."""
    ballast = place / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for block in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                continue
    return ballast


@pytest.mark.parametrize("executor", ["tmux", "process"])
def test_on_a_full_disk_nothing_is_acknowledged_or_lost(small_disk: Machine, executor: str) -> None:
    machine = small_disk
    machine.write_config(executor={"type": executor})
    machine.start()
    pids = machine.pids()
    done = [machine.submit("--wrap", "exit 3") for _ in range(2)]
    running = machine.submit("-o", str(machine.work / "out"), "--wrap", f"{GATE}; echo well; exit 4")
    machine.wait(*done)
    machine.until(running, "running")
    before = machine.jobs()
    ballast = fill(Path(machine.state.root))
    for _ in range(3):  # more than is free again when the daemon replaces a file of its own that it was just writing
        said = machine.refused(3, "submit", "--wrap", f"echo {random.random()} {'x' * 50_000}")
        assert "space" in said.lower()
    assert machine.jobs() == before
    assert machine.pids() == pids
    ballast.unlink()
    queued = machine.submit("--wrap", "echo $GFLOW_JOB_ID >>ran")
    assert machine.wait(queued) == 0
    assert machine.job(running)["state"] == "running"
    machine.open_gate()
    assert machine.wait(running) == 4
    assert queued == running + 1
    machine.ran_exactly_once([queued])


@pytest.mark.parametrize("executor", ["tmux", "process"])
def test_a_job_that_ends_on_a_full_disk_is_settled_when_there_is_room(small_disk: Machine, executor: str) -> None:
    """Its exit record needs a few bytes; what counts is that the daemon lives and says what is wrong."""
    machine = small_disk
    machine.write_config(executor={"type": executor})
    machine.start()
    pids = machine.pids()
    job_id = machine.submit("--wrap", f"echo $GFLOW_JOB_ID >>ran; {GATE}; touch gone; exit 5")
    machine.until(job_id, "running")
    ballast = fill(Path(machine.state.root))
    machine.open_gate()
    eventually((machine.work / "gone").exists)
    eventually(lambda: not machine.of_job(job_id))
    assert machine.pids()["supervisor"] == pids["supervisor"]
    ballast.unlink()
    assert machine.ended(job_id)["state"] == "failed"
    assert machine.result("echo", "next") == "next\n"
    machine.ran_exactly_once([job_id])


def test_a_read_only_state_directory_is_told_of(small_disk: Machine) -> None:
    machine = small_disk
    job_id = machine.submit("true")
    place = machine.state.root
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    try:
        for program, words in (("gflowctl", ("submit", "true")), ("gflowctl", ("cancel", "1")), ("gflowd", ("start",))):
            assert place in machine.refused(3, *words, program=program)
        assert machine.job(job_id)["state"] == "queued"
        assert "not writable" in machine.ctl("doctor", check=False).stdout
    finally:
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
    machine.start()
    assert machine.wait(job_id) == 0


def spoil(machine: Machine, how: str) -> None:
    """Damages one line in the middle of the snapshot, and loses nothing that a daemon adds meanwhile."""
    with open(machine.state.snapshot_lock, "r+") as lock, open(machine.state.snapshot, "r+b") as file:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = file.read().splitlines(keepends=True)
        middle = max(n for n, line in enumerate(lines) if b'"victim"' in line)
        lines[middle] = {
            "garbage": b"\x00\xffgarbage\n",
            "flipped": lines[middle].replace(b'"victim"', b'"victin"'),
            "joined": lines[middle].rstrip(b"\n"),
        }[how]
        file.seek(0)
        file.write(b"".join(lines))
        file.truncate()


@pytest.mark.parametrize("running", [True, False], ids=["daemon up", "daemon down"])
@pytest.mark.parametrize("how", ["garbage", "flipped"])
def test_garbage_in_the_snapshot_costs_only_its_own_line(machine: Machine, how: str, running: bool) -> None:
    before = [machine.submit("--hold", "-n", f"b{n}", "--wrap", "echo $GFLOW_JOB_ID >>ran") for n in range(3)]
    victim = machine.submit("--hold", "-n", "victim", "true")
    after = [machine.submit("--hold", "-n", f"a{n}", "--wrap", "echo $GFLOW_JOB_ID >>ran") for n in range(3)]
    if running:
        machine.start()
        machine.wait(machine.submit("true"))
    spoil(machine, how)
    shown = machine.ctl("queue", "-a")
    assert shown.stderr.count("\n") <= 1
    new = machine.submit("--wrap", "echo $GFLOW_JOB_ID >>ran")
    assert new > after[-1] > victim
    machine.gflowd("restart")
    machine.ctl("release", ",".join(map(str, before + after)))
    assert machine.wait(new, *before, *after) == 0
    machine.ran_exactly_once([new, *before, *after])
    kept = list(Path(machine.state.root).glob("snapshot.jsonl.corrupt-*"))
    assert kept
    doctor = machine.ctl("doctor", check=False).stdout
    assert str(kept[0]) in doctor


def test_a_torn_last_line_was_never_acknowledged(machine: Machine) -> None:
    first = machine.submit("true")
    path = Path(machine.state.snapshot)
    whole = path.read_bytes()
    machine.submit("true")
    path.write_bytes(path.read_bytes()[: len(whole) + 20])
    assert set(machine.jobs()) == {first}
    second = machine.submit("--wrap", "exit 0")
    machine.start()
    assert machine.wait(first, second) == 0
    assert set(machine.jobs()) == {first, second}


def test_an_unreadable_snapshot_ends_start_with_a_sentence(machine: Machine) -> None:
    machine.submit("true")
    path = Path(machine.state.snapshot)
    path.write_bytes(os.urandom(4000))
    said = machine.refused(3, "start", program="gflowd")
    assert str(path) in said
    assert path.stat().st_size == 4000 or list(path.parent.glob("snapshot.jsonl.corrupt-*"))


def test_a_snapshot_that_is_a_link_is_refused(machine: Machine) -> None:
    machine.submit("true")
    path = Path(machine.state.snapshot)
    elsewhere = machine.work / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "link" in machine.refused(1, "submit", "true")
    assert "link" in machine.refused(1, "queue")


def test_a_stopped_holder_of_the_lock_is_named(machine: Machine) -> None:
    machine.write_config(store={"lock_timeout": 0.5})
    machine.submit("true")
    with open(machine.state.snapshot_lock, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        machine.refused(75, "submit", "true")
        assert len(machine.jobs()) == 1
    machine.submit("true")


def test_beside_a_daemon_a_snapshot_that_is_gone_is_not_begun_anew(machine: Machine) -> None:
    """Not even with jobs that are held and have left no trace; the daemon has them, and puts them back."""
    machine.start()
    kept = machine.submit("--hold", "--wrap", "exit 3")
    observed = Path(machine.state.observed)
    eventually(lambda: observed.exists() and json.loads(observed.read_bytes())["next_id"] == kept + 1)
    with ExitStack() as stack:
        with open(machine.state.snapshot_lock, "r+") as lock:  # so that the scheduler does not stand still with it
            fcntl.flock(lock, fcntl.LOCK_EX)
            stack.enter_context(stopped(machine.worker("scheduler")))
        Path(machine.state.snapshot).unlink()
        assert "a running gflowd restores it" in machine.refused(3, "submit", "true")
    eventually(Path(machine.state.snapshot).exists)
    machine.ctl("release", str(kept))
    assert machine.wait(kept) == 3
    assert machine.submit("true") == kept + 1
