from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gflowd.core.job import codec
from gflowd.core.job.model import PROCESS, TMUX, Ended, Identity, Queued, Run, Running, Started

if TYPE_CHECKING:
    from support.ctl import Ctl


def retry(ctl: Ctl, *words: str) -> Any:
    found = ctl.spec(ctl.submit(*words, "true")).retry
    return None if found is None else (found.max_retries, found.on, found.delay, found.factor)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], None),
        (["--max-retries", "0"], None),
        (["--max-retries", "0", "--retry-on", "oom"], None),
        (["--max-retries", "2"], (2, ("failure", "zombie"), 0, 1)),
        (["--max-retries", "2", "--retry-on", "timeout,3"], (2, ("timeout", 3), 0, 1)),
        (["--max-retries", "2", "--retry-delay", "30sx2"], (2, ("failure", "zombie"), 30, 2)),
        (["--requeue"], (1, ("zombie",), 0, 1)),
        (["--requeue", "--retry-on", "oom"], (1, ("oom", "zombie"), 0, 1)),
        (["--requeue", "--max-retries", "3"], (3, ("failure", "zombie"), 0, 1)),
        (["--requeue", "--max-retries", "3", "--retry-on", "timeout"], (3, ("timeout", "zombie"), 0, 1)),
    ],
)
def test_what_a_submission_says_of_retries(ctl: Ctl, words: list[str], found: object) -> None:
    assert retry(ctl, *words) == found
    assert ctl.jobs("1")[0]["max_retries"] == (found[0] if isinstance(found, tuple) else 0)


@pytest.mark.parametrize(
    "words",
    [
        ["--max-retries", "-1"], ["--max-retries", "x"], ["--max-retries", "9999999"], ["--retry-on", "failure"],
        ["--retry-delay", "30s"], ["--max-retries", "1", "--retry-on", "odd"],
        ["--max-retries", "1", "--retry-on", "0"], ["--max-retries", "1", "--retry-on", ""],
        ["--max-retries", "1", "--retry-delay", "x2"], ["--max-retries", "1", "--retry-delay", "30sx0.5"],
        ["--max-retries", "1", "--retry-delay", "8d"], ["--nice", "x"], ["--nice", "99999999999999"],
    ],
)  # fmt: skip
def test_wrong_retries_are_one_line_and_queue_nothing(ctl: Ctl, words: list[str]) -> None:
    ctl.fails(2, "submit", *words, "true")
    assert ctl.jobs("-a") == []


@pytest.mark.parametrize(
    ("words", "priority"),
    [(["--nice", "3"], 7), (["--nice", "100"], 0), (["--nice", "-5"], 15), (["--nice=-999"], 255),
     (["-p", "50", "--nice", "1"], 49)],
)  # fmt: skip
def test_nice_lowers_the_priority(ctl: Ctl, words: list[str], priority: int) -> None:
    assert ctl.spec(ctl.submit(*words, "true")).priority == priority


@pytest.fixture
def tried(ctl: Ctl) -> Ctl:
    """1 has failed once, in tmux, and is in its second attempt; 2 has failed twice and waits for its third."""
    ctl.submit("--max-retries", "5", "true")
    ctl.submit("--max-retries", "5", "--retry-delay", "1h", "true")
    now = time.time()

    def ended(attempt: int, executor: str = PROCESS) -> dict[str, Any]:
        run = Run(executor=executor, launched_at=now - 90, attempt=attempt)
        return codec.encode_phase(
            Ended(state="failed", ended_at=now - 60, started_at=now - 90, run=run, exit_code=3, reason="NonZeroExit")
        )

    started = Started(at=now - 30, mono=1.0, identity=Identity("boot", 4242, 7))
    run = Run(executor=PROCESS, launched_at=now - 30, attempt=2)
    with ctl.store.commit() as commit:
        commit.put("attempt", "1.1", ended(1, TMUX))
        commit.put("phase", 1, codec.encode_phase(Running(run=run, started=started)))
        commit.put("attempt", "2.1", ended(1))
        commit.put("attempt", "2.2", ended(2))
        commit.put("phase", 2, codec.encode_phase(Queued(attempt=3, begin_at=now + 3600)))
    for job_id, attempt in ((1, 1), (1, 2), (2, 1), (2, 2)):
        log = Path(ctl.state.job_log(job_id, attempt))
        log.parent.mkdir(parents=True)
        log.write_bytes(b"%d.%d\r\n" % (job_id, attempt))
    return ctl


def test_past_attempts_are_shown(tried: Ctl) -> None:
    said = tried.ok("show", "1")
    assert "Retries:   5 at most, after failure, zombie\n" in said
    assert "Attempt:   2\n" in said
    assert "Attempt 1: failed, exit code 3, NonZeroExit; " in said
    assert f"Log 1:     {tried.state.job_log(1, 1)}\n" in said
    (shown,) = json.loads(tried.ok("show", "--json", "2"))
    assert [(each["attempt"], each["exit_code"], each["log"]) for each in shown["attempts"]] == [
        (number, 3, tried.state.job_log(2, number)) for number in (1, 2)
    ]
    assert "1:00:00 later" in tried.ok("show", "2")


def log(ctl: Ctl, *words: str) -> bytes:
    return ctl.start("log", *words).communicate()[0]


def test_the_log_of_each_attempt(tried: Ctl) -> None:
    assert log(tried, "1", "--attempt", "1") == b"1.1\n"  # a terminal wrote it
    assert log(tried, "1") == b"1.2\r\n"
    assert log(tried, "2", "--attempt", "1") == b"2.1\r\n"
    assert log(tried, "2") == b"2.2\r\n"
    assert "attempt 3 of job 2 has not started (queued, RetryDelay)" in tried.fails(1, "log", "2", "--attempt", "3")
    assert "its last is 2" in tried.fails(1, "log", "1", "--attempt", "3")


def test_the_delay_of_a_retry_is_a_reason(tried: Ctl) -> None:
    job = tried.jobs("2")[0]
    assert (job["state"], job["reason"], job["attempt"]) == ("queued", "RetryDelay", 3)
    tried.ok("release", "2", "--at", "now+3h")
    assert tried.jobs("2")[0]["reason"] == "BeginTime"


def wish(ctl: Ctl, job_id: int) -> Any:
    return ctl.store.read().of("wish").get(job_id, {})


def test_requeueing_a_running_job(tried: Ctl) -> None:
    assert tried.ok("requeue", "1") == "Requeued job 1\n"
    assert wish(tried, 1) == {"requeued": 2}
    assert tried.run("requeue", "1").stderr == "gflowctl: job 1 is already waiting to be requeued (running)\n"
    tried.ok("cancel", "1")
    assert wish(tried, 1)["cancelled_by"]
    assert "requeued" not in wish(tried, 1)
    assert tried.ok("requeue", "1") == "Requeued job 1\n"
    assert wish(tried, 1) == {"requeued": 2}


def test_requeueing_an_ended_job(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.end_job(1, "failed", exit_code=1, reason="NonZeroExit")
    assert ctl.ok("requeue", "1") == "Requeued job 1\n"
    assert wish(ctl, 1) == {"requeued": 1}
    job = ctl.jobs()[0]
    assert (job["state"], job["attempt"], job["exit_code"]) == ("queued", 2, None)
    assert "Attempt 1: failed, exit code 1" in ctl.ok("show", "1")
    assert ctl.run("requeue", "1").stderr == "gflowctl: job 1 is already queued\n"
    assert ctl.fails(75, "wait", "1", "--timeout", "0.1s")
    ctl.ok("cancel", "1")
    assert ctl.jobs("1")[0]["state"] == "failed"


def test_requeueing_what_is_queued_or_was_cancelled_there(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.submit("--hold", "true")
    done = ctl.run("requeue", "1,2")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == ["gflowctl: job 1 is already queued", "gflowctl: job 2 is already held"]
    ctl.ok("cancel", "1")
    assert ctl.ok("requeue", "1") == "Requeued job 1\n"
    assert ctl.jobs("1")[0]["state"] == "queued"
    assert wish(ctl, 1) == {}


def test_to_the_front(ctl: Ctl) -> None:
    for words in ([], ["--hold"], [], []):
        ctl.submit(*words, "true")
    ctl.run_job(3)
    asked = time.time()
    assert ctl.ok("top", "1,2") == "Moved to the front: jobs 1-2\n"
    assert asked <= wish(ctl, 1)["top_at"] == wish(ctl, 2)["top_at"] <= time.time()
    assert wish(ctl, 2)["held"]
    assert ctl.fails(1, "top", "3,4") == "job 3 is running; only queued jobs can be moved to the front"
    assert wish(ctl, 4) == {}


def test_draining_and_resuming(ctl: Ctl) -> None:
    assert ctl.ok("drain", "--reason", "new disks") == "Drained: no job starts until gflowctl resume\n"
    setting = ctl.store.read().of("setting")["drain"]
    assert (setting["reason"], bool(setting["by"])) == ("new disks", True)
    assert ctl.run("drain").stderr.startswith("gflowctl: already drained, since 20")
    assert "Drained:  no job starts, since 20" in ctl.ok("info")
    ctl.observe()
    assert ": new disks\n" in ctl.ok("info")
    drained = json.loads(ctl.ok("info", "--json"))["drained"]
    assert (drained["reason"], drained["at"][-1]) == ("new disks", "Z")
    assert ctl.ok("drain", "--reason", "a better one")
    assert ctl.ok("resume") == "Resumed: jobs start again\n"
    assert "Drained" not in ctl.ok("info")
    assert json.loads(ctl.ok("info", "--json"))["drained"] is None
    done = ctl.run("resume")
    assert (done.returncode, done.stderr) == (0, "gflowctl: not drained; nothing to resume\n")
    assert "not valid UTF-8" in ctl.fails(1, "drain", "--reason", b"\xff")
