from __future__ import annotations

import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture
def five(ctl: Ctl) -> Ctl:
    """1 queued, 2 held, 3 running, 4 finished, 5 a queued script."""
    script = ctl.home / "job.sh"
    script.write_text("#!/bin/sh\necho old\n")
    for words in ([], ["--hold"], ["-t", "1h"], []):
        ctl.submit(*words, "sleep", "1")
    ctl.run_job(3)
    ctl.end_job(4)
    ctl.submit(str(script), "x")
    return ctl


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["-g", "2"], "gpus", 2),
        (["--cpus", "0"], "cpus", 0),
        (["-m", "2G"], "memory_mb", 2048),
        (["-t", "2h"], "time_limit", 7200),
        (["--grace", "30s"], "grace", 30),
        (["-p", "200"], "priority", 200),
        (["--nice", "3"], "priority", 7),
        (["-n", "new"], "name", "new"),
        (["--comment", "why"], "comment", "why"),
        (["--command", "echo 'a b' c"], "command", ("echo", "a b", "c")),
        (["--append"], "append", True),
        (["--executor", "process"], "executor", "process"),
    ],
)
def test_changing_a_queued_and_a_held_job(five: Ctl, words: list[str], field: str, value: object) -> None:
    before = five.spec(1)
    assert five.ok("update", "1-2", *words) == "Updated jobs 1-2\n"
    assert five.spec(1) == before.replace(**{field: value})
    assert getattr(five.spec(2), field) == value
    assert five.jobs("2")[0]["state"] == "held"


def test_files(five: Ctl) -> None:
    five.ok("update", "1", "-o", "%j.out", "-e", "%j.err", "-i", "job.sh")
    spec = five.spec(1)
    assert (spec.output, spec.error, spec.input) == tuple(
        f"{five.home}/{name}" for name in ("%j.out", "%j.err", "job.sh")
    )
    five.ok("update", "1", "--clear", "output,error", "--clear", "input")
    spec = five.spec(1)
    assert (spec.output, spec.error, spec.input) == (None, None, None)


def test_another_script(five: Ctl) -> None:
    new = five.home / "new.sh"
    new.write_text("#!/bin/sh\necho new\n")
    five.ok("update", "5", "--script", "new.sh")
    assert five.spec(5).command == ("new.sh", "x")
    assert "echo new" in five.ok("show", "--script", "5")
    five.ok("update", "5", "--command", "true")
    assert (five.spec(5).command, five.spec(5).script) == (("true",), None)


def test_the_begin_time(five: Ctl) -> None:
    five.ok("release", "2", "--at", "now+1h")
    five.ok("update", "1,2", "--begin", "2035-01-01 00:00")
    assert [job["begin_at"] for job in five.jobs("1,2")] == ["2035-01-01T00:00:00.000000Z"] * 2
    five.ok("release", "2", "--at", "now+1h")
    five.ok("update", "1,2", "--clear", "begin")
    assert [job["begin_at"] for job in five.jobs("1,2")] == [None, None]


def test_of_a_running_job_the_time_limit_and_the_comment(five: Ctl) -> None:
    assert five.ok("update", "3", "-t", "3h", "--comment", "longer") == "Updated job 3\n"
    asked = time.time()
    job = five.jobs("3")[0]
    ends = datetime.fromisoformat(job["started_at"]).timestamp() + 10800
    assert (job["time_limit"], job["comment"]) == (10800, "longer")
    assert ends - time.time() - 1 <= job["time_left"] <= ends - asked + 1
    five.ok("update", "3", "-t", "0")
    assert five.jobs("3")[0]["time_limit"] is None


def test_what_is_so_already(five: Ctl) -> None:
    before = five.store.read().lines
    done = five.run("update", "1", "-c", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "gflowctl: job 1 already has these values\n")
    assert five.store.read().lines == before


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (1, ["3", "-g", "1"], "job 3: --gpus cannot be changed while the job is running"),
        (1, ["4", "--comment", "x"], "job 4: --comment cannot be changed: the job has ended (finished)"),
        (1, ["1,3,4", "-p", "1"], "job 3: --priority cannot be changed while the job is running"),
        (1, ["1", "-g", "9"], "9 GPUs asked for"),
        (1, ["1", "-n", " "], "name cannot be empty"),
        (1, ["1", "--command", ""], "the command is empty"),
        (1, ["1", "--clear", "name"], "cannot be cleared"),
        (1, ["1", "--clear", "project"], "fixed at submission"),
        (1, ["1", "--clear", "odd"], "'odd' is not an option that can be changed"),
        (1, ["1", "-t", "1h", "--clear", "time"], "both set and cleared"),
        (1, ["1", "--script", "none.sh"], "no such file"),
        (1, ["1", "-o", "/dev/null/x"], "/dev/null is not a directory"),
        (1, ["1", "-i", "missing"], "no such file"),
        (1, ["1,99", "-g", "1"], "no job 99"),
        (2, ["1"], "nothing to change"),
        (2, ["1", "--command", "'"], "--command: no closing quotation"),
        (2, ["1", "-g", "-1"], "--gpus"),
        (2, ["1", "--begin", "x"], "--begin"),
        (2, ["1", "--project", "x"], "--project"),
        (2, [], "JOBS"),
    ],
)
def test_what_is_refused_changes_nothing(five: Ctl, status: int, words: list[str], said: str) -> None:
    five.observe()
    before = five.store.read().lines
    assert said in five.fails(status, "update", *words)
    assert five.store.read().lines == before


def test_a_job_beyond_the_capacity_keeps_its_time_limit_changeable_while_it_runs(five: Ctl) -> None:
    five.observe(capacity={"gpus": 0, "cpus": 0, "memory_mb": 1})
    assert five.ok("update", "3", "-t", "2h") == "Updated job 3\n"
    assert five.spec(3).submitted_at < time.time()
    assert os.path.exists(five.state.environment(five.spec(3).env))


def test_what_a_running_element_has_is_not_changed_under_it(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "-c", "2", "-m", "4G", "true")
    ctl.run_job(2)
    before = ctl.spec(1)
    for words in (["-c", "1"], ["-m", "64M"], ["--clear", "memory"], ["-g", "1"], ["--comment", "x", "-c", "1"]):
        assert "resources cannot be changed, 1_2 is running" in ctl.fails(1, "update", "1", *words)
    assert ctl.spec(1) == before
    ctl.ok("update", "1", "-t", "2h", "-c", "2")
    ctl.end_job(2)
    assert ctl.ok("update", "1", "-c", "1") == "Updated jobs 1_[1-3]\n"


def test_the_log_of_an_element_that_has_begun_is_not_lost(ctl: Ctl) -> None:
    ctl.ok("submit", "-a", "1-3", "-o", "%x-%a.out", "-n", "a", "true")
    ctl.ok("update", "1", "-o", "%x.%a")
    ctl.end_job(2)
    for words in (["-o", "b-%a"], ["-e", "%a.err"], ["-n", "b"], ["--clear", "output"]):
        assert "files cannot be changed, 1_2 is finished" in ctl.fails(1, "update", "1", *words)
    ctl.ok("update", "1", "-o", "%x.%a", "-p", "20")
    assert ctl.jobs("1_2")[0]["output"] == f"{ctl.home}/a.2"


def test_another_parameter_moves_only_the_files_of_those_that_wait(ctl: Ctl) -> None:
    ctl.ok("submit", "--param", "lr=1,2", "--name-template", "r{lr}", "-o", "%x.out", "true")
    ctl.end_job(1)
    ctl.ok("update", "1", "--param", "lr=3")
    assert [job["output"] for job in ctl.jobs("1")] == [f"{ctl.home}/r1.out", f"{ctl.home}/r3.out"]
