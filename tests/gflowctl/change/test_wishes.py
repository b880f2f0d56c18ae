from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


def states(ctl: Ctl) -> dict[int, str]:
    return {job["id"]: job["state"] for job in ctl.jobs("-a")}


@pytest.fixture
def five(ctl: Ctl) -> Ctl:
    """1 and 2 queued, 3 held, 4 running, 5 finished."""
    for words in (["-n", "a"], ["-n", "b"], ["--hold"], [], []):
        ctl.submit(*words, "true")
    ctl.run_job(4)
    ctl.end_job(5)
    return ctl


def test_cancelling(five: Ctl) -> None:
    assert five.ok("cancel", "1,3") == "Cancelled jobs 1,3\n"
    asked = time.time()
    assert five.ok("cancel", "4") == "Stopping job 4\n"
    assert states(five) == {1: "cancelled", 2: "queued", 3: "cancelled", 4: "running", 5: "finished"}
    wish = five.store.read().of("wish")[4]
    assert wish["cancelled_by"]
    assert asked <= wish["cancelled_at"] <= time.time()


def test_cancelling_what_is_over_says_so_and_is_no_error(five: Ctl) -> None:
    five.ok("cancel", "1")
    done = five.run("cancel", "1,5")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "gflowctl: job 1 has already ended (cancelled)", "gflowctl: job 5 has already ended (finished)",
    ]  # fmt: skip
    five.ok("cancel", "4")
    assert "already being cancelled" in five.run("cancel", "4").stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [(["--all"], "1-4"), (["--name", "a,b"], "1-2"), (["--state", "held,R"], "3-4"), (["--name", "a", "-s", "PD"], "1"),
     (["--user", "nobody-here"], "")],
)  # fmt: skip
def test_choosing_what_to_cancel(five: Ctl, words: list[str], found: str) -> None:
    many = "s" if len(found) > 1 else ""
    said = f"Would cancel job{many} {found}\n" if found else ""
    assert five.run("cancel", "--dry-run", *words).stdout == said
    assert states(five)[1] == "queued"
    five.run("cancel", *words)
    assert ("cancelled" in states(five).values()) == bool(found)


def test_an_unknown_id_changes_nothing(five: Ctl) -> None:
    for verb in ("cancel", "hold", "release"):
        before = five.store.read().lines
        assert five.fails(1, verb, "1,77,80-81") == "no job 77, 80-81"
        assert five.store.read().lines == before


def test_without_any_job_nothing_is_made(ctl: Ctl) -> None:
    for words in (
        ["cancel", "1"],
        ["hold", "@"],
        ["release", "1"],
        ["show", "1"],
        ["wait", "1"],
        ["log", "1"],
        ["attach", "1"],
    ):
        assert ctl.fails(1, *words) == f"no job {words[1]}"
    assert not os.path.exists(ctl.state.root)


def test_holding_and_releasing(five: Ctl) -> None:
    assert five.ok("hold", "1-2") == "Held jobs 1-2\n"
    assert states(five)[1] == "held"
    assert five.run("hold", "1").stderr == "gflowctl: job 1 is already held\n"
    assert five.ok("release", "1,3") == "Released jobs 1,3\n"
    assert states(five)[1] == states(five)[3] == "queued"
    wishes = five.store.read().of("wish")
    assert {job_id: sorted(wish) for job_id, wish in wishes.items()} == {
        1: ["released_at"], 2: ["held"], 3: ["released_at"],
    }  # fmt: skip
    done = five.run("release", "1,5")
    assert (done.returncode, done.stderr.count("is not held")) == (0, 2)


def test_what_has_started_cannot_be_held(five: Ctl) -> None:
    assert five.fails(1, "hold", "1,4,5") == (
        "job 4 is running; only queued jobs can be held; job 5 is finished; only queued jobs can be held"
    )
    assert states(five)[1] == "queued"


def test_releasing_at_a_time(five: Ctl) -> None:
    assert five.ok("release", "3", "--at", "now+1h") == "Released job 3\n"
    job = five.jobs("3")[0]
    assert (job["state"], job["reason"]) == ("queued", "BeginTime")
    five.ok("release", "1", "--at", "2035-01-01 00:00")
    assert five.jobs("1")[0]["begin_at"] == "2035-01-01T00:00:00.000000Z"
    assert "only a queued job has a begin time" in five.fails(1, "release", "4", "--at", "now")
    assert "--at: 'x' is not an instant" in five.fails(2, "release", "1", "--at", "x")


@pytest.mark.parametrize(
    "words",
    [["cancel"], ["cancel", "1", "--all"], ["hold"], ["release"], ["cancel", "-s", "odd"],
     ["cancel", "--signal", "ODD", "1"], ["hold", "x"]],
)  # fmt: skip
def test_wrong_usage(five: Ctl, words: list[str]) -> None:
    five.fails(2, *words)


def test_a_busy_lock_is_try_again(five: Ctl) -> None:
    five.env["GFLOW_STORE__LOCK_TIMEOUT"] = "0.2s"
    script = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'r+'); fcntl.flock(file, 2); print('got', flush=True); time.sleep(30)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, five.state.snapshot_lock], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    try:
        assert "try again" in five.fails(75, "hold", "1")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_damaged_snapshot_is_kept_and_told(five: Ctl) -> None:
    with open(five.state.snapshot, "r+b") as file:
        content = file.read().split(b"\n")
        content[2] = b"garbage"
        file.seek(0)
        file.truncate()
        file.write(b"\n".join(content))
    done = five.run("hold", "1")
    assert done.returncode == 0
    assert "Held job 1" in done.stdout
    five.ok("queue")
    doctor = five.run("doctor")
    assert "WARN" in doctor.stdout


def test_a_job_that_could_no_longer_end_by_its_deadline_is_not_requeued(five: Ctl) -> None:
    with five.store.commit() as commit:
        specs = commit.fold().of("spec")
        for job_id, deadline in ((4, time.time() - 60), (5, time.time() + 600)):
            commit.put("spec", job_id, {**specs[job_id], "deadline": deadline, "time_limit": 1200.0})
    assert five.fails(1, "requeue", "4") == "job 4 cannot be requeued: the deadline has passed"
    assert "but the time limit is 20:00" in five.fails(1, "requeue", "5")
    assert "job 4 cannot be requeued" in five.fails(1, "requeue", "--all")
    assert states(five)[4] == "running"
    assert 4 not in five.store.read().of("wish")
    with five.store.commit() as commit:
        commit.put("spec", 5, {**specs[5], "deadline": time.time() + 600})
    assert five.ok("requeue", "5") == "Requeued job 5\n"
