"""Who can never start is told so when a job or a reservation is made; nothing is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.core.job.records import RESERVATION
from gflowd.core.planning.reservations import Reservation, encode

if TYPE_CHECKING:
    from support.ctl import Ctl

HOUR, DAY = 3600.0, 86400.0
GPUS = [
    {"index": index, "uuid": f"GPU-{index}", "model": "A100", "memory_mb": 1000, "used_mb": 0, "state": "idle"}
    for index in range(2)
]


def put(ctl: Ctl, number: int, **fields: Any) -> None:
    """A reservation of somebody else, of all GPUs, that begins in an hour."""
    ctl.state.prepare()
    start = time.time() + HOUR
    told = {"user": "ada", "gpus": 2, "start": start, "duration": 20 * HOUR, "created_at": 0.0, "created_by": "ada"}
    with ctl.store.commit() as commit:
        commit.put(RESERVATION, number, encode(Reservation(id=number, **{**told, "repeat": "daily", **fields})))


def look(ctl: Ctl, **fields: Any) -> None:
    """What the daemon sees, with the next window of each reservation."""
    again = [{"id": 1, "user": "ada", "start": 1.0, "end": 2.0, "gpus": 2, "gpu_list": None, "again": True}]
    ctl.observe(**{"gpus": GPUS, "reservations": again, **fields})


@pytest.fixture
def seen(ctl: Ctl) -> Ctl:
    """A machine of two GPUs that somebody else has for twenty hours of each day."""
    put(ctl, 1)
    look(ctl)
    return ctl


def submit(ctl: Ctl, *words: str) -> str:
    """What is said to it beside its id."""
    done = ctl.run("submit", *words, "true")
    assert done.returncode == 0, done
    return done.stderr


NEVER = "can never start as things stand: reservation 1 leaves no gap that is long enough"


def test_a_job_that_fits_no_gap_is_told_so_with_the_longest_that_does(seen: Ctl) -> None:
    said = submit(seen, "-g", "1", "-t", "5h")
    assert said == f"gflowctl: note: job 1 {NEVER}; give it a --time of at most 3:59:00\n"
    assert submit(seen, "-g", "1") == f"gflowctl: note: job 2 {NEVER}; give it a --time of at most 3:59:00\n"
    assert [job["state"] for job in seen.jobs()] == ["queued", "queued"], "nothing is refused"


def test_nothing_is_said_of_what_can_start_or_of_what_is_not_known(seen: Ctl) -> None:
    assert submit(seen, "-g", "1", "-t", "3h") == ""
    assert submit(seen, "-t", "9d") == "", "no GPU, no reservation"
    look(seen, gpus=None)
    assert submit(seen, "-g", "1") == ""
    look(seen, capacity={"gpus": None, "cpus": 4, "memory_mb": 8192})
    assert submit(seen, "-g", "1") == ""
    look(seen, reservations=[])
    assert submit(seen, "-g", "1") == ""
    look(seen)
    put(seen, 1, repeat=None)
    assert submit(seen, "-g", "1") == "", "after it there is time enough"


def test_an_array_is_named_as_a_whole(seen: Ctl) -> None:
    assert " 1-3 can never start as things stand: " in submit(seen, "-g", "1", "--array", "1-3")


def test_a_reservation_that_shuts_waiting_jobs_out_says_which(ctl: Ctl) -> None:
    look(ctl, reservations=[])
    for hours in (5, 1, 5):
        ctl.submit("-g", "1", "-t", f"{hours}h", "true")
    ctl.submit("-t", "9h", "true")
    ctl.submit("-g", "1", "-t", "6h", "true")
    ctl.run_job(5)
    words = ("--user", "nobody", "--gpus", "2", "--start", "now+1h", "--for", "20h")
    done = ctl.run("reserve", "create", *words, "--repeat", "daily")
    assert (done.returncode, done.stdout) == (0, "Created reservation 1\n")
    assert done.stderr.startswith(
        "gflowctl: note: jobs 1, 3 can never start as things stand: reservation 1 leaves no gap"
    )
    assert done.stderr.endswith("; give it a --time of at most 3:59:00\n"), "to the minute"


def test_a_reservation_is_not_blamed_for_those_that_could_not_start_before(seen: Ctl) -> None:
    submit(seen, "-g", "1", "-t", "5h")
    words = ("--user", "nobody", "--gpus", "1", "--start", "now+22h", "--for", "1h", "--repeat", "weekly")
    done = seen.run("reserve", "create", *words)
    assert (done.returncode, done.stderr) == (0, ""), done


def test_one_that_comes_once_shuts_nobody_out(ctl: Ctl) -> None:
    look(ctl, reservations=[])
    ctl.submit("-g", "1", "true")
    done = ctl.run("reserve", "create", "--user", "nobody", "--gpus", "2", "--start", "now+1h", "--for", "20h")
    assert (done.returncode, done.stderr) == (0, "")
