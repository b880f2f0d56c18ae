"""The queue for programs: the same answers as gflowctl gives, typed, at the cost of what is new, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import descriptors
from support.ctl import ROOT

import gflowctl.api
from gflowctl.api import BadUsage, GflowError, Job, Queue, Refused, TryAgain
from gflowctl.output.render import rfc3339
from gflowd.core.events.told_events import ToldEvents
from gflowd.core.execution import log_trimming
from gflowd.storage.journal.writer import Writer
from gflowd.storage.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.ctl import Ctl

PUBLIC = {
    "Attempt", "BadUsage", "Changes", "Dependency", "Drain", "EarlySignal", "Event", "Events",
    "GflowError", "Git", "Gpu", "Group", "Job",
    "JobName", "Jobs", "LogPiece", "Machine", "Options", "Prepared", "Process", "Queue", "Refused", "Repeat",
    "Reservation", "StateSummary", "Statistics", "Submission", "SystemFailed", "Tasks", "TryAgain", "Used", "Window",
}  # fmt: skip
TOO_DEAR = {
    "argparse", "asyncio", "datetime", "filelock", "gettext", "hashlib", "json", "libtmux", "logging",
    "multiprocessing", "orjson", "pathlib", "psutil", "pynvml", "shutil", "signal", "socket", "sqlite3", "subprocess",
    "tempfile", "tomllib", "urllib", "zoneinfo",
}  # fmt: skip
TIMES = (
    "begin_at", "submitted_at", "started_at", "ended_at", "expected_start", "deadline", "suspended_at",
    "promised_start", "estimated_start", "progress_at", "expected_end",
)  # fmt: skip


def of(ctl: Ctl) -> Queue:
    return Queue(ctl.state.root, environ=ctl.env)


@pytest.fixture
def queue(ctl: Ctl) -> Iterator[Queue]:
    with of(ctl) as found:
        yield found


def plain(value: Any) -> Any:
    """As JSON has it."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__slots__}
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def record(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = plain(job)
    found["dependencies"] = [
        {name: value for name, value in each.items() if name in ("kind", "id") or value}
        for each in found["dependencies"]
    ]
    if found["repeat"] is not None:
        found["repeat"]["due_at"] = rfc3339(found["repeat"]["due_at"])
    return {name: rfc3339(value) if name in TIMES else value for name, value in found.items()}


def test_the_public_names_are_these_and_stay() -> None:
    assert set(gflowctl.api.__all__) == PUBLIC
    assert all(hasattr(gflowctl.api, name) for name in PUBLIC)
    assert (ROOT / "gflowctl/py.typed").exists()
    assert (ROOT / "gflowd/py.typed").exists()


def test_to_import_it_is_cheap_and_touches_nothing(ctl: Ctl) -> None:
    program = """
import sys, os
before, seen = set(sys.modules), []
sys.addaudithook(lambda name, args: seen.append(name) if name in ("os.mkdir", "os.putenv", "os.chdir") else None)
import gflowctl.api
gflowctl.api.Queue()
print(*sorted(set(sys.modules) - before), *seen)
"""
    environ = ctl.env | {"PYTHONDONTWRITEBYTECODE": "1"}  # which makes directories
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=environ, capture_output=True, text=True, check=True, cwd=ctl.home
    )
    words = set(done.stdout.split())
    assert not {word.partition(".")[0] for word in words} & TOO_DEAR, words & TOO_DEAR
    assert not words & {"os.mkdir", "os.putenv", "os.chdir"}
    assert not Path(ctl.state.root).exists()


def test_jobs_are_what_queue_shows_as_json(mixed: Ctl) -> None:
    mixed.ok("submit", "-d", "1,2", "--array", "1-2", "--max-retries", "2", "true")
    mixed.ok("submit", "--repeat", "daily 02:00", "--signal", "USR1@60", "-t", "2h", "true")
    with of(mixed) as queue:
        for words, asked in ((("-a",), {"ended": True}), ((), {}), (("-s", "failed,PD"), {"states": ["failed", "PD"]}),
                             (("-n", "a,c"), {"names": ["a", "c"]}), (("-P", "ml"), {"projects": "ml"}),
                             (("-a", "-l", "-2"), {"ended": True, "limit": -2}), (("-g", "7"), {"group": 7}),
                             ):  # fmt: skip
            before = time.monotonic()
            shown, found = mixed.jobs(*words), [record(job) for job in queue.jobs(**asked)]  # type: ignore[arg-type]
            passed = time.monotonic() - before  # since before the first of them was asked for
            for one, other in zip(shown, found, strict=True):
                left = one.pop("time_left"), other.pop("time_left")
                assert left == (None, None) or 0 <= left[0] - left[1] <= passed, words
            assert found == shown, words
            assert found
        assert [job.label for job in queue.jobs([2, "7_[1-2]", 9])] == ["2", "7_1", "7_2", "9"]
        assert queue.jobs([]) == []
        assert [each.state for each in queue.summary()] == ["running", "queued", "held"]
        assert queue.job("7_2").dependencies[1].id == 2
        (e, f) = queue.jobs([5, 6])
        assert (e.is_over, e.signal, queue.why(e)) == (True, 9, "Signaled:SIGKILL (SIGKILL ended it)")
        assert (f.state, queue.why(f)) == ("cancelled", f"CancelledByUser (cancelled by {f.user})")
        with pytest.raises(BadUsage, match="7 is an array"):
            queue.job(7)
        with pytest.raises(Refused, match="no job 99"):
            queue.jobs(99)


def test_asked_again_only_what_changed_is_made_anew(ctl: Ctl, queue: Queue) -> None:
    for name in "abcd":
        ctl.submit("-n", name, "true")
    ctl.submit("-n", "e", "-d", "4", "true")
    ctl.run_job(1)
    ctl.end_job(2, exit_code=0)
    before = queue.jobs(ended=True)
    again = queue.jobs(ended=True)
    assert [job.id for job, other in zip(before, again, strict=True) if job is not other] in ([], [1])
    ctl.ok("hold", "3")
    held = queue.jobs(ended=True)
    assert (held[2].state, before[2].state) == ("held", "queued")
    assert all(held[place] is before[place] for place in (1, 3, 4))
    ctl.observe(reasons={"4": "Never:Quota"})
    seen = queue.jobs(ended=True)
    assert seen[1] is before[1]
    ctl.ok("cancel", "4")
    ctl.submit("-n", "f", "true")
    last = queue.jobs(ended=True)
    assert [job.state for job in last] == ["running", "finished", "held", "cancelled", "queued", "queued"]
    assert last[1] is before[1]
    ctl.state.prepare()
    Path(ctl.state.snapshot).write_bytes(Path(ctl.state.snapshot).read_bytes())  # another file, as it were
    assert [job.name for job in queue.jobs(ended=True)] == list("abcdef")


def test_a_job_whose_begin_time_comes_is_told_of_anew(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    job_id = queue.submit("true", begin_at=now + 3600).id
    assert queue.job(job_id).reason == "BeginTime"
    monkeypatch.setattr(time, "time", lambda: now + 3601)
    assert queue.job(job_id).reason == "DaemonDown"


def test_jobs_of_the_history_are_found_too(ctl: Ctl, queue: Queue) -> None:
    for _ in range(3):
        ctl.submit("true")
    assert len(queue.jobs()) == 3
    ctl.end_job(1, exit_code=3)
    ctl.archive(1)
    assert [job.id for job in queue.jobs()] == [2, 3]
    assert [job.id for job in queue.jobs(ended=True)] == [1, 2, 3]
    assert queue.job(1).exit_code == 3
    with pytest.raises(Refused, match="is in the history"):
        queue.requeue(1)
    assert queue.redo(1).id == 4
    Path(ctl.state.history).write_bytes(b"no database at all, as everyone can see who looks" * 100)
    assert [job.id for job in queue.jobs(ended=True)] == [2, 3, 4]
    assert "showing only jobs that are still in the queue" in queue.notes()[0]
    assert queue.notes() == []


FULL = {
    "name": "n", "project": "ml", "comment": "c", "gpus": 2, "gpu_type": "a100", "gpu_memory_mb": 40960,
    "gpu_prefer": [1, "h100"], "cpus": 3, "memory_mb": 2048, "time_limit": 7200, "grace": 5, "quiet_limit": 60,
    "signal": "USR1@30", "priority": 77, "hold": True, "depends_on": [1], "auto_cancel": False, "begin_at": 4e9,
    "deadline": 5e9, "params": {"lr": [0.1, "a,b"], "seed": "1:2"}, "name_template": "n{lr}", "max_concurrent": 2,
    "max_failures": 1, "max_retries": 3, "retry_on": ["timeout", 7], "retry_delay": 30, "retry_factor": 2,
    "output": "%j.out", "append": True, "executor": "process", "notify_email": "a@b", "notify_on": ["end", "fail"],
    "singleton": True,
}  # fmt: skip
WORDS = [
    "-n",
    "n",
    "-P",
    "ml",
    "--comment",
    "c",
    "-g",
    "2",
    "--gpu-type",
    "a100",
    "--gpu-memory",
    "40G",
    "--gpu-prefer",
    "1,h100",
    "-c",
    "3",
    "-m",
    "2G",
    "-t",
    "2h",
    "--grace",
    "5s",
    "--quiet-limit",
    "60s",
    "--signal",
    "USR1@30",
    "-p",
    "77",
    "--hold",
    "-d",
    "1",
    "--no-auto-cancel",
    "--begin",
    "2096-10-02T07:06:40Z",
    "--deadline",
    "2128-06-11T08:53:20Z",
    "--name-template",
    "n{lr}",
    "--max-concurrent",
    "2",
    "--max-failures",
    "1",
    "--max-retries",
    "3",
    "--retry-on",
    "timeout,7",
    "--retry-delay",
    "30sx2",
    "-o",
    "%j.out",
    "--append",
    "--executor",
    "process",
    "--notify-email",
    "a@b",
    "--notify-on",
    "end,fail",
    "--singleton",
]


def test_a_submission_is_the_one_of_the_command_line(ctl: Ctl, queue: Queue) -> None:
    ctl.submit("true")
    (ctl.home / "rows").write_text('lr\n0.1\n"a,b"\n')
    ctl.ok("submit", *WORDS, "--param-file", "rows", "--param", "seed=1:2", "--", "echo", "{lr}")
    made = queue.submit(["echo", "{lr}"], cwd=str(ctl.home), **FULL)  # type: ignore[arg-type]
    assert (list(made.ids), made.is_new, len(made.jobs)) == ([6, 7, 8, 9], True, 4)
    assert [job.params for job in made.jobs[:2]] == [{"lr": "0.1", "seed": "1"}, {"lr": "0.1", "seed": "2"}]
    own = {"env", "limits", "submitted_at", "submit_dir", "umask"}
    theirs, ours = ({n: v for n, v in ctl.spec(job_id).fields().items() if n not in own} for job_id in (2, 6))
    assert {*theirs.pop("family").axes} == {*ours.pop("family").axes}
    assert ours == theirs
    assert queue.jobs("7-9") == [job for job in queue.jobs() if job.id > 6]
    assert queue.jobs("6") == queue.jobs("6-9")
    assert {job.state for job in queue.jobs(6)} == {"held"}


def test_a_script_is_kept_with_what_its_head_says(ctl: Ctl, queue: Queue) -> None:
    script = ctl.home / "job.sh"
    script.write_text("#!/bin/sh\n# GFLOW --gpus=1 --name=headed --time=1h\nhostname\n")
    prepared = queue.prepare([str(script), "x"], cwd=str(ctl.home), time_limit=60)
    (shown,) = prepared.jobs
    assert (shown.id, shown.name, shown.gpus, shown.time_limit) == (0, "headed", 1, 60.0)
    script.write_text("#!/bin/sh\n# GFLOW --gpus=2\nrm -rf /\n")
    (job,) = prepared.submit().jobs
    assert (job.name, job.gpus, job.command) == ("headed", 1, (str(script), "x"))
    assert b"hostname" in Path(queue.job(job).script or "").read_bytes()
    with pytest.raises(Refused, match="submitted already"):
        prepared.submit()
    script.write_text("#!/bin/sh\n# GFLOW --gpu=2\n")
    with pytest.raises(Refused, match=r"job.sh: line 2: .*did you mean --gpus"):
        queue.submit([str(script)])
    again = queue.submit("true", name="headed", skip_if_queued=True)
    assert (again.is_new, again.id, again.jobs[0].gpus) == (False, job.id, 1)


def test_a_job_has_the_environment_that_this_process_has_now_or_the_one_it_is_given(
    ctl: Ctl, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET_SINCE_THE_START", "1")
    now, given = queue.submit("true").jobs[0], queue.submit("true", environment={"A": "b"}).jobs[0]
    assert b"SET_SINCE_THE_START=1\0" in Path(now.environment).read_bytes()
    assert b"A=b\0" in Path(given.environment).read_bytes()
    assert b"HOME=" not in Path(given.environment).read_bytes()


@pytest.mark.parametrize(
    ("command", "options", "kind", "words"),
    [
        ([], {}, BadUsage, "give a list of words"),
        (["-"], {}, BadUsage, "standard input"),
        ("true", {"gpus": "2"}, BadUsage, "gpus: '2' is not a whole number"),
        ("true", {"gpus": True}, BadUsage, "gpus: True is not a whole number"),
        ("true", {"time_limit": -1}, BadUsage, "time_limit: -1 is not a number of seconds"),
        ("true", {"hold": 1}, BadUsage, "hold: 1 is not true or false"),
        ("true", {"name": 5}, BadUsage, "name: 5 is not a text"),
        ("true", {"depends_on": [2.5]}, BadUsage, "2.5 names no job"),
        ("true", {"notify_on": ["wedding"]}, BadUsage, "'wedding' is not an event"),
        ("true", {"begin_at": "soonish"}, BadUsage, "--begin"),
        ("true", {"max_concurrent": 2}, BadUsage, "--max-concurrent needs"),
        ("true", {"depends_on": 42}, Refused, "no job 42"),
        ("true", {"cwd": "/nowhere"}, Refused, "/nowhere is not a directory"),
        ("true", {"priority": 256}, BadUsage, "priority: 256 is not a priority"),
        (["/nowhere/x"], {}, Refused, "there is no such file"),
        ("  ", {}, Refused, "the text is empty"),
        ("true", {"gpu": 1}, TypeError, "unexpected keyword argument 'gpu'"),
    ],
)
def test_what_cannot_be_is_raised_and_nothing_is_queued(
    queue: Queue, command: Any, options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        queue.submit(command, **options)
    with pytest.raises(kind, match=words):
        queue.prepare(command, **options)
    assert queue.jobs(ended=True) == []


def test_jobs_are_changed_as_by_the_commands(ctl: Ctl, queue: Queue) -> None:
    for words in ((), ("-d", "1"), ("-d", "2", "--no-auto-cancel")):
        ctl.submit(*words, "true")
    assert queue.cancel(1, dry_run=True).cascaded == (2,)
    assert queue.job(1).state == "queued"
    held = queue.hold([1, queue.job(2)])
    assert [(job.id, job.state) for job in held.jobs] == [(1, "held"), (2, "held")]
    assert queue.hold("1").notes == ("job 1 is already held",)
    assert queue.release([1, 2], at=time.time() + 3600).jobs[0].reason == "BeginTime"
    assert [job.id for job in queue.top(3).jobs] == [3]
    with pytest.raises(Refused, match="only running jobs can be suspended"):
        queue.suspend(1)
    ctl.run_job(3)
    assert [job.id for job in queue.suspend(3).jobs] == [3]
    assert [job.id for job in queue.unsuspend(3).jobs] == [3]
    done = queue.cancel([1])
    assert (done.cascaded, done.stuck, done.jobs[0].state) == ((2,), (), "cancelled")
    assert done.jobs[0].cancelled_by == queue.job(1).user
    assert queue.requeue(1).jobs[0].state == "queued"
    assert list(queue.redo([1, 2], hold=True).ids) == [4, 5]
    assert (queue.job(5).dependencies[0].id, queue.job(4).redone_from, queue.job(4).state) == (4, 1, "held")
    assert queue.cancel([]).jobs == ()
    with pytest.raises(Refused, match="no job 77"):
        queue.cancel([3, 77])


def test_a_job_of_an_array_means_itself_and_its_number_the_whole(ctl: Ctl, queue: Queue) -> None:
    first = queue.submit("true", array=range(1, 4)).id
    assert [job.id for job in queue.cancel(queue.job("1_1")).jobs] == [1]
    assert [job.id for job in queue.hold(first).jobs] == [2, 3]
    assert queue.submit("true", array="1-60").ids == range(4, 64)


@pytest.mark.parametrize("text", [b"one\r\ntwo\r\n\x1b[6n^[[1;1R10%\r20%\r\nend\r", "ä\r\n".encode() * 900 + b"x"])
def test_a_log_comes_in_pieces_that_fit_together(ctl: Ctl, queue: Queue, text: bytes) -> None:
    ctl.submit("true")
    with pytest.raises(Refused, match="has not started"):
        queue.log(1)
    log = ctl.run_job(1, executor="tmux")
    assert queue.log(1).data == b""
    shown, after = b"", 0
    for end in (*range(1, min(len(text), 40)), len(text)):
        log.write_bytes(text[:end])
        while (piece := queue.log(1, after=after, most=1024)).data:
            shown, after = shown + piece.data, piece.next
        assert not piece.is_over
    ctl.end_job(1, executor="tmux", exit_code=0)
    piece = queue.log(1, after=after)
    assert (piece.is_over, piece.next, piece.attempt) == (True, len(text), 1)
    assert shown + piece.data == ctl.run("log", "1").stdout.encode() or b"\r" in shown
    assert (shown + piece.data).replace(b"\r", b"") == queue.log(1).data.replace(b"\r", b"")
    assert queue.log(1, lines=1).data in (b"end\r", b"x", b"20%\nend\r")
    with pytest.raises(Refused, match="no attempt 2"):
        queue.log(1, attempt=2)


def test_the_last_lines_end_with_the_end_however_long_they_are(ctl: Ctl, queue: Queue) -> None:
    ctl.submit("true")
    bar = "".join(f"\r{i:>6}/200000 [00:10<00:20]" for i in range(80_000))
    ctl.run_job(1).write_text(f"begin\n{bar}\nRuntimeError: the end\n")
    piece = queue.log(1, lines=40)
    assert (len(piece.data) <= 1 << 20, piece.text.endswith("RuntimeError: the end\n"), piece.is_over) == (
        True,
        True,
        False,
    )
    assert queue.log(1, after=piece.next).text == ""
    ctl.end_job(1, "failed", exit_code=1)
    for most in (1024, 5000, 1 << 16, (1 << 16) + 1, 1 << 20):
        piece = queue.log(1, lines=2, most=most)
        assert (len(piece.data) <= most, piece.text[-8:], piece.is_over) == (True, "the end\n", True)
    assert queue.log(1, lines=1, most=1024).text == "RuntimeError: the end\n"
    assert queue.log(1, lines=99).text.count("\n") == 2


def test_a_log_that_is_cut_is_followed_across_the_cut(ctl: Ctl, queue: Queue) -> None:
    ctl.submit("-o", "out", "true")
    ctl.run_job(1)
    out = ctl.home / "out"
    out.write_bytes(b"0123456789")
    assert queue.log(1, after=8).data == b"89"
    Path(f"{out}.cut").write_bytes(log_trimming.encode(log_trimming.Mark(2, 4, 3)))
    out.write_bytes(b"01[]789ab")
    piece = queue.log(1, after=8)
    assert (piece.data, piece.next, piece.missing) == (b"89ab", 12, 3)
    assert queue.log(1, after=3).data == b"]789ab"
    assert queue.log(1, after=5).data == b"[]789ab"


def test_the_machine_is_told_as_by_the_commands(ctl: Ctl, queue: Queue) -> None:
    assert (queue.gpus(), queue.machine().seen_at, queue.reservations()) == ([], None, [])
    gpus = [
        {"index": 0, "uuid": "GPU-0", "model": "A100", "memory_mb": 40960, "state": "busy", "jobs": [1], "links": ["X"],
         "processes": [{"pid": 7, "user": "ada", "job_id": None, "graphics": False, "memory_mb": 5}]},
        {"index": 1, "uuid": "GPU-1", "model": "A100", "memory_mb": 40960, "state": "idle"},
    ]  # fmt: skip
    ctl.observe(gpus=gpus, reasons={"1": "IdleGpus"})
    ctl.ok("reserve", "create", "--gpu-list", "1", "--start", "now+1h", "--for", "2h", "--repeat", "daily")
    ctl.ok("drain", "--reason", "new disks")
    first, second = queue.gpus()
    assert (first.jobs, first.idle_jobs, first.processes[0].user, first.reserved) == ((1,), (1,), "ada", None)
    assert second.reserved_next is not None
    assert second.reserved_next.gpu_list == (1,)
    machine = queue.machine()
    assert (machine.cpus, machine.gpus, machine.busy_gpus, machine.daemon_running) == (4, 2, 1, False)
    assert machine.drained is not None
    assert machine.drained.reason == "new disks"
    (kept,) = queue.reservations()
    (shown,) = json.loads(ctl.ok("reserve", "list", "--json"))
    assert {name: shown[name] for name in ("id", "user", "status", "gpus", "repeat")} == {
        name: getattr(kept, name) for name in ("id", "user", "status", "gpus", "repeat")
    }
    assert kept.window is not None
    assert rfc3339(kept.window[0]) == shown["window"]["start"]


def test_sums_are_those_of_stats(mixed: Ctl) -> None:
    with of(mixed) as queue:
        for words, by in (((), None), (("--by", "user"), "user"), (("--by", "project"), "project")):
            shown, found = json.loads(mixed.ok("stats", "--all-users", "--json", *words)), queue.statistics(by=by)
            assert [plain(group) | {"run_mean": 0, "gpu_hours": 0} for group in found.groups] == [
                group | {"run_mean": 0, "gpu_hours": 0} for group in shown["groups"]
            ]
        assert queue.statistics(users=[]).groups[0].jobs == 0
        with pytest.raises(BadUsage):
            queue.statistics(by="colour")


def test_one_waits_until_jobs_have_ended(ctl: Ctl, queue: Queue) -> None:
    ctl.submit("true")
    ctl.submit("true")
    with pytest.raises(TryAgain, match=r"1,2 did not end within 0\.05 s"):
        queue.wait([1, 2], timeout=0.05)
    ctl.end_job(1, exit_code=3)
    assert [(job.id, job.exit_code) for job in queue.wait(1)] == [(1, 3)]
    assert [job.state for job in queue.wait([1, 2], first=True)] == ["finished", "queued"]
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(queue.wait, [1, 2], timeout=60)
        ctl.end_job(2, exit_code=0)
        assert queue.job(2).state == "finished"  # nobody waits for one who waits
        assert [job.exit_code for job in waiting.result()] == [3, 0]
    assert queue.wait([]) == []


def test_several_threads_share_a_queue_and_two_queues_a_process(ctl: Ctl, queue: Queue) -> None:
    with of(ctl) as second, ThreadPoolExecutor(4) as people:
        every = list(people.map(lambda place: (queue, second)[place % 2].submit(f"echo {place}").id, range(16)))
        assert sorted(every) == list(range(1, 17))
        assert [len(found) for found in people.map(lambda each: each.jobs(), (queue, second))] == [16, 16]
        list(people.map(lambda job_id: (queue, second)[job_id % 2].cancel(job_id), every))
        assert {job.state for job in queue.jobs(ended=True)} == {"cancelled"}


def test_a_lock_that_stays_taken_is_told_in_any_thread(ctl: Ctl) -> None:
    ctl.submit("true")
    with Queue(ctl.state.root, environ=ctl.env | {"GFLOW_STORE__LOCK_TIMEOUT": "0.1"}) as queue:
        with Lock(ctl.state.snapshot_lock, 1), ThreadPoolExecutor(1) as other:
            for hold in (queue.hold, lambda job_id: other.submit(queue.hold, job_id).result()):
                with pytest.raises(TryAgain, match=r"stayed locked for 0\.1 s by pid"):
                    hold(1)
        assert queue.hold(1).jobs


def test_the_process_stays_as_it_is(ctl: Ctl, queue: Queue, capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> list[Any]:
        umask = Path("/proc/self/status").read_text().partition("Umask:")[2].split()[0]
        signals = [signal.getsignal(number) for number in sorted(signal.valid_signals()) if number not in (9, 19)]
        return [os.getcwd(), dict(os.environ), umask, signals, signal.getitimer(signal.ITIMER_REAL), sys.stdout,
                threading.active_count(), descriptors.ours()]  # fmt: skip

    queue.jobs()
    ctl.submit("true")
    ctl.end_job(1, exit_code=0)
    ctl.archive(1)
    queue.jobs()
    before = state()
    (ctl.home / "job.sh").write_text("#!/bin/sh\n#SBATCH --gres=gpu:1 --bogus\n")
    for call in (
        lambda: queue.submit("true", signal="USR1@5"),
        lambda: queue.submit(["no-such-program"]),
        lambda: queue.hold(2),
        lambda: queue.redo(1),
        lambda: queue.cancel(2),
        lambda: queue.wait(2),
        lambda: queue.jobs(ended=True),
        lambda: list(queue.events()),
        queue.statistics,
    ):
        call()
    with pytest.raises(GflowError, match="bogus"):
        queue.submit([str(ctl.home / "job.sh")])
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_events_are_read_and_followed(ctl: Ctl, queue: Queue) -> None:
    assert list(queue.events()) == []
    ctl.submit("true")
    journal = Writer(ctl.state, 1 << 20, 7)
    journal.begin(ToldEvents(), (6, 9))
    head = {
        "at": 1000.5,
        "job": 1,
        "attempt": 1,
        "state": "queued",
        "name": "train",
        "digest": 1,
        "final": True,
        "count": 1,
    }
    told = {name: value for name, value in head.items() if name not in ("at", "job", "digest")}
    following = queue.events(follow=True)
    kinds = ("job_submitted", "job_started", "job_ended")
    journal.write([{"kind": kind, **head, "notify": {"email": "a@b"}} for kind in kinds])
    assert [event.kind for event in queue.events()] == list(kinds)
    assert [event.id for event in queue.events(after="7-1", kinds=["job_ended"])] == ["7-3"]
    first = next(following)
    assert (first.id, first.at, first.job, first.fields) == ("7-1", 1000.5, 1, told)
    assert [event.id for event in following.read()] == ["7-2", "7-3"]
    assert (following.last, following.lost, following.read()) == ("7-3", False, [])
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(next, following)
        journal.write([{"kind": "job_requeued", **head}])
        assert coming.result(60).kind == "job_requeued"
    journal.close()
    following.close()
    with pytest.raises(BadUsage, match="'x' is not the id of an event"):
        queue.events(after="x")
    with pytest.raises(Refused, match="unknown kind of event 'party'"):
        queue.events(kinds="party")


def test_notes_are_told_and_not_printed(queue: Queue) -> None:
    made = queue.submit(["no-such-program"], signal="USR1@5")
    assert any("no-such-program: not found on the job's PATH" in note for note in made.notes)
    assert any("--signal is sent before a time limit" in note for note in made.notes)


def test_a_missing_file_of_settings_is_told(ctl: Ctl) -> None:
    with pytest.raises(Refused, match=r"no\.toml: No such file"):
        Queue(ctl.state.root, config=ctl.home / "no.toml", environ=ctl.env).jobs()


def test_settings_and_what_the_daemon_saw_are_read_again_when_they_change(ctl: Ctl, queue: Queue) -> None:
    queue.submit("true")
    assert queue.machine().cpus is None
    ctl.observe(capacity={"gpus": 8, "cpus": 99, "memory_mb": 5})
    assert queue.machine().cpus == 99
    settings = Path(ctl.env["HOME"]) / ".config/gflow/gflow.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[projects]\nrequire_project = true\n")
    with pytest.raises(Refused, match="project"):
        queue.submit("true")
