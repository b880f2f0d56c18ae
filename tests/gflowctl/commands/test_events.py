"""What happened, as people and programs read it. The journal is written here, as the scheduler would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.ctl import PROGRAM, private_ctl

from gflowd.core.events.told_events import ToldEvents
from gflowd.storage.journal import lines
from gflowd.storage.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

HEAD = {"user": "alice", "project": None, "attempt": 1, "array_id": None, "array_index": None}
REQUEST = {"gpus": 2, "cpus": 1, "memory_mb": 2048, "time_limit": 3600.0, "count": 1, "digest": 1, "state": "queued"}
HELD = {**REQUEST, "count": 3, "state": "held", "array_id": 2, "time_limit": None}
END = {"reason": None, "exit_code": 0, "run_seconds": 75.5, "final": True}


def event(kind: str, at: float, job: int, name: str = "train", **fields: Any) -> dict[str, Any]:
    return {"at": at, "kind": kind, "job": job, "name": name, **HEAD, **fields}


EVENTS = [
    event("job_submitted", 1000.0, 1, **REQUEST, notify={"email": "a@b"}),
    event("job_started", 2000.25, 1, attempt=2, gpu_ids=[0, 3], wait_seconds=65.0),
    event("job_submitted", 3000.0, 2, "sweep", **HELD),
    event("job_started", 3500.0, 3, "sweep", array_id=2, array_index=2, gpu_ids=[], wait_seconds=0.5),
    event("job_ended", 4000.0, 3, "sweep", array_id=2, array_index=2, **END | {"state": "finished"}),
    event("job_ended", 5000.0, 1, **END | {"state": "failed", "reason": "NonZeroExit", "exit_code": 3}),
    event("job_requeued", 5000.0, 1, attempt=2, reason="Retry", begin_at=None),
    event("job_stopping", 6000.0, 1, attempt=2, reason="TimeLimit"),
    event("job_ended", 7000.0, 1, **END | {"state": "cancelled", "reason": "CancelledByUser", "run_seconds": None}),
]


RESERVATION = {"reservation": 3, "user": "bob", "gpus": 1, "gpu_list": None, "start": 60.0, "end": 3660.0}
OTHERS = [
    {"at": 1.0, "kind": "daemon_started", "pid": 7, "version": "0.1.0", "unclean": True, "instance": "x"},
    {"at": 2.0, "kind": "gpu_faulty", "gpu": 0, "uuid": "GPU-a", "model": "A100", "memory_mb": 1, "reason": "lost"},
    {"at": 3.0, "kind": "reservation_made", "repeat": None, "digest": 1, **RESERVATION},
    {"at": 4.0, "kind": "reservation_began", "repeat": "daily", **RESERVATION, "gpu_list": [0, 2]},
    {"at": 5.0, "kind": "reservation_ended", "reservation": 3},
    {"at": 6.0, "kind": "worker_restarted", "worker": "gpu_poller", "pid": 8, "restarts": 1},
    {"at": 7.0, "kind": "gpu_vanished", "gpu": 0, "uuid": "GPU-a"},
    {"at": 8.0, "kind": "of_a_later_version", "what": 1},
]


@pytest.fixture(scope="module")
def told() -> Iterator[Ctl]:
    """Jobs 1 and 2, an array of three, and the events of `EVENTS`; only to be looked at."""
    with private_ctl() as found:
        found.submit("true")
        found.ok("submit", "-a", "1-3", "true")
        journal = Writer(found.state, 1 << 20, 7)
        journal.begin(ToldEvents(), (6, 9))
        journal.write(EVENTS)
        journal.close()
        yield found


def ids(ctl: Ctl, *words: str) -> list[int]:
    """The numbers of the events that are printed."""
    return [int(json.loads(line)["id"].removeprefix("7-")) for line in ctl.ok("events", "--json", *words).splitlines()]


def test_a_table_says_what_happened(told: Ctl) -> None:
    shown = told.ok("events")
    assert shown.splitlines()[:4] == [
        "ID     TIME                 KIND           JOB  USER   NAME   DETAILS",
        "7-1    1970-01-01T00:16:40  job_submitted  1    alice  train  2 GPUs, 1 CPU, 2G, 1:00:00 at most",
        "7-2    1970-01-01T00:33:20  job_started    1    alice  train  attempt 2, on GPU 0,3, waited 1:05",
        "7-3    1970-01-01T00:50:00  job_submitted  2    alice  sweep  3 jobs, held, 2 GPUs, 1 CPU, 2G",
    ]
    details = [line.split("  ")[-1] for line in shown.splitlines()[4:]]
    assert details == [
        "waited 0:00", "finished, ran 1:15", "failed (exit 3), ran 1:15", "attempt 2 (Retry)", "TimeLimit",
        "cancelled",
    ]  # fmt: skip
    assert " 2_2 " in shown
    narrow, status = told.on_a_terminal("events", columns=70, env={"NO_COLOR": "1"})
    assert status == 0
    assert max(map(len, narrow.splitlines())) <= 70
    assert "alice" not in narrow
    coloured, _ = told.on_a_terminal("events", "--last", "1", columns=120)
    assert "\x1b[2m7-9" in coloured
    assert "alice" in coloured


def test_what_concerns_no_job_is_told_too(ctl: Ctl) -> None:
    ctl.state.prepare()
    journal = Writer(ctl.state, 1 << 20, 7)
    journal.begin(ToldEvents(), (0, 0))
    journal.write(OTHERS)
    journal.close()
    lines_of_others = ctl.ok("events").splitlines()[1:]
    details = [line.partition(event["kind"])[2].strip() for line, event in zip(lines_of_others, OTHERS, strict=True)]
    assert details == [
        "gflowd 0.1.0, pid 7, after a crash", "GPU 0 (A100): lost",
        "3: 1 GPU for bob, 1970-01-01 00:01 to 1970-01-01 01:01",
        "3: GPU 0,2 for bob, 1970-01-01 00:01 to 1970-01-01 01:01, daily", "3", "gpu_poller, pid 8, 1 restart", "GPU 0",
        "",
    ]  # fmt: skip
    made = json.loads(ctl.ok("events", "--json", "--kind", "reservation").splitlines()[0])
    assert made["start"] == "1970-01-01T00:01:00.000000Z"
    assert ids(ctl, "--kind", "gpu,worker") == [2, 6, 7]


def test_json_is_an_object_a_line_without_what_is_for_gflow(told: Ctl) -> None:
    first, second, *_ = map(json.loads, told.ok("events", "--json").splitlines())
    assert list(first)[:4] == ["id", "at", "kind", "job"]
    assert not first.keys() & {"notify", "digest", "checkpoint"}
    assert (first["id"], first["at"], second["at"]) == (
        "7-1",
        "1970-01-01T00:16:40.000000Z",
        "1970-01-01T00:33:20.250000Z",
    )


def test_events_are_chosen(told: Ctl) -> None:
    assert ids(told, "--last", "2") == [8, 9]
    assert ids(told, "--after", "7-6") == [7, 8, 9]
    assert ids(told, "--after", "8-1") == []
    assert ids(told, "--since", "1970-01-01T01:23:20") == [6, 7, 8, 9]
    assert ids(told, "--kind", "job_ended,job_stopping", "--last", "3") == [6, 8, 9]
    assert ids(told, "--kind", "job") == list(range(1, 10))
    assert ids(told, "1") == [1, 2, 6, 7, 8, 9]
    assert ids(told, "2") == ids(told, "2_2") == [3, 4, 5]
    assert ids(told, "2_3") == [3]


def test_what_makes_no_sense_is_refused(told: Ctl) -> None:
    assert told.fails(2, "events", "--after", "17") == "'17' is not the id of an event (such as 17-204)"
    assert told.fails(1, "events", "--kind", "ended").startswith("unknown kind of event 'ended'; the kinds are job, ")
    assert told.fails(1, "events", "99") == "no job 99"


def test_events_that_are_no_longer_kept_are_missed_aloud(told: Ctl) -> None:
    done = told.run("events", "--json", "--after", "6-3")
    assert len(done.stdout.splitlines()) == 9
    assert done.stderr == "gflowctl: events were lost: they are no longer kept; the oldest that are kept follow\n"
    assert told.ok("events", "--json", "--after", "6-9").count("\n") == 9


def test_without_a_journal_there_is_only_the_header(ctl: Ctl) -> None:
    assert ctl.ok("events").split() == ["ID", "TIME", "KIND", "JOB", "USER", "NAME", "DETAILS"]
    assert ctl.ok("events", "--json") == ""
    assert not os.path.exists(ctl.state.root)


def test_following_goes_on_until_it_is_interrupted_or_nobody_reads(ctl: Ctl) -> None:
    """Whatever becomes of the file; from the next event on, unless it is said from where."""
    ctl.state.prepare()
    journal = Writer(ctl.state, 1 << 20, 7)
    journal.begin(ToldEvents(), (0, 0))
    journal.write(EVENTS[:1])
    following = [
        subprocess.Popen(
            [*PROGRAM, "events", "--follow", "--json", *words],
            env=ctl.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for words in ((), ("--after", "7-1"), ("--last", "1"))
    ]
    latest, after, last = following
    assert latest.stdout is not None
    assert last.stdout is not None
    assert after.stdout is not None
    assert json.loads(last.stdout.readline())["id"] == "7-1"
    last.stdout.close()
    assert last.wait(60) == 0, "nobody reads"
    assert last.stderr is not None
    last.stderr.close()
    ctl.waits(latest, ctl.state.path(lines.CURRENT))
    journal.write(EVENTS[1:2])
    assert [json.loads(found.stdout.readline())["id"] for found in (latest, after) if found.stdout] == ["7-2", "7-2"]
    os.unlink(ctl.state.path(lines.CURRENT))
    journal.close()
    again = Writer(ctl.state, 1 << 20, 8)
    again.begin(ToldEvents(), (7, 2))
    again.write(EVENTS[2:3])
    assert [json.loads(found.stdout.readline())["id"] for found in (latest, after) if found.stdout] == ["8-1", "8-1"]
    for found in (latest, after):
        found.send_signal(signal.SIGINT)
        _, said = found.communicate(timeout=60)
        assert (found.returncode, said) == (130, b"")
